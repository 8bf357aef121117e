// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package platformendpoint reconciles PlatformEndpoint: it gives the endpoint its management cluster id, keeps its
// session open with the credentials of its Secret, reports whether it answers, what it has and what its account may not do, finds
// what on it belongs to nobody, and lets it go only when nothing is left on it. It never touches a machine that exists.
package platformendpoint

import (
	"context"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// Reconciler reconciles PlatformEndpoint.
type Reconciler struct {
	Client   client.Client
	Sessions *session.Registry
	// SecretReader reads the Secrets of credentials, and MachineReader what is on endpoints. Both read from the API server:
	// secrets are not kept, and that something belongs to nobody is not left to a cache. Needed for an endpoint with
	// credentials, for finding orphans, and for an endpoint that is deleted.
	SecretReader  client.Reader
	MachineReader client.Reader
	// SeesAllMachines is whether this manager is responsible for the machines of all namespaces. Otherwise nothing is
	// called an orphan.
	SeesAllMachines bool
	// Recorder receives events; nil means that there are none.
	Recorder events.EventRecorder
	// Report is told how many orphans an endpoint has after each look, and 0 when the endpoint is gone; nil means nobody is.
	Report func(endpoint string, orphans int)
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Random spreads what is done from time to time, with numbers from 0 to 1; nil means that nothing is spread.
	Random           func() float64
	WatchFilterValue string

	// What one manager remembers. All of it may be lost at any time.
	memory memory
}

// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints/status;platformendpoints/finalizers,verbs=get;update;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get;list;watch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachinetemplates,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile opens the session, reports on the endpoint, and looks for orphans from time to time.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	endpoint := &ingotv1.PlatformEndpoint{}
	if err := r.Client.Get(ctx, req.NamespacedName, endpoint); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.WatchFilterValue != "" && !labels.HasWatchLabel(endpoint, r.WatchFilterValue) {
		return ctrl.Result{}, nil // another manager's
	}
	known := r.memory.of(endpoint)
	if err := r.mark(ctx, endpoint, known); err != nil {
		return ctrl.Result{}, err
	}
	found := endpoint.DeepCopy()
	left, err := r.leftOn(ctx, endpoint)
	if err != nil {
		return ctrl.Result{}, err
	}
	if left.nothing() {
		return ctrl.Result{}, r.letGo(ctx, endpoint)
	}
	outcome, err := r.connect(ctx, endpoint, known)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.checkPrivileges(ctx, endpoint, known, outcome); err != nil {
		return ctrl.Result{}, err
	}
	news, err := r.lookForOrphans(ctx, endpoint, known, outcome)
	if err != nil {
		return ctrl.Result{}, err
	}
	outcome = left.over(outcome)
	flow.Record(endpoint, ingotv1.PlatformEndpointReadyCondition, outcome)
	endpoint.Status.ObservedGeneration = endpoint.Generation
	if err := r.write(ctx, endpoint, found); err != nil {
		known.unsweep() // what was found is not on record
		return ctrl.Result{}, err
	}
	r.tell(endpoint, news)
	r.tellPrivileges(endpoint, found)
	result, err := outcome.Result()
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: sooner(result.RequeueAfter, known.next(r.now()))}, nil
}

// mark puts the finalizer and the management cluster id on record before anything is made on the endpoint. The optimistic
// lock makes sure that of two managers only one chooses.
func (r *Reconciler) mark(ctx context.Context, endpoint *ingotv1.PlatformEndpoint, known *notes) error {
	before := endpoint.DeepCopy()
	if endpoint.DeletionTimestamp.IsZero() {
		controllerutil.AddFinalizer(endpoint, ingotv1.PlatformEndpointFinalizer)
		if endpoint.Spec.ManagementClusterID == "" {
			endpoint.Spec.ManagementClusterID = uuid.NewString()
			allowCollection(endpoint)
		}
	}
	moved := known.movedAway()
	if moved {
		forbidCollection(endpoint)
	}
	if !equality.Semantic.DeepEqual(before, endpoint) {
		if err := r.Client.Patch(ctx, endpoint, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return err
		}
	}
	if moved {
		known.moveRecorded()
	}
	return nil
}

// write writes the status if it says anything new.
func (r *Reconciler) write(ctx context.Context, endpoint, found *ingotv1.PlatformEndpoint) error {
	if equality.Semantic.DeepEqual(found.Status, endpoint.Status) {
		return nil
	}
	return r.Client.Status().Patch(ctx, endpoint, client.MergeFromWithOptions(found, client.MergeFromWithOptimisticLock{}))
}

// forget drops everything about an endpoint that is gone.
func (r *Reconciler) forget(name string) {
	r.Sessions.Forget(name)
	r.memory.forget(name)
	if r.Report != nil {
		r.Report(name, 0)
	}
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

// sooner is the shorter of two waits; 0 is no wait.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
