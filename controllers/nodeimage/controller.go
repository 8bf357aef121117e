// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nodeimage reconciles NodeImage: it reports whether machines may be started from the image. It never fetches
// an artefact and never touches a machine.
package nodeimage

import (
	"context"
	"time"

	"github.com/blang/semver/v4"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/image"
)

// Reconciler reconciles NodeImage.
type Reconciler struct {
	Client           client.Client
	Clock            clock.PassiveClock
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages,verbs=get;list;watch
// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages/status,verbs=get;update;patch

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&ingotv1.NodeImage{}).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), mgr.GetLogger(), r.WatchFilterValue)).
		Complete(r)
}

// Reconcile reports whether the image is usable, and comes back when it expires.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	node := &ingotv1.NodeImage{}
	if err := r.Client.Get(ctx, req.NamespacedName, node); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !node.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	helper, err := patch.NewHelper(node, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	flow.Record(node, ingotv1.NodeImageUsableCondition, judge(node, now))
	node.Status.ObservedGeneration = node.Generation
	if err := helper.Patch(ctx, node); err != nil {
		return ctrl.Result{}, err
	}
	if expires := node.Spec.Lifecycle.ExpiresAt.Time; expires.After(now) {
		return ctrl.Result{RequeueAfter: expires.Sub(now)}, nil
	}
	return ctrl.Result{}, nil
}

// judge says whether machines may be started from the image.
func judge(node *ingotv1.NodeImage, now time.Time) flow.Outcome {
	if refusal := image.Usable(node, now); refusal != nil {
		reason := ingotv1.NodeImageRevokedReason
		if refusal.Reason == infrav1.ImageExpiredReason {
			reason = ingotv1.NodeImageExpiredReason
		}
		return flow.Stall(reason, refusal.Message)
	}
	if expression := node.Spec.Kubernetes.Range; expression != "" {
		if _, err := semver.ParseRange(expression); err != nil {
			return flow.Stall(ingotv1.NodeImageInvalidReason,
				"spec.kubernetes.range cannot be read ("+err.Error()+"): write comparisons such as \">=1.35.0 <1.37.0\"")
		}
	}
	if node.Spec.Lifecycle.State == ingotv1.LifecycleDeprecated {
		return flow.Advance(ingotv1.NodeImageDeprecatedReason, node.Spec.Lifecycle.Reason)
	}
	return flow.Advance(ingotv1.NodeImageUsableReason, "")
}
