// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package imagereplica reconciles ImageReplica: it has the artefact copied to the endpoint's storage, reports progress,
// and removes the copy when the replica is deleted. It decides neither which image a machine uses nor when a replica is
// no longer needed.
package imagereplica

import (
	"context"
	"errors"
	"fmt"
	"time"

	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

const (
	// progressEvery is how often the progress of a copy is reported.
	progressEvery = 2 * time.Second
	// retryEvery is how often a source or an endpoint that failed is tried again.
	retryEvery = 30 * time.Second
	// callTimeout bounds one round of calls to the platform.
	callTimeout = 30 * time.Second
)

// Reconciler reconciles ImageReplica.
type Reconciler struct {
	Client           client.Client
	Sessions         *session.Registry
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas/status;imagereplicas/finalizers,verbs=get;update;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&ingotv1.ImageReplica{}).
		WatchesRawSource(r.platformEvents()).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), mgr.GetLogger(), r.WatchFilterValue)).
		Complete(r)
}

// Reconcile takes the copy one step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	replica := &ingotv1.ImageReplica{}
	if err := r.Client.Get(ctx, req.NamespacedName, replica); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, replica, ingotv1.ImageReplicaFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	helper, err := patch.NewHelper(replica, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	outcome := r.step(ctx, replica)
	flow.Record(replica, ingotv1.ImageReplicaReadyCondition, outcome)
	replica.Status.ObservedGeneration = replica.Generation
	result, reterr = outcome.Result()
	return result, kerrors.NewAggregate([]error{reterr, client.IgnoreNotFound(helper.Patch(ctx, replica))})
}

// step asks the platform. The time that it may take is its own: what came of it is written in any case.
func (r *Reconciler) step(ctx context.Context, replica *ingotv1.ImageReplica) flow.Outcome {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if !replica.DeletionTimestamp.IsZero() {
		return r.release(ctx, replica)
	}
	return r.ensure(ctx, replica)
}

// ensure has the artefact copied and reports how far the copy is.
func (r *Reconciler) ensure(ctx context.Context, replica *ingotv1.ImageReplica) flow.Outcome {
	p, err := r.Sessions.Platform(replica.Spec.EndpointName)
	if err != nil {
		return failed(err)
	}
	artefact := replica.Spec.Artefact
	seen, err := p.EnsureImage(ctx, platform.ImageRequest{
		ImageIdentity: identity(replica),
		Source:        artefact.Source,
		Format:        string(artefact.Format),
		Compression:   string(artefact.Compression),
		SizeBytes:     artefact.SizeBytes,
	})
	if err != nil {
		return failed(err)
	}
	if seen.Ready {
		replica.Status.Percent = ptr.To[int32](100)
		replica.Status.ExternalID = seen.ExternalID
		return flow.Advance(ingotv1.ImageReplicaReadyReason, "")
	}
	replica.Status.Percent = new(int32(seen.BytesDone * 99 / max(artefact.SizeBytes, 1)))
	return flow.Wait(ingotv1.ImageReplicaCopyingReason, fmt.Sprintf("copying %s", artefact.Source), progressEvery)
}

// release removes the copy; the finalizer goes only when nothing is left of it.
func (r *Reconciler) release(ctx context.Context, replica *ingotv1.ImageReplica) flow.Outcome {
	p, err := r.Sessions.Platform(replica.Spec.EndpointName)
	if err == nil {
		err = p.ReleaseImage(ctx, identity(replica))
	}
	if errors.Is(err, platform.ErrInUse) {
		return flow.Wait(ingotv1.ImageReplicaInUseReason, "disks of machines depend on the copy; it goes with the last of them", retryEvery)
	}
	if err != nil {
		return failed(err)
	}
	controllerutil.RemoveFinalizer(replica, ingotv1.ImageReplicaFinalizer)
	return flow.Advance(ingotv1.ImageReplicaReadyReason, "")
}

// failed translates the platform's errors. All are tried again: a source or a pool can be repaired without a change here.
func failed(err error) flow.Outcome {
	reason := ingotv1.ImageReplicaEndpointUnavailableReason
	switch {
	case errors.Is(err, platform.ErrDigestMismatch):
		reason = ingotv1.ImageReplicaDigestMismatchReason
	case errors.Is(err, platform.ErrSource):
		reason = ingotv1.ImageReplicaSourceFailedReason
	case errors.Is(err, platform.ErrInvalid), errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrCapacity):
		reason = ingotv1.ImageReplicaRefusedReason
	}
	return flow.Wait(reason, err.Error(), retryEvery)
}

func identity(replica *ingotv1.ImageReplica) platform.ImageIdentity {
	return platform.ImageIdentity{SHA256: replica.Spec.Artefact.SHA256, Storage: replica.Spec.Storage}
}

// platformEvents wakes replicas when a copy ended, or when a session came back.
func (r *Reconciler) platformEvents() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Sessions.Listen(func(endpoint string, event platform.Event) {
			if event.ImageSHA256 == "" && !event.Session {
				return
			}
			replicas := &ingotv1.ImageReplicaList{}
			if err := r.Client.List(ctx, replicas); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "cannot list ImageReplicas for an event; the next sweep will see it", "endpoint", endpoint)
				return
			}
			for i := range replicas.Items {
				replica := &replicas.Items[i]
				if replica.Spec.EndpointName == endpoint && (event.Session || replica.Spec.Artefact.SHA256 == event.ImageSHA256) {
					queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(replica)})
				}
			}
		})
		return nil
	})
}
