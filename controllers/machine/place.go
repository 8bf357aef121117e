// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/placement"
)

// assumptions are placements that were chosen and may not be in the cache yet, so that two passes at the same time do not
// give the same room away twice. The zero value is ready to use.
type assumptions struct {
	mu     sync.Mutex
	placed map[types.UID]assumed
}

type assumed struct {
	endpoint    string
	cpus        int32
	memoryBytes int64
}

// place chooses the endpoint, and the datastore where a storage policy is named in place of one, and writes them into the spec;
// the pass writes them down before anything is made there. A machine stays where it was put.
func (r *Reconciler) place(ctx context.Context, w *world) flow.Outcome {
	if w.infra.Spec.Placement.EndpointName != "" || w.wasProvisioned() {
		return flow.Advance(infrav1.PlacedReason, "")
	}
	if w.infra.Spec.Platform.VSphere.AntiAffinity != "" && !util.IsControlPlaneMachine(w.machine) {
		return flow.Stall(infrav1.NotSeparableReason, "spec.platform.vsphere.antiAffinity is for control plane machines: remove it from the template of workers")
	}
	endpoint, placed, refusal, err := r.choose(ctx, w)
	if err != nil {
		return flow.Fail(infrav1.NoEndpointReason, "PlatformEndpoints cannot be listed", err)
	}
	if refusal != nil {
		r.warnOnce(w, infrav1.PlacedCondition, refusal.Reason, "PlaceMachine", refusal.Message)
		if refusal.Passing {
			return flow.Wait(refusal.Reason, refusal.Message, unreachableWait)
		}
		return flow.Stall(refusal.Reason, refusal.Message)
	}
	if outcome := r.chooseStorage(ctx, w, &placed); !outcome.Done() {
		r.unplace(w.infra.UID)
		return outcome
	}
	w.infra.Spec.Placement = placed
	w.endpoint = endpoint
	return flow.Advance(infrav1.PlacedReason, "")
}

// choose chooses the endpoint, and assumes that the machine is put there.
func (r *Reconciler) choose(ctx context.Context, w *world) (*ingotv1.PlatformEndpoint, infrav1.MachinePlacement, *placement.Refusal, error) {
	r.assumed.mu.Lock()
	defer r.assumed.mu.Unlock()
	candidates, err := r.candidates(ctx, w)
	if err != nil {
		return nil, infrav1.MachinePlacement{}, nil, err
	}
	needs := w.needs()
	endpoint, placed, refusal := placement.Choose(needs, candidates)
	if refusal == nil {
		if r.assumed.placed == nil {
			r.assumed.placed = map[types.UID]assumed{}
		}
		r.assumed.placed[w.infra.UID] = assumed{endpoint: endpoint.Name, cpus: needs.CPUs, memoryBytes: needs.MemoryBytes}
	}
	return endpoint, placed, refusal, nil
}

// unplace takes back what was assumed of a machine: its placement was not written, or it is gone.
func (r *Reconciler) unplace(uid types.UID) {
	r.assumed.mu.Lock()
	defer r.assumed.mu.Unlock()
	delete(r.assumed.placed, uid)
}

func (w *world) needs() placement.Needs {
	name, selector := inventory.WantedEndpoint(w.infra.Spec)
	return placement.Needs{
		EndpointName:  name,
		Platform:      inventory.PlatformOf(w.infra.Spec),
		Selector:      selector,
		FailureDomain: w.machine.Spec.FailureDomain,
		CPUs:          w.infra.Spec.Resources.CPUs,
		MemoryBytes:   w.infra.Spec.Resources.Memory.Value(),
		ControlPlane:  util.IsControlPlaneMachine(w.machine),
		Said:          inventory.PlaceOf(w.infra.Spec),
	}
}

// candidates are all endpoints with what is used of them. The caller holds the assumptions.
func (r *Reconciler) candidates(ctx context.Context, w *world) ([]placement.Candidate, error) {
	endpoints := &ingotv1.PlatformEndpointList{}
	if err := r.Client.List(ctx, endpoints); err != nil {
		return nil, err
	}
	used, err := r.usage(ctx)
	if err != nil {
		return nil, err
	}
	candidates := make([]placement.Candidate, 0, len(endpoints.Items))
	for i := range endpoints.Items {
		e := &endpoints.Items[i]
		allowed, err := r.mayUse(ctx, w.infra.Namespace, e.Spec.AllowedNamespaces)
		if err != nil {
			return nil, fmt.Errorf("PlatformEndpoint %s: %w", e.Name, err)
		}
		candidates = append(candidates, placement.Candidate{
			Endpoint: e, Allowed: allowed, Ready: conditions.IsTrue(e, ingotv1.PlatformEndpointReadyCondition), Used: used[e.Name],
		})
	}
	return candidates, nil
}

// usage is what the placed machines have per endpoint, those included that are only assumed so far.
func (r *Reconciler) usage(ctx context.Context) (map[string]placement.Usage, error) {
	machines := &infrav1.IngotMachineList{}
	if err := r.Client.List(ctx, machines, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	used := map[string]placement.Usage{}
	for i := range machines.Items {
		m := &machines.Items[i]
		name := placedOn(m)
		if name == "" {
			continue
		}
		delete(r.assumed.placed, m.UID)
		used[name] = used[name].Add(m.Spec.Resources.CPUs, m.Spec.Resources.Memory.Value())
	}
	for _, a := range r.assumed.placed {
		used[a.endpoint] = used[a.endpoint].Add(a.cpus, a.memoryBytes)
	}
	return used, nil
}

// placedOn is the endpoint that something of the machine may be on; empty when nothing can be anywhere. Machines of
// earlier versions have no placement, and lived where they said.
func placedOn(m *infrav1.IngotMachine) string { return inventory.EndpointOf(m) }

// mayUse is whether machines of a namespace may be placed on an endpoint.
func (r *Reconciler) mayUse(ctx context.Context, namespace string, allowed ingotv1.AllowedNamespaces) (bool, error) {
	if len(allowed.Names) == 0 && allowed.Selector == nil {
		return true, nil
	}
	if slices.Contains(allowed.Names, namespace) {
		return true, nil
	}
	if allowed.Selector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		return false, fmt.Errorf("spec.allowedNamespaces.selector: %w", err)
	}
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
}
