// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package platformendpoint reconciles PlatformEndpoint: it gives the endpoint its management cluster id, keeps its
// session open, and reports whether it answers. It never looks at machines or images.
package platformendpoint

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

const (
	// checkEvery is the safety net for an endpoint that answers; a lost session is reported by an event.
	checkEvery = 5 * time.Minute
	// retryEvery is how often an endpoint that does not answer is asked again.
	retryEvery = 10 * time.Second
	// checkTimeout bounds one check.
	checkTimeout = 20 * time.Second
)

// Reconciler reconciles PlatformEndpoint.
type Reconciler struct {
	Client           client.Client
	Sessions         *session.Registry
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=platformendpoints/status,verbs=get;update;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&ingotv1.PlatformEndpoint{}).
		WatchesRawSource(r.sessionEvents()).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), mgr.GetLogger(), r.WatchFilterValue)).
		Complete(r)
}

// Reconcile opens the session and reports on it.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	endpoint := &ingotv1.PlatformEndpoint{}
	if err := r.Client.Get(ctx, req.NamespacedName, endpoint); err != nil {
		if apierrors.IsNotFound(err) {
			r.Sessions.Forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !endpoint.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if err := r.ensureID(ctx, endpoint); err != nil {
		return ctrl.Result{}, err
	}
	helper, err := patch.NewHelper(endpoint, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	outcome := r.check(ctx, endpoint)
	flow.Record(endpoint, ingotv1.PlatformEndpointReadyCondition, outcome)
	endpoint.Status.ObservedGeneration = endpoint.Generation
	if err := helper.Patch(ctx, endpoint); err != nil {
		return ctrl.Result{}, err
	}
	if outcome.Done() {
		return ctrl.Result{RequeueAfter: checkEvery}, nil
	}
	return outcome.Result()
}

// ensureID chooses the management cluster id before anything is made on the endpoint. The optimistic lock makes sure
// that of two managers only one chooses.
func (r *Reconciler) ensureID(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) error {
	if endpoint.Spec.ManagementClusterID != "" {
		return nil
	}
	before := client.MergeFromWithOptions(endpoint.DeepCopy(), client.MergeFromWithOptimisticLock{})
	endpoint.Spec.ManagementClusterID = uuid.NewString()
	return r.Client.Patch(ctx, endpoint, before)
}

func (r *Reconciler) check(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) flow.Outcome {
	open, err := r.Sessions.Apply(endpoint, nil)
	if err != nil {
		return flow.Stall(ingotv1.PlatformEndpointInvalidReason, err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	version, err := open.Check(ctx)
	switch {
	case err == nil:
		endpoint.Status.Version = version
		return flow.Advance(ingotv1.PlatformEndpointReadyReason, "")
	case errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrInvalid):
		return flow.Wait(ingotv1.PlatformEndpointInvalidReason, err.Error(), checkEvery)
	default:
		return flow.Wait(ingotv1.PlatformEndpointUnreachableReason, err.Error(), retryEvery)
	}
}

// sessionEvents wakes the reconciler when a session was made or lost.
func (r *Reconciler) sessionEvents() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Sessions.Listen(func(endpoint string, event platform.Event) {
			if event.Session {
				queue.Add(reconcile.Request{NamespacedName: client.ObjectKey{Name: endpoint}})
			}
		})
		return nil
	})
}
