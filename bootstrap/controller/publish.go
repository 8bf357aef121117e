// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Keys of the Secret with the bootstrap data. The first is Cluster API's contract, the second its custom.
const (
	valueKey  = "value"
	formatKey = "format"
	// familyKey names the OS family that value is rendered for. Two families may read one format, and not each other's.
	familyKey = "os-family"
	// tokenKey holds the token that is rendered into value, so that the same one can be lent again.
	tokenKey = "bootstrap-token"
)

const (
	// secretRetry is how soon Secrets are looked at again that nothing watches.
	secretRetry = 10 * time.Second
	// identityRetry is how soon an infrastructure machine is looked at again, which gets its identity in its first pass, and a
	// NodeImage, which another cache may show earlier.
	identityRetry = 2 * time.Second
)

// publish goes all the way from nothing to data that Cluster API knows of. It may be repeated from any point.
func (r *Reconciler) publish(ctx context.Context, w *world) flow.Outcome {
	outcome := waitsFor(w)
	if outcome.Done() {
		var in osfamily.Input
		outcome = flow.Run(ctx, w.config,
			flow.Phase{Condition: bootstrapv1.CertificatesAvailableCondition, Do: func(ctx context.Context) flow.Outcome { return r.certificates(ctx, w, &in) }},
			flow.Phase{Condition: bootstrapv1.DataSecretAvailableCondition, Do: func(ctx context.Context) flow.Outcome { return r.dataSecret(ctx, w, &in) }},
		)
	} else {
		flow.Record(w.config, bootstrapv1.DataSecretAvailableCondition, outcome)
	}
	if outcome.Done() {
		flow.Record(w.config, bootstrapv1.ReadyCondition, flow.Advance(bootstrapv1.ReadyReason, ""))
	} else {
		flow.Record(w.config, bootstrapv1.ReadyCondition, outcome)
	}
	w.config.Status.ObservedGeneration = w.config.Generation
	return outcome
}

// waitsFor says what the Cluster lacks. Each wait ends with an event of the Cluster.
func waitsFor(w *world) flow.Outcome {
	name := w.cluster.Name
	switch {
	case w.leaving():
		return flow.Stall(bootstrapv1.DeletingReason, "the Cluster or the Machine is being deleted, so the machine gets no bootstrap data any more")
	case !ptr.Deref(w.cluster.Status.Initialization.InfrastructureProvisioned, false):
		return flow.Wait(bootstrapv1.WaitingForClusterInfrastructureReason, fmt.Sprintf("the infrastructure of Cluster %s is not provisioned yet", name), 0)
	case !w.cluster.Spec.ControlPlaneEndpoint.IsValid():
		return flow.Wait(bootstrapv1.WaitingForControlPlaneEndpointReason, fmt.Sprintf("Cluster %s has no control plane endpoint yet", name), 0)
	case w.role() != bootstrapv1.RoleInit && !w.initialized():
		return flow.Wait(bootstrapv1.WaitingForControlPlaneReason, fmt.Sprintf("the control plane of Cluster %s is not initialized yet", name), 0)
	default:
		return flow.Advance("", "")
	}
}

// dataSecret makes sure that the Secret is there and that its token opens the door, and then tells Cluster API.
func (r *Reconciler) dataSecret(ctx context.Context, w *world, in *osfamily.Input) flow.Outcome {
	describe(w, in)
	if w.data == nil {
		if outcome := r.createData(ctx, w, in); !outcome.Done() {
			return outcome
		}
	}
	if !metav1.IsControlledBy(w.data, w.config) {
		return flow.Wait(bootstrapv1.DataSecretForeignReason,
			fmt.Sprintf("Secret %s exists and does not belong to this IngotConfig: delete it, or give the Machine another name", w.data.Name), secretRetry)
	}
	if !w.joined() {
		if outcome := r.declare(ctx, w, in); !outcome.Done() {
			return outcome
		}
		if outcome := r.lend(ctx, w); !outcome.Done() {
			return outcome
		}
	}
	w.config.Status.DataSecretName = w.data.Name
	w.config.Status.Initialization.DataSecretCreated = new(true)
	return flow.Advance(bootstrapv1.DataSecretAvailableReason, "")
}

// createData renders the data and stores it together with its token, so that one write decides both.
func (r *Reconciler) createData(ctx context.Context, w *world, in *osfamily.Input) flow.Outcome {
	family, outcome := r.family(w.config.Spec)
	if !outcome.Done() {
		return outcome
	}
	infra, outcome := r.infrastructure(ctx, w, family)
	if !outcome.Done() {
		return outcome
	}
	in.Machine.ProviderID, in.Machine.NoTPM, in.Image = infra.providerID, infra.noTPM, infra.image
	if in.Restore, outcome = r.restore(ctx, w); !outcome.Done() {
		return outcome
	}
	if in.Secrets, outcome = r.secrets(ctx, w); !outcome.Done() {
		return outcome
	}
	if w.joinsByToken() {
		token, err := newToken(w.config.UID)
		if err != nil {
			return flow.Fail(clusterv1.InternalErrorReason, "making a token failed", err)
		}
		in.Join.Token = token
	}

	bundle, report := family.Render(*in)
	if err := report.Err(); err != nil {
		return flow.Stall(bootstrapv1.RenderFailedReason, err.Error())
	}
	w.data = dataSecretFor(w, bundle, family.Name(), in.Join.Token)
	switch err := r.Client.Create(ctx, w.data); {
	case apierrors.IsAlreadyExists(err):
		return flow.Fail(clusterv1.InternalErrorReason, "somebody else made the Secret at the same time; trying again", err)
	case err != nil:
		return flow.Fail(clusterv1.InternalErrorReason, "creating the Secret failed; trying again", err)
	}
	ctrl.LoggerFrom(ctx).Info("Created bootstrap data", "role", in.Role, "family", family.Name(), "bytes", len(bundle.Data))
	return flow.Advance("", "")
}

// dataSecretFor is the Secret with a bundle, and with the token that is in it where there is one.
func dataSecretFor(w *world, bundle osfamily.Bundle, family ingotv1.OSFamily, token string) *corev1.Secret {
	data := map[string][]byte{
		valueKey:  bundle.Data,
		formatKey: []byte(bundle.Format),
		familyKey: []byte(family),
	}
	if token != "" {
		data[tokenKey] = []byte(token)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       w.config.Namespace,
			Name:            w.config.Name,
			Labels:          map[string]string{clusterv1.ClusterNameLabel: w.cluster.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(w.config, bootstrapv1.GroupVersion.WithKind("IngotConfig"))},
		},
		Type: clusterv1.ClusterSecretType,
		Data: data,
	}
}

// describe fills in what Cluster, Machine and config say.
func describe(w *world, in *osfamily.Input) {
	network := w.cluster.Spec.ClusterNetwork
	in.Role = w.role()
	in.Config = *w.config.Spec.DeepCopy()
	in.Machine.Name = w.machine.Name
	in.Cluster = osfamily.Cluster{
		Name:              w.cluster.Name,
		KubernetesVersion: w.machine.Spec.Version,
		EndpointHost:      w.cluster.Spec.ControlPlaneEndpoint.Host,
		EndpointPort:      w.cluster.Spec.ControlPlaneEndpoint.Port,
		PodCIDRs:          network.Pods.CIDRBlocks,
		ServiceCIDRs:      network.Services.CIDRBlocks,
		ServiceDomain:     network.ServiceDomain,
	}
}

// family finds the renderer for the operating system block of the spec.
func (r *Reconciler) family(spec bootstrapv1.IngotConfigSpec) (osfamily.Family, flow.Outcome) {
	name, block := familyOf(spec)
	if family, ok := r.Families[name]; ok {
		return family, flow.Advance("", "")
	}
	return nil, flow.Stall(bootstrapv1.RenderFailedReason, fmt.Sprintf(
		"%s is not known to this version of Ingot, which renders %v", block, slices.Sorted(maps.Keys(r.Families))))
}

// familyOf names the family of the operating system block, and the block as a person would look for it. An unknown block
// has no family.
func familyOf(spec bootstrapv1.IngotConfigSpec) (name ingotv1.OSFamily, block string) {
	switch {
	case spec.CloudInit != nil:
		return ingotv1.OSFamilyCloudInit, "spec.cloudInit"
	case spec.Talos != nil:
		return ingotv1.OSFamilyTalos, "spec.talos"
	case spec.Bottlerocket != nil:
		return ingotv1.OSFamilyBottlerocket, "spec.bottlerocket"
	case spec.Kairos != bootstrapv1.KairosConfig{}:
		return ingotv1.OSFamilyKairos, "spec.kairos"
	}
	switch spec.Ignition.Variant {
	case "", bootstrapv1.IgnitionVariantGeneric:
		name = ingotv1.OSFamilyGeneric
	case bootstrapv1.IgnitionVariantFlatcar:
		name = ingotv1.OSFamilyFlatcar
	case bootstrapv1.IgnitionVariantFedoraCoreOS:
		name = ingotv1.OSFamilyFedoraCoreOS
	}
	return name, fmt.Sprintf("spec.ignition.variant: %q", spec.Ignition.Variant)
}
