// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

// tenants are what a deleted endpoint waits for; nil for one that was not deleted.
type tenants struct {
	machines, replicas []string
}

// leftOn finds what is left on a deleted endpoint. The copies go when the last machine has gone; the cache alone is not
// believed that it has.
func (r *Reconciler) leftOn(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) (*tenants, error) {
	if endpoint.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	cached := &infrav1.IngotMachineList{}
	if err := r.Client.List(ctx, cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	left := &tenants{machines: on(endpoint.Name, cached.Items)}
	if len(left.machines) > 0 {
		return left, nil
	}
	machines, err := r.allMachines(ctx)
	if err != nil {
		return nil, err
	}
	if left.machines = on(endpoint.Name, machines); len(left.machines) > 0 {
		return left, nil
	}
	left.replicas, err = r.dismissReplicas(ctx, endpoint)
	return left, err
}

// on returns the names of the machines that are on an endpoint.
func on(endpoint string, machines []infrav1.IngotMachine) []string {
	var names []string
	for i := range machines {
		if inventory.EndpointOf(&machines[i]) == endpoint {
			names = append(names, client.ObjectKeyFromObject(&machines[i]).String())
		}
	}
	return names
}

// dismissReplicas deletes the copies on an endpoint that has no machines, and returns those that are still there.
func (r *Reconciler) dismissReplicas(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) ([]string, error) {
	replicas := &ingotv1.ImageReplicaList{}
	if err := r.MachineReader.List(ctx, replicas); err != nil {
		return nil, err
	}
	var names []string
	for i := range replicas.Items {
		replica := &replicas.Items[i]
		if replica.Spec.EndpointName != endpoint.Name {
			continue
		}
		names = append(names, replica.Name)
		if !replica.DeletionTimestamp.IsZero() {
			continue
		}
		err := r.Client.Delete(ctx, replica, client.Preconditions{UID: &replica.UID, ResourceVersion: &replica.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		if r.Recorder != nil {
			r.Recorder.Eventf(replica, endpoint, corev1.EventTypeNormal, "ReplicaCollected", "LetEndpointGo",
				"PlatformEndpoint %s was deleted, and no machine is left on it", endpoint.Name)
		}
	}
	return names, nil
}

// nothing is whether a deleted endpoint may go.
func (t *tenants) nothing() bool { return t != nil && len(t.machines) == 0 && len(t.replicas) == 0 }

// over puts what a deleted endpoint waits for in place of what else there is to say; trouble with the endpoint is said
// with it, because nothing leaves an endpoint that does not answer.
func (t *tenants) over(outcome flow.Outcome) flow.Outcome {
	if t == nil {
		return outcome
	}
	var parts []string
	for _, kind := range []struct {
		name  string
		names []string
	}{{"IngotMachines", t.machines}, {"ImageReplicas", t.replicas}} {
		if n := len(kind.names); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", n, kind.name, firstFew(kind.names)))
		}
	}
	message := "the endpoint was deleted and goes when nothing is left on it: " + strings.Join(parts, " and ")
	if len(t.machines) > 0 {
		message += ". Delete their Machines, or scale to zero what makes them"
	}
	if !outcome.Done() {
		message += ". Trouble with the endpoint: " + outcome.Message()
	}
	return flow.Wait(ingotv1.PlatformEndpointInUseReason, message, checkEvery)
}

func firstFew(names []string) string {
	const few = 3
	if len(names) > few {
		return strings.Join(names[:few], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// letGo removes the finalizer.
func (r *Reconciler) letGo(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) error {
	before := endpoint.DeepCopy()
	if !controllerutil.RemoveFinalizer(endpoint, ingotv1.PlatformEndpointFinalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.Client.Patch(ctx, endpoint, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}
