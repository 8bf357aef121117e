// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// release removes the instance. The finalizer goes only after absence was observed twice by a session that can see, or
// when nothing can ever have been made: the image is pinned before the first call to a platform.
func (r *Reconciler) release(ctx context.Context, w *world) flow.Outcome {
	outcome := r.releaseInstance(ctx, w)
	if outcome.Done() {
		controllerutil.RemoveFinalizer(w.infra, infrav1.IngotMachineFinalizer)
		return outcome
	}
	recordDeleting(w.infra, outcome)
	return outcome
}

func (r *Reconciler) releaseInstance(ctx context.Context, w *world) flow.Outcome {
	if w.infra.Spec.PinnedImage.Name == "" {
		return flow.Advance(infrav1.ReleasingReason, "")
	}
	if w.endpoint == nil {
		return flow.Stall(infrav1.EndpointNotFoundReason, fmt.Sprintf(
			"PlatformEndpoint %s does not exist, so nobody can tell what is left of %s: create it again, and the deletion goes on", w.endpointName(), w.infra.Spec.ProviderID))
	}
	if w.endpoint.Spec.ManagementClusterID == "" {
		return flow.Wait(infrav1.EndpointUnavailableReason, fmt.Sprintf("PlatformEndpoint %s is not ready yet", w.endpointName()), shortWait)
	}
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return flow.Wait(infrav1.EndpointUnavailableReason, err.Error(), unreachableWait)
	}
	seen, err := p.Release(ctx, platform.ReleaseRequest{Identity: w.identity()})
	switch {
	case errors.Is(err, platform.ErrUnreachable):
		return flow.Wait(infrav1.EndpointUnavailableReason, err.Error(), unreachableWait)
	case errors.Is(err, platform.ErrForeign):
		r.warnOnce(w, infrav1.DeletingCondition, infrav1.InstanceForeignReason, "ReleaseInstance", err.Error())
		return flow.Wait(infrav1.InstanceForeignReason, err.Error(), unreachableWait)
	case err != nil:
		return flow.Fail(infrav1.ReleasingReason, "", err)
	case seen.Existence != platform.Absent:
		return flow.Wait(infrav1.ReleasingReason, seen.Detail, shortWait)
	case !provingAbsence(w.infra):
		return flow.Wait(infrav1.ProvingAbsenceReason, "the instance is gone; looking a second time", shortWait)
	default:
		r.Recorder.Eventf(w.infra, nil, corev1.EventTypeNormal, "InstanceReleased", "ReleaseInstance", "nothing of %s is left on %s", w.infra.Spec.ProviderID, w.endpointName())
		return flow.Advance(infrav1.ProvingAbsenceReason, "")
	}
}

// provingAbsence is whether an earlier pass already saw the instance absent.
func provingAbsence(infra *infrav1.IngotMachine) bool {
	condition := conditions.Get(infra, infrav1.DeletingCondition)
	return condition != nil && condition.Reason == infrav1.ProvingAbsenceReason
}

// recordDeleting records an outcome in the Deleting condition, which is True while deletion is under way.
func recordDeleting(infra *infrav1.IngotMachine, outcome flow.Outcome) {
	conditions.Set(infra, metav1.Condition{
		Type:    infrav1.DeletingCondition,
		Status:  metav1.ConditionTrue,
		Reason:  outcome.Reason(),
		Message: outcome.Message(),
	})
}
