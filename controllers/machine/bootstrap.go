// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/image"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// bootstrapWait is how soon a Secret is read again that was announced and is not there yet, or holds nothing. Secrets are
// not watched.
const bootstrapWait = 15 * time.Second

var errNoData = errors.New("has no key \"value\": its bootstrap provider must write it")

// published waits until there is bootstrap data for an instance that is still to be made. Whoever runs has it.
func (r *Reconciler) published(_ context.Context, w *world) flow.Outcome {
	switch {
	case w.wasProvisioned() || w.started():
		return flow.Advance(infrav1.BootstrapDataAvailableReason, "")
	case !ptr.Deref(w.cluster.Status.Initialization.InfrastructureProvisioned, false):
		return flow.Wait(infrav1.WaitingForClusterInfrastructureReason, "the Cluster's infrastructure is not provisioned yet", 0)
	case w.machine.Spec.Bootstrap.DataSecretName == nil:
		return flow.Wait(infrav1.WaitingForBootstrapDataReason, "the bootstrap provider has not published the data yet", 0)
	}
	return flow.Advance(infrav1.BootstrapDataAvailableReason, "")
}

// bootstrap reads the bootstrap data of an instance that is to be made now, and checks that the pinned image reads its
// format, as the family that it was rendered for.
func (r *Reconciler) bootstrap(ctx context.Context, w *world) flow.Outcome {
	if w.wasProvisioned() || w.started() {
		return flow.Advance(infrav1.BootstrapDataAvailableReason, "")
	}
	found, err := r.bootstrapData(ctx, w)
	if apierrors.IsNotFound(err) && r.runs(ctx, w) {
		return flow.Advance(infrav1.BootstrapDataAvailableReason, "") // it has the data already
	}
	if apierrors.IsNotFound(err) || errors.Is(err, errNoData) {
		return flow.Wait(infrav1.WaitingForBootstrapDataReason, err.Error(), bootstrapWait)
	}
	if err != nil {
		return flow.Fail(infrav1.WaitingForBootstrapDataReason, "", err)
	}
	if refusal := cmp.Or(image.AcceptsFormat(w.pinned, found.format), image.AcceptsFamily(w.pinned, found.family)); refusal != nil {
		r.warnOnce(w, infrav1.BootstrapAvailableCondition, refusal.Reason, "CheckBootstrapData", refusal.Message)
		return flow.Stall(refusal.Reason, refusal.Message)
	}
	w.bundle = found
	return flow.Advance(infrav1.BootstrapDataAvailableReason, "")
}

// runs is whether the instance was started already, as far as can be told.
func (r *Reconciler) runs(ctx context.Context, w *world) bool {
	seen, err := r.observe(ctx, w)
	return err == nil && seen.Started
}

// bootstrapData reads the Secret that Machine.spec.bootstrap.dataSecretName names, unless what it holds is in hand. The error
// never holds its content.
func (r *Reconciler) bootstrapData(ctx context.Context, w *world) (*bundle, error) {
	if found := r.inHand.of(w); found != nil {
		return found, nil
	}
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: w.machine.Namespace, Name: *w.machine.Spec.Bootstrap.DataSecretName}
	if err := r.SecretReader.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("bootstrap data Secret %s: %w", key, err)
	}
	found := &bundle{
		data: secret.Data["value"], format: ingotv1.BootstrapFormat(secret.Data["format"]), family: ingotv1.OSFamily(secret.Data["os-family"]),
	}
	if len(found.data) == 0 {
		return nil, fmt.Errorf("bootstrap data Secret %s %w", key, errNoData)
	}
	if found.format == "" {
		found.format = ingotv1.BootstrapFormatCloudConfig // what the Cluster API contract says of a missing key
	}
	return found, nil
}

// bootstrapRequest is the data with the channels that the image's family reads.
func (r *Reconciler) bootstrapRequest(w *world) (platform.Bootstrap, error) {
	family, known := r.Families[w.pinned.Spec.OS.Family]
	if !known {
		return platform.Bootstrap{}, fmt.Errorf("%w: this version cannot deliver bootstrap data to images of family %s",
			platform.ErrUnsupported, w.pinned.Spec.OS.Family)
	}
	return platform.Bootstrap{Data: w.bundle.data, Channels: family.Channels(w.bundle.format)}, nil
}
