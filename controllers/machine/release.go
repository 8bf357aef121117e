// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// release removes the instance. The finalizer goes only after absence was observed twice by a session that can see, or
// when nothing can ever have been made: image and place are on record before the first call to a platform.
func (r *Reconciler) release(ctx context.Context, w *world) (flow.Outcome, error) {
	r.budget().leave(w.key())
	if !r.doors.enter(w.endpointName()) {
		return w.crowded(), nil
	}
	defer r.doors.leave(w.endpointName())
	outcome := r.releaseInstance(ctx, w)
	if outcome.Reason() != infrav1.ProvingAbsenceReason {
		r.absent.forget(w.infra.UID)
	}
	if outcome.Done() {
		return outcome, r.letGo(ctx, w)
	}
	recordDeleting(w.infra, outcome)
	return outcome, nil
}

// letGo gives the addresses back and takes the finalizer away, and with it all that the manager remembers of the machine.
func (r *Reconciler) letGo(ctx context.Context, w *world) error {
	if err := r.releaseAddresses(ctx, w); err != nil {
		return err
	}
	w.gone = true
	r.unplace(w.infra.UID)
	r.absent.forget(w.infra.UID)
	r.apart.forget(w.infra.UID)
	if !controllerutil.RemoveFinalizer(w.infra, infrav1.IngotMachineFinalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.patchRecord(ctx, w))
}

func (r *Reconciler) releaseInstance(ctx context.Context, w *world) flow.Outcome {
	r.inHand.drop(w.key())
	if w.endpointName() == "" || w.infra.Spec.PinnedImage.Name == "" {
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
	if wait := r.absent.early(w.infra.UID, r.Clock.Now()); wait > 0 {
		return w.proving(wait) // whatever woke us: this would be a look more, and none that proves anything
	}
	forceAfter := w.forceAfter()
	seen, err := p.Release(ctx, platform.ReleaseRequest{Identity: w.identity(), ForceAfter: forceAfter})
	switch {
	case errors.Is(err, platform.ErrUnreachable):
		return flow.Wait(unreachable(err), err.Error(), unreachableWait)
	case errors.Is(err, platform.ErrForeign):
		r.warnOnce(w, infrav1.DeletingCondition, infrav1.InstanceForeignReason, "ReleaseInstance", err.Error())
		return flow.Wait(infrav1.InstanceForeignReason, err.Error(), unreachableWait)
	case err != nil:
		return flow.Fail(infrav1.ReleasingReason, "", err)
	case seen.Existence != platform.Absent && seen.Power == platform.PowerOn && r.Clock.Now().Before(forceAfter):
		return flow.Wait(infrav1.ShuttingDownReason, fmt.Sprintf("the guest was asked to shut down; it is switched off after %s", forceAfter.UTC().Format(time.RFC3339)),
			min(shutdownLook, forceAfter.Sub(r.Clock.Now())))
	case seen.Existence != platform.Absent:
		w.silent = seen.UntilEvent && w.saysReleasing() && r.Clock.Since(w.infra.DeletionTimestamp.Time) < patience
		return flow.Wait(infrav1.ReleasingReason, seen.Detail, shortWait)
	}
	if wait := r.absent.prove(w.infra.UID, r.Clock.Now()); wait > 0 {
		return w.proving(wait)
	}
	r.Recorder.Eventf(w.infra, nil, corev1.EventTypeNormal, "InstanceReleased", "ReleaseInstance", "nothing of %s is left on %s", w.infra.Spec.ProviderID, w.endpointName())
	return flow.Advance(infrav1.ProvingAbsenceReason, "")
}

// proving waits for the second look.
func (w *world) proving(wait time.Duration) flow.Outcome {
	w.silent = true
	return flow.Wait(infrav1.ProvingAbsenceReason, "the instance is gone; looking a second time", wait)
}

// saysReleasing is whether it is on record that the instance is being removed. Of the steps of that only the first is worth a write:
// the others follow within seconds, or are told when it takes long.
func (w *world) saysReleasing() bool {
	said := conditions.Get(w.found, infrav1.DeletingCondition)
	return said != nil && said.Status == metav1.ConditionTrue && said.Reason == infrav1.ReleasingReason
}

// shutdownLook is how often a guest that shuts down is looked at; its end is told by an event.
const shutdownLook = 10 * time.Second

// forceAfter is when a running guest is switched off. It counts from the deletion, so that a restart of the manager does
// not prolong it; the zero time means at once.
func (w *world) forceAfter() time.Time {
	grace := ptr.Deref(w.infra.Spec.PowerOff.GracePeriodSeconds, 0)
	if grace <= 0 {
		return time.Time{}
	}
	return w.infra.DeletionTimestamp.Add(time.Duration(grace) * time.Second)
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
