// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller reconciles IngotConfigs. A pass gathers what decides a node's machine configuration (gather.go),
// renders it with the OS family that the config names and publishes it as a Secret (publish.go), and lends the machine a
// token to join with until its Node is there (token.go). It knows OS families only through their port, no platform at
// all, and it makes no cluster certificates: it reads those that the control plane provider made.
package controller

import (
	"context"

	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// +kubebuilder:rbac:groups=bootstrap.cluster.x-k8s.io,resources=ingotconfigs,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=bootstrap.cluster.x-k8s.io,resources=ingotconfigs/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=bootstrap.cluster.x-k8s.io,resources=ingotconfigs/finalizers,verbs=update
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters;machines,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get
// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages,verbs=get;list;watch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create

// ClusterCache is what the reconciler uses of Cluster API's cache of workload cluster connections.
type ClusterCache interface {
	// GetUncachedClient returns a client for the workload cluster, or an error at once while there is no connection.
	GetUncachedClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error)
	// GetClusterSource returns what wakes the reconciler when a connection comes or goes.
	GetClusterSource(controllerName string, mapFunc func(ctx context.Context, cluster client.Object) []ctrl.Request, opts ...clustercache.GetClusterSourceOption) source.Source
}

// Reconciler reconciles IngotConfigs. Every field is required, except WatchFilter.
type Reconciler struct {
	// Client reads from the manager's cache and writes. It must not keep Secrets in the cache: those with certificates
	// need not carry the label that caches filter by.
	Client client.Client
	// Workload connects to workload clusters.
	Workload ClusterCache
	// Families are the OS families that can be rendered.
	Families map[ingotv1.OSFamily]osfamily.Family
	// Clock tells the time.
	Clock clock.PassiveClock
	// WatchFilter is the value of Cluster API's watch label that objects must carry; empty means all objects.
	WatchFilter string
}

// Reconcile brings one IngotConfig closer to a node that has joined.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w, err := r.gather(ctx, req.NamespacedName)
	if w == nil || err != nil {
		return ctrl.Result{}, err
	}
	if isPaused, changed, err := paused.EnsurePausedCondition(ctx, r.Client, w.cluster, w.config); isPaused || changed || err != nil {
		return ctrl.Result{}, err
	}
	if !w.joined() {
		if added, err := finalizers.EnsureFinalizer(ctx, r.Client, w.config, bootstrapv1.IngotConfigFinalizer); added || err != nil {
			return ctrl.Result{}, err
		}
	}
	helper, err := patch.NewHelper(w.config, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	result, err := r.run(ctx, w).Result()
	patchErr := helper.Patch(ctx, w.config, patch.WithOwnedConditions{Conditions: ownedConditions()})
	return result, kerrors.NewAggregate([]error{err, client.IgnoreNotFound(patchErr)})
}

// run decides what this pass is for: letting go, publishing, or looking after the token.
func (r *Reconciler) run(ctx context.Context, w *world) flow.Outcome {
	if !w.config.DeletionTimestamp.IsZero() {
		return r.release(ctx, w)
	}
	if !w.published() {
		if outcome := r.publish(ctx, w); !outcome.Done() {
			return outcome
		}
	}
	return r.keepToken(ctx, w)
}

func ownedConditions() []string {
	return []string{bootstrapv1.ReadyCondition, bootstrapv1.CertificatesAvailableCondition, bootstrapv1.DataSecretAvailableCondition}
}
