// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

const controllerName = "ingotconfig"

// SetupWithManager registers the reconciler: it is woken by its IngotConfigs, their Machines, what it reads of their
// Clusters, and the connections to the workload clusters.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	clusterToConfigs, err := util.ClusterToTypedObjectsMapper(mgr.GetClient(), &bootstrapv1.IngotConfigList{}, mgr.GetScheme())
	if err != nil {
		return fmt.Errorf("setting up the controller of IngotConfigs: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).
		Named(controllerName).
		For(&bootstrapv1.IngotConfig{}).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(machineToConfig)).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToConfigs), builder.WithPredicates(clusterMatters())).
		WatchesRawSource(r.Workload.GetClusterSource(controllerName, clusterToConfigs)).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), ctrl.LoggerFrom(ctx), r.WatchFilter)).
		WithOptions(options).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the controller of IngotConfigs: %w", err)
	}
	return nil
}

// machineToConfig maps a Machine to its IngotConfig.
func machineToConfig(_ context.Context, object client.Object) []ctrl.Request {
	machine, ok := object.(*clusterv1.Machine)
	if !ok {
		return nil
	}
	ref := machine.Spec.Bootstrap.ConfigRef
	if ref.APIGroup != bootstrapv1.GroupVersion.Group || ref.Kind != "IngotConfig" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: machine.Namespace, Name: ref.Name}}}
}

// clusterFacts is what a pass reads of a Cluster.
type clusterFacts struct {
	paused, provisioned, initialized, leaving bool
	endpoint                                  clusterv1.APIEndpoint
}

func factsOf(object client.Object) clusterFacts {
	cluster, ok := object.(*clusterv1.Cluster)
	if !ok {
		return clusterFacts{}
	}
	return clusterFacts{
		paused:      ptr.Deref(cluster.Spec.Paused, false),
		provisioned: ptr.Deref(cluster.Status.Initialization.InfrastructureProvisioned, false),
		initialized: ptr.Deref(cluster.Status.Initialization.ControlPlaneInitialized, false),
		leaving:     !cluster.DeletionTimestamp.IsZero(),
		endpoint:    cluster.Spec.ControlPlaneEndpoint,
	}
}

// clusterMatters lets the changes of a Cluster through that a pass can act on.
func clusterMatters() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(e event.UpdateEvent) bool { return factsOf(e.ObjectOld) != factsOf(e.ObjectNew) },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
