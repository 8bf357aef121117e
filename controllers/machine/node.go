// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// joinWait is the safety net for a Node that is about to join; Machine.status.nodeRef wakes the reconciler earlier.
const joinWait = 30 * time.Second

// node waits until Cluster API has found the Node, and then has the bootstrap secrets removed from the platform.
func (r *Reconciler) node(ctx context.Context, w *world) flow.Outcome {
	if !w.machine.Status.NodeRef.IsDefined() {
		if err := r.claimNode(ctx, w); err != nil {
			return r.overdue(ctx, w, infrav1.NodeJoinedCondition, flow.Wait(infrav1.NodeUnknownReason, "the workload cluster cannot be asked for its Nodes yet", joinWait).Unknown())
		}
		return r.overdue(ctx, w, infrav1.NodeJoinedCondition, flow.Wait(infrav1.WaitingForNodeReason, "no Node with provider ID "+w.infra.Spec.ProviderID+" has joined yet", joinWait))
	}
	if err := r.joined(ctx, w); err != nil {
		return flow.Fail(infrav1.WaitingForNodeReason, "that the Node has joined is not on record yet", err)
	}
	if info := w.machine.Status.NodeInfo; info != nil {
		w.infra.Status.NodeOSImage = info.OSImage
	}
	if w.observed == nil || !w.observed.BootstrapPresent {
		return flow.Advance(infrav1.NodeFoundReason, "")
	}
	return r.scrub(ctx, w)
}

// claimNode gives a Node its provider ID where a foreign bootstrap provider did not tell the kubelet: the Node is the one
// whose SMBIOS system UUID is the machine's. Cluster API finds it by that provider ID.
func (r *Reconciler) claimNode(ctx context.Context, w *world) error {
	workload, err := r.Workload.GetClient(ctx, client.ObjectKeyFromObject(w.cluster))
	if err != nil {
		return err
	}
	nodes := &corev1.NodeList{}
	if err := workload.List(ctx, nodes, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range nodes.Items {
		if nodes.Items[i].Spec.ProviderID != "" || !strings.EqualFold(nodes.Items[i].Status.NodeInfo.SystemUUID, w.identity().UUID) {
			continue
		}
		node := nodes.Items[i].DeepCopy()
		before := client.MergeFrom(node.DeepCopy())
		node.Spec.ProviderID = w.infra.Spec.ProviderID
		return workload.Patch(ctx, node, before)
	}
	return nil
}

// scrub removes bootstrap secrets from the platform, where the platform can.
func (r *Reconciler) scrub(ctx context.Context, w *world) flow.Outcome {
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return flow.Wait(infrav1.ScrubbingReason, err.Error(), unreachableWait)
	}
	scrubber, can := platform.As[platform.BootstrapScrubber](p)
	if !can {
		return flow.Advance(infrav1.NodeFoundReason, "")
	}
	err = scrubber.ScrubBootstrap(ctx, w.identity())
	if errors.Is(err, platform.ErrUnreachable) {
		return flow.Wait(infrav1.ScrubbingReason, err.Error(), unreachableWait)
	}
	if err != nil {
		return flow.Fail(infrav1.ScrubbingReason, "", fmt.Errorf("removing bootstrap data from the platform: %w", err))
	}
	return flow.Advance(infrav1.NodeFoundReason, "")
}
