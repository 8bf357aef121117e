// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controller reconciles IngotControlPlanes. A pass looks (gather.go), plans (controlplane/plan), carries out the
// steps of the plan (apply.go, create.go), copies what may change in place (propagate.go) and reports (status.go,
// conditions.go). It holds no decision of its own about what should happen next: that is the planner's. It never
// speaks to a platform, and never renders what a node runs.
package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/source"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
)

// +kubebuilder:rbac:groups=controlplane.cluster.x-k8s.io,resources=ingotcontrolplanes,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=controlplane.cluster.x-k8s.io,resources=ingotcontrolplanes/status,verbs=get;patch
// +kubebuilder:rbac:groups=controlplane.cluster.x-k8s.io,resources=ingotcontrolplanes/finalizers,verbs=update
// +kubebuilder:rbac:groups=bootstrap.cluster.x-k8s.io,resources=ingotconfigs,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=*,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=machines,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=machines/status,verbs=get;patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list;watch

// WorkloadClients gives clients for workload clusters.
type WorkloadClients interface {
	// GetUncachedClient returns a client for the workload cluster, or an error at once while there is no connection.
	GetUncachedClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error)
}

// ClusterCache is what the reconciler uses of Cluster API's cache of workload cluster connections.
type ClusterCache interface {
	WorkloadClients
	// GetClusterSource returns what wakes the reconciler when a connection comes or goes.
	GetClusterSource(controllerName string, mapFunc func(ctx context.Context, cluster client.Object) []ctrl.Request, opts ...clustercache.GetClusterSourceOption) source.Source
}

// Etcd is what the reconciler uses of the etcd of a workload cluster.
type Etcd interface {
	// Members returns all members with their health, none of them healthy where they cannot agree, or an error where nobody
	// can tell.
	Members(ctx context.Context) ([]plan.Member, error)

	membership
	backup.Source
}

// membership is what the reconciler changes of etcd's members. Each may be done again.
type membership interface {
	// Promote gives a learner its vote, MoveLeader has another member lead, and Remove removes a member.
	Promote(ctx context.Context, member plan.Member) error
	MoveLeader(ctx context.Context, from, to plan.Member) error
	Remove(ctx context.Context, member plan.Member) error
	// Place says at which address of its node the others find a member.
	Place(ctx context.Context, member plan.Member, address string) error
	// Settle has a majority write down what was agreed on last, so that nobody who comes back waits for a member that was
	// removed and is gone.
	Settle(ctx context.Context) error
}

// Reconciler reconciles IngotControlPlanes. Every field is required, except Recorder, WatchFilter and Pace.
type Reconciler struct {
	// Client reads from the manager's cache and writes.
	Client client.Client
	// APIReader reads from the API server. Secrets are always read with it, and everything else before a step is taken.
	APIReader client.Reader
	// ClusterCache connects to workload clusters.
	ClusterCache ClusterCache
	// Drivers chooses how the nodes of a control plane are driven.
	Drivers Drivers
	// Recorder receives one event for each step that is carried out; nil means that there are none.
	Recorder events.EventRecorder
	// Backups backs etcd up before a rollout, and Restores restores it.
	Backups  Backups
	Restores Restores
	// Clock tells the time.
	Clock clock.PassiveClock
	// WatchFilter is the value of Cluster API's watch label that objects must carry; empty means all objects.
	WatchFilter string
	// Pace is how soon to look again at what no watch tells; what is zero has a default.
	Pace Pace

	// applied remembers for each control plane what was last copied to its objects (see inPlace), so that nothing is sent
	// twice. Losing it costs one request per object.
	applied sync.Map

	// wake brings control planes whose backups have ended.
	waking sync.Once
	wake   chan event.GenericEvent
}

// Reconcile brings one IngotControlPlane closer to what its spec says.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cp := &controlplanev1.IngotControlPlane{}
	if err := r.Client.Get(ctx, req.NamespacedName, cp); err != nil {
		r.applied.Delete(req.NamespacedName)
		if apierrors.IsNotFound(err) {
			r.Backups.Forget(req.NamespacedName)
			err = r.Restores.Forget(req.NamespacedName)
		}
		return ctrl.Result{}, err
	}
	cluster, err := util.GetOwnerCluster(ctx, r.Client, cp.ObjectMeta)
	if err != nil {
		return ctrl.Result{}, err
	}
	if cluster == nil {
		return flow.Wait("WaitingForOwner", "waiting until Cluster API makes a Cluster the owner, which the own watch tells", 0).Result()
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, cp, controlplanev1.IngotControlPlaneFinalizer); added || err != nil {
		return ctrl.Result{}, err
	}
	if isPaused, changed, err := paused.EnsurePausedCondition(ctx, r.Client, cluster, cp); isPaused || changed || err != nil {
		return ctrl.Result{}, err
	}

	now, err := r.look(ctx, r.Client, cp, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(now.plan.Steps) > 0 {
		return r.act(ctx, req.NamespacedName, cluster)
	}
	return r.conclude(ctx, now, nil)
}

// act carries out a plan. The cache may lag behind what this reconciler wrote itself, so the plan is made again from
// what the API server says now, and what is reported afterwards is looked at once more.
func (r *Reconciler) act(ctx context.Context, name types.NamespacedName, cluster *clusterv1.Cluster) (ctrl.Result, error) {
	before, err := r.lookLive(ctx, name, cluster)
	if before == nil || err != nil {
		return ctrl.Result{}, err
	}
	applyErr := r.apply(ctx, before)
	after, err := r.lookLive(ctx, name, cluster)
	if after == nil || err != nil {
		return ctrl.Result{}, errors.Join(applyErr, err)
	}
	return r.conclude(ctx, after, applyErr)
}

// lookLive returns nil when the control plane is gone.
func (r *Reconciler) lookLive(ctx context.Context, name types.NamespacedName, cluster *clusterv1.Cluster) (*snapshot, error) {
	cp := &controlplanev1.IngotControlPlane{}
	if err := r.APIReader.Get(ctx, name, cp); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return r.look(ctx, r.APIReader, cp, cluster)
}

// conclude copies what may change in place, reports, and says when to look again.
func (r *Reconciler) conclude(ctx context.Context, now *snapshot, applyErr error) (ctrl.Result, error) {
	propagateErr := errors.Join(r.propagate(ctx, now), r.forgetRestore(now))
	reportErr := r.report(ctx, now, applyErr)
	if apierrors.IsConflict(applyErr) && propagateErr == nil && reportErr == nil {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	if err := kerrors.NewAggregate([]error{applyErr, propagateErr, reportErr}); err != nil {
		return ctrl.Result{}, err
	}
	return now.outcome(r.Clock.Now(), r.Pace.orDefault()).Result()
}

// conflictRetry is how soon a pass is repeated that met somebody else's write.
const conflictRetry = time.Second
