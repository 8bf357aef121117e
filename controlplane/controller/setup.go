// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

const controllerName = "ingotcontrolplane"

// SetupWithManager registers the reconciler: it is woken by its IngotControlPlanes, their Machines, what it reads of
// their Clusters, and the connections to the workload clusters.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named(controllerName).
		For(&controlplanev1.IngotControlPlane{}).
		Owns(&clusterv1.Machine{}).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToControlPlane), builder.WithPredicates(clusterMatters())).
		WatchesRawSource(source.Channel(r.wakes(), &handler.EnqueueRequestForObject{})).
		WatchesRawSource(r.ClusterCache.GetClusterSource(controllerName, clusterToControlPlane)).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), ctrl.LoggerFrom(ctx), r.WatchFilter)).
		WithOptions(options).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the controller of IngotControlPlanes: %w", err)
	}
	return nil
}

// Wake has a control plane looked at again. It never blocks: one that is lost is looked at again a little later all the same.
func (r *Reconciler) Wake(key types.NamespacedName) {
	cp := &controlplanev1.IngotControlPlane{}
	cp.Namespace, cp.Name = key.Namespace, key.Name
	select {
	case r.wakes() <- event.GenericEvent{Object: cp}:
	default:
	}
}

// wakes is the channel of Wake.
func (r *Reconciler) wakes() chan event.GenericEvent {
	r.waking.Do(func() { r.wake = make(chan event.GenericEvent, 64) })
	return r.wake
}

// clusterToControlPlane maps a Cluster to its IngotControlPlane.
func clusterToControlPlane(_ context.Context, object client.Object) []ctrl.Request {
	cluster, ok := object.(*clusterv1.Cluster)
	if !ok {
		return nil
	}
	ref := cluster.Spec.ControlPlaneRef
	if ref.APIGroup != controlplanev1.GroupVersion.Group || ref.Kind != "IngotControlPlane" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: cluster.Namespace, Name: ref.Name}}}
}

// clusterMatters lets those changes of a Cluster through that a pass reads: pausing, infrastructure and endpoint.
func clusterMatters() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, wasCluster := e.ObjectOld.(*clusterv1.Cluster)
			after, isCluster := e.ObjectNew.(*clusterv1.Cluster)
			return wasCluster && isCluster && (before.Spec.ControlPlaneEndpoint != after.Spec.ControlPlaneEndpoint ||
				isSet(before.Spec.Paused) != isSet(after.Spec.Paused) ||
				isSet(before.Status.Initialization.InfrastructureProvisioned) != isSet(after.Status.Initialization.InfrastructureProvisioned))
		},
	}
}

func isSet(b *bool) bool { return ptr.Deref(b, false) }
