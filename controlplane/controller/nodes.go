// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

const (
	// providerPrefix begins the provider ID of every machine of ours.
	providerPrefix = "ingot://"
	// controlPlaneNodeLabel is what kubeadm gives to the Nodes of control planes.
	controlPlaneNodeLabel = "node-role.kubernetes.io/control-plane"
)

// gatherNodes asks the workload cluster for control plane Nodes that are nobody's any more. Whatever goes wrong is taken as
// none seen.
func (r *Reconciler) gatherNodes(ctx context.Context, s *snapshot) []string {
	if s.nobodyToAsk() {
		return nil
	}
	_, abandoned, err := r.abandonedNodes(ctx, s, client.HasLabels{controlPlaneNodeLabel})
	if err != nil {
		ctrl.LoggerFrom(ctx).V(2).Info("The Nodes of the control plane are not seen", "cause", err.Error())
		return nil
	}
	s.nodes = abandoned
	return slices.Sorted(maps.Keys(abandoned))
}

// abandonedNodes are Nodes that are machines of ours by their provider IDs, and that no Machine has.
func (r *Reconciler) abandonedNodes(ctx context.Context, s *snapshot, which ...client.ListOption) (client.Client, map[string]*corev1.Node, error) {
	workload, err := r.ClusterCache.GetUncachedClient(ctx, client.ObjectKeyFromObject(s.cluster))
	if err != nil {
		return nil, nil, err
	}
	nodes := &corev1.NodeList{}
	if err := workload.List(ctx, nodes, which...); err != nil {
		return nil, nil, fmt.Errorf("listing Nodes: %w", err)
	}
	abandoned := map[string]*corev1.Node{}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		if strings.HasPrefix(n.Spec.ProviderID, providerPrefix) && !s.providerIDs[n.Spec.ProviderID] {
			abandoned[n.Name] = n
		}
	}
	return workload, abandoned, nil
}

// forgetNode removes exactly the Node that the plan saw.
func (r *Reconciler) forgetNode(ctx context.Context, s *snapshot, step plan.ForgetNode) error {
	workload, err := r.ClusterCache.GetUncachedClient(ctx, client.ObjectKeyFromObject(s.cluster))
	if err != nil {
		return err
	}
	return removeNode(ctx, workload, s.nodes[step.Node])
}

func removeNode(ctx context.Context, workload client.Client, node *corev1.Node) error {
	if err := workload.Delete(ctx, node, client.Preconditions{UID: &node.UID}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing Node %s of a Machine that is gone: %w", node.Name, err)
	}
	return nil
}
