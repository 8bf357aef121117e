// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/labels"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

const controllerName = "ingotconfig"

// secretIndex finds the configs that refer to a Secret.
const secretIndex = "spec.secrets"

// SetupWithManager registers the reconciler: it is woken by its IngotConfigs, their Machines, what it reads of their
// Clusters, the Secrets that they refer to, and the connections to the workload clusters. Of Secrets only metadata is watched:
// that one changed is all that the cache knows. They need not carry the watch label, since other tools make them.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	clusterToConfigs, err := util.ClusterToTypedObjectsMapper(mgr.GetClient(), &bootstrapv1.IngotConfigList{}, mgr.GetScheme())
	if err != nil {
		return fmt.Errorf("setting up the controller of IngotConfigs: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &bootstrapv1.IngotConfig{}, secretIndex, secretsOf); err != nil {
		return fmt.Errorf("indexing IngotConfigs by the Secrets that they refer to: %w", err)
	}
	filter := builder.WithPredicates(predicates.ResourceHasFilterLabel(mgr.GetScheme(), ctrl.LoggerFrom(ctx), r.WatchFilter))
	err = ctrl.NewControllerManagedBy(mgr).
		Named(controllerName).
		For(&bootstrapv1.IngotConfig{}, filter).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(machineToConfig), filter).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToConfigs), filter, builder.WithPredicates(clusterMatters())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.secretToConfigs)).
		WatchesRawSource(r.Workload.GetClusterSource(controllerName, clusterToConfigs)).
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

// secretsOf are the names of the Secrets that a config refers to.
func secretsOf(object client.Object) []string {
	config, ok := object.(*bootstrapv1.IngotConfig)
	if !ok {
		return nil
	}
	var names []string
	for _, reference := range settings.References(config.Spec) {
		names = append(names, reference.Secret.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// secretToConfigs maps a Secret to the configs that refer to it and still wait for their data.
func (r *Reconciler) secretToConfigs(ctx context.Context, secret client.Object) []ctrl.Request {
	configs := &bootstrapv1.IngotConfigList{}
	if err := r.Client.List(ctx, configs, client.InNamespace(secret.GetNamespace()), client.MatchingFields{secretIndex: secret.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list IngotConfigs for an event of a Secret")
		return nil
	}
	var requests []ctrl.Request
	for i := range configs.Items {
		config := &configs.Items[i]
		if config.Status.DataSecretName == "" && (r.WatchFilter == "" || labels.HasWatchLabel(config, r.WatchFilter)) {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(config)})
		}
	}
	return requests
}
