// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// keepApart has the platform keep the instance on another host than those of the other control plane machines of the Cluster.
// Whoever comes last brings all together, so that it is done once for each machine and nothing is asked after that.
func (r *Reconciler) keepApart(ctx context.Context, w *world) flow.Outcome {
	told := conditions.Get(w.found, infrav1.KeptApartCondition)
	switch wait := r.apart.wait(w.infra.UID, r.Clock.Now()); {
	case told != nil && told.Status == metav1.ConditionTrue:
		return flow.Advance(infrav1.KeptApartReason, "")
	case told != nil && told.Reason == infrav1.NotSeparableReason && wait > 0:
		return flow.Wait(told.Reason, told.Message, wait)
	}
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return flow.Wait(infrav1.EndpointUnavailableReason, err.Error(), unreachableWait)
	}
	separator, can := platform.As[platform.Separator](p)
	if !can {
		return flow.Stall(infrav1.NotSeparableReason, "spec.platform.vsphere.antiAffinity: PlatformEndpoint "+w.endpointName()+" keeps nothing apart: remove it")
	}
	others, err := r.others(ctx, w)
	if err != nil {
		return flow.Fail(infrav1.SeparatingReason, "IngotMachines cannot be listed", err)
	}
	err = separator.KeepApart(ctx, w.identity(), others)
	switch {
	case err == nil:
		r.apart.forget(w.infra.UID)
		return flow.Advance(infrav1.KeptApartReason, "")
	case errors.Is(err, platform.ErrUnreachable):
		return flow.Wait(unreachable(err), err.Error(), unreachableWait)
	case errors.Is(err, platform.ErrForeign), errors.Is(err, platform.ErrInvalid), errors.Is(err, platform.ErrUnsupported):
		r.warnOnce(w, infrav1.KeptApartCondition, infrav1.NotSeparableReason, "KeepApart", err.Error())
		r.apart.refused(w.infra.UID, r.Clock.Now())
		return flow.Wait(infrav1.NotSeparableReason, err.Error(), refusedWait)
	default:
		return flow.Fail(infrav1.SeparatingReason, "", err)
	}
}

// others are the instances of the other control plane machines of the Cluster that are on the same endpoint to stay.
func (r *Reconciler) others(ctx context.Context, w *world) ([]platform.Identity, error) {
	machines := &infrav1.IngotMachineList{}
	of := client.MatchingLabels{clusterv1.ClusterNameLabel: w.cluster.Name}
	err := r.Client.List(ctx, machines, client.InNamespace(w.infra.Namespace), of, client.HasLabels{clusterv1.MachineControlPlaneLabel}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	var others []platform.Identity
	for i := range machines.Items {
		m := &machines.Items[i]
		if m.UID == w.infra.UID || !m.DeletionTimestamp.IsZero() || inventory.UUID(m) == "" || placedOn(m) != w.endpointName() {
			continue
		}
		others = append(others, platform.Identity{
			UUID: inventory.UUID(m), ManagementClusterID: w.endpoint.Spec.ManagementClusterID, Storage: inventory.StorageOf(m.Spec),
		})
	}
	return others, nil
}

// refusedWait is how soon a platform is asked again that could not keep a machine apart. What it lacks (DRS, a privilege) comes
// by hand, and nothing tells of it.
const refusedWait = 10 * time.Minute

// refusals remember when machines could not be kept apart, so that whatever else wakes them asks nothing. A manager that has
// forgotten asks once more. The zero value is ready to use.
type refusals struct {
	mu   sync.Mutex
	last map[types.UID]time.Time
}

// refused notes a refusal.
func (r *refusals) refused(machine types.UID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[types.UID]time.Time{}
	}
	r.last[machine] = now
}

// wait is how long the platform is not asked for a machine again; 0 means that it may be.
func (r *refusals) wait(machine types.UID, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, refused := r.last[machine]
	if !refused {
		return 0
	}
	return max(0, refusedWait-now.Sub(last))
}

// forget drops what was refused.
func (r *refusals) forget(machine types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, machine)
}

// maxGroupName is how much of the Cluster's name the name of a group shows. vCenter takes 80 characters for what it is put into.
const maxGroupName = 50

// group is the group of instances that are kept apart, empty for a machine that does not ask for it. It is the same after a
// move to another management cluster, and never that of another Cluster's machines.
func (w *world) group() string {
	if w.infra.Spec.Platform.VSphere.AntiAffinity == "" || w.machine == nil || w.cluster == nil || w.endpoint == nil || !util.IsControlPlaneMachine(w.machine) {
		return ""
	}
	name := w.cluster.Namespace + "/" + w.cluster.Name
	sum := sha256.Sum256([]byte(w.endpoint.Spec.ManagementClusterID + "/" + name))
	shown := w.cluster.Namespace + "-" + w.cluster.Name
	return shown[:min(len(shown), maxGroupName)] + "-" + hex.EncodeToString(sum[:8])
}
