// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package imagereplica reconciles ImageReplica: it has the artefact copied to the endpoint's storage, reports progress,
// deletes a replica that no machine has needed for a time, and removes the copy of one that is deleted. It never decides
// which image a machine uses.
package imagereplica

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/finalizers"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// Reconciler reconciles ImageReplica.
type Reconciler struct {
	Client   client.Client
	Sessions *session.Registry
	// MachineReader reads IngotMachines from the API server: that nobody needs a copy is not left to a cache. Nil means that
	// Client reads from there already.
	MachineReader client.Reader
	// Recorder receives events; nil means that there are none.
	Recorder events.EventRecorder
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Random spreads what is done from time to time, with numbers from 0 to 1; nil means that nothing is spread.
	Random           func() float64
	WatchFilterValue string

	// What one manager remembers. All of it may be lost at any time.
	memory memory
	// indexed is whether the cache finds machines by the copy that they need.
	indexed bool
}

// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas/status;imagereplicas/finalizers,verbs=get;update;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile takes the copy one step further, or the replica one step nearer to its end.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	replica := &ingotv1.ImageReplica{}
	if err := r.Client.Get(ctx, req.NamespacedName, replica); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.memory.forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	endpoint, ours, err := r.endpointOf(ctx, replica)
	if err != nil || !ours {
		return ctrl.Result{}, err
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, replica, ingotv1.ImageReplicaFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	known := r.memory.of(replica)
	step := r.keep
	if !replica.DeletionTimestamp.IsZero() {
		step = r.release
	}
	wait, err := step(ctx, replica, endpoint, known)
	if err != nil {
		known.ask() // what came of this pass is not on record
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// keep has the copy made and looked after, until nobody has needed it for long enough. It returns when to look again.
func (r *Reconciler) keep(ctx context.Context, replica *ingotv1.ImageReplica, endpoint *ingotv1.PlatformEndpoint, known *notes) (time.Duration, error) {
	found := replica.DeepCopy()
	wait := r.ensure(ctx, replica, endpoint, known)
	collectAt, err := r.judgeNeed(ctx, replica, endpoint)
	if err != nil {
		return 0, err
	}
	if err := r.write(ctx, replica, found); err != nil || collectAt.IsZero() {
		return wait, err
	}
	if left := collectAt.Sub(r.now()); left > 0 {
		return min(wait, left), nil
	}
	return wait, r.collect(ctx, replica)
}

// write writes the status if it says anything new.
func (r *Reconciler) write(ctx context.Context, replica, found *ingotv1.ImageReplica) error {
	replica.Status.ObservedGeneration = replica.Generation
	if equality.Semantic.DeepEqual(found.Status, replica.Status) {
		return nil
	}
	return r.Client.Status().Patch(ctx, replica, client.MergeFromWithOptions(found, client.MergeFromWithOptimisticLock{}))
}

// release removes the copy; the finalizer goes only when nothing is left of it.
func (r *Reconciler) release(ctx context.Context, replica *ingotv1.ImageReplica, _ *ingotv1.PlatformEndpoint, known *notes) (time.Duration, error) {
	found := replica.DeepCopy()
	gone, wait := r.removeCopy(ctx, replica, known)
	if !gone {
		return wait, r.write(ctx, replica, found)
	}
	if !controllerutil.RemoveFinalizer(replica, ingotv1.ImageReplicaFinalizer) {
		return 0, nil
	}
	return 0, r.Client.Patch(ctx, replica, client.MergeFromWithOptions(found, client.MergeFromWithOptimisticLock{}))
}

func record(replica *ingotv1.ImageReplica, outcome flow.Outcome) {
	flow.Record(replica, ingotv1.ImageReplicaReadyCondition, outcome)
}

func (r *Reconciler) now() time.Time {
	if r.Clock == nil {
		return clock.RealClock{}.Now()
	}
	return r.Clock.Now()
}

// spread makes a duration longer or shorter by up to a quarter, so that what was started together does not stay together.
func (r *Reconciler) spread(d time.Duration) time.Duration {
	if r.Random == nil {
		return d
	}
	return d + time.Duration((r.Random()-0.5)*float64(d)/2)
}
