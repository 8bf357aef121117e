// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster reconciles IngotCluster: it tells Cluster API the control plane endpoint and the failure domains, and
// keeps a deleted IngotCluster until its machines are gone. A cluster whose failure domains nobody has is not begun. It makes
// nothing on a platform.
package cluster

import (
	"context"
	"fmt"

	kerrors "k8s.io/apimachinery/pkg/util/errors"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/paused"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
)

// Reconciler reconciles IngotCluster.
type Reconciler struct {
	Client           client.Client
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotclusters,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotclusters/status;ingotclusters/finalizers,verbs=get;update;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get;list;watch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters;clusters/status,verbs=get;list;watch
// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints,verbs=get;list;watch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	log := mgr.GetLogger().WithValues("controller", "ingotcluster")
	clusterToUs := util.ClusterToInfrastructureMapFunc(ctx, infrav1.GroupVersion.WithKind("IngotCluster"), mgr.GetClient(), &infrav1.IngotCluster{})
	return ctrl.NewControllerManagedBy(mgr).
		For(&infrav1.IngotCluster{}).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), log, r.WatchFilterValue)).
		WithEventFilter(predicates.ResourceIsNotExternallyManaged(mgr.GetScheme(), log)).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToUs),
			builder.WithPredicates(predicates.ResourceHasFilterLabel(mgr.GetScheme(), log, r.WatchFilterValue))).
		Watches(&infrav1.IngotMachine{}, handler.EnqueueRequestsFromMapFunc(r.machineToCluster)).
		Watches(&ingotv1.PlatformEndpoint{}, handler.EnqueueRequestsFromMapFunc(r.endpointToClusters),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
}

// Reconcile reports the endpoint, or waits for the machines of a deleted cluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	infra := &infrav1.IngotCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, infra); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	owner, err := util.GetOwnerCluster(ctx, r.Client, infra.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if owner == nil && infra.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // Cluster API makes its Cluster the owner; that update wakes us
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, infra, infrav1.IngotClusterFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	if isPaused, requeue, err := paused.EnsurePausedCondition(ctx, r.Client, owner, infra); err != nil || isPaused || requeue {
		return ctrl.Result{}, err
	}
	helper, err := patch.NewHelper(infra, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	outcome := r.reconcile(ctx, owner, infra)
	flow.Record(infra, infrav1.ReadyCondition, outcome)
	result, reterr = outcome.Result()
	return result, kerrors.NewAggregate([]error{reterr, client.IgnoreNotFound(helper.Patch(ctx, infra))})
}

func (r *Reconciler) reconcile(ctx context.Context, owner *clusterv1.Cluster, infra *infrav1.IngotCluster) flow.Outcome {
	if !infra.DeletionTimestamp.IsZero() {
		return r.release(ctx, infra)
	}
	infra.Status.FailureDomains = infra.Spec.FailureDomains
	unknown, err := r.unknownDomain(ctx, infra)
	if err != nil {
		return flow.Fail(infrav1.ClusterFailureDomainUnknownReason, "PlatformEndpoints cannot be listed", err)
	}
	if unknown != "" {
		return flow.Wait(infrav1.ClusterFailureDomainUnknownReason, unknown, 0)
	}
	endpoint := infra.Spec.ControlPlaneEndpoint
	if (endpoint.Host == "" || endpoint.Port == 0) && !owner.Spec.ControlPlaneEndpoint.IsValid() {
		return flow.Wait(infrav1.ClusterWaitingForEndpointReason,
			"set spec.controlPlaneEndpoint.host and port of this IngotCluster, or spec.controlPlaneEndpoint of the Cluster", 0)
	}
	infra.Status.Initialization.Provisioned = new(true)
	return flow.Advance(infrav1.ClusterProvisionedReason, "")
}

// release lets a deleted IngotCluster go once no machine of the cluster is left. Its Cluster may be gone before it.
func (r *Reconciler) release(ctx context.Context, infra *infrav1.IngotCluster) flow.Outcome {
	machines := &infrav1.IngotMachineList{}
	ofCluster := client.MatchingLabels{clusterv1.ClusterNameLabel: infra.Labels[clusterv1.ClusterNameLabel]}
	if err := r.Client.List(ctx, machines, client.InNamespace(infra.Namespace), ofCluster); err != nil {
		return flow.Fail(infrav1.ClusterWaitingForMachinesReason, "", err)
	}
	if n := len(machines.Items); n > 0 {
		return flow.Wait(infrav1.ClusterWaitingForMachinesReason, fmt.Sprintf("%d IngotMachines are left", n), 0)
	}
	controllerutil.RemoveFinalizer(infra, infrav1.IngotClusterFinalizer)
	return flow.Advance(infrav1.ClusterProvisionedReason, "")
}

// machineToCluster wakes a deleted IngotCluster when one of its machines is gone.
func (r *Reconciler) machineToCluster(ctx context.Context, machine client.Object) []ctrl.Request {
	name := machine.GetLabels()[clusterv1.ClusterNameLabel]
	if name == "" || machine.GetDeletionTimestamp().IsZero() {
		return nil
	}
	clusters := &infrav1.IngotClusterList{}
	ofCluster := client.MatchingLabels{clusterv1.ClusterNameLabel: name}
	if err := r.Client.List(ctx, clusters, client.InNamespace(machine.GetNamespace()), ofCluster); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list IngotClusters for an event; the next sweep will see it")
		return nil
	}
	requests := make([]ctrl.Request, 0, len(clusters.Items))
	for i := range clusters.Items {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&clusters.Items[i])})
	}
	return requests
}
