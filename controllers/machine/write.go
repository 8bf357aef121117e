// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// A pass writes at most twice: once what must be on record before anything is made, and once what there is to tell. A
// thousand machines pay each write a thousand times.

// writeDown puts the finalizer, the identity, the image and the place of a machine on record, in one write. The optimistic
// lock makes sure that of two managers, or of a manager and its own stale cache, only one chooses.
func (r *Reconciler) writeDown(ctx context.Context, w *world) error {
	controllerutil.AddFinalizer(w.infra, infrav1.IngotMachineFinalizer)
	if w.infra.Spec.ProviderID == "" {
		w.infra.Spec.ProviderID = providerIDPrefix + uuid.NewString()
	}
	if equality.Semantic.DeepEqual(w.found.Spec, w.infra.Spec) && controllerutil.ContainsFinalizer(w.found, infrav1.IngotMachineFinalizer) {
		return nil
	}
	if err := r.patchRecord(ctx, w); err != nil {
		r.unplace(w.infra.UID)
		return err
	}
	return nil
}

// patchRecord writes metadata and spec, and leaves the status of this pass as it is.
func (r *Reconciler) patchRecord(ctx context.Context, w *world) error {
	record := w.infra.DeepCopy()
	if err := r.Client.Patch(ctx, record, client.MergeFromWithOptions(w.found, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	r.written.add(w.key(), w.found.ResourceVersion, record.ResourceVersion)
	w.infra.ObjectMeta, w.infra.Spec = record.ObjectMeta, record.Spec
	w.found.ObjectMeta, w.found.Spec = *record.ObjectMeta.DeepCopy(), *record.Spec.DeepCopy()
	return nil
}

// report writes the status if it says anything new.
func (r *Reconciler) report(ctx context.Context, w *world) error {
	if equality.Semantic.DeepEqual(w.found.Status, w.infra.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, w.infra, client.MergeFrom(w.found)); err != nil {
		return err
	}
	r.written.add(w.key(), w.found.ResourceVersion, w.infra.ResourceVersion)
	if r.Meter != nil {
		r.Meter.Reported(w.found, w.infra, w.machine)
	}
	return nil
}
