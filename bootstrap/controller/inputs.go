// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/cert"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/external"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// certificates reads what the role needs of the cluster's authorities. A worker gets no private key: it recognises the
// cluster by the pin of its authority.
func (r *Reconciler) certificates(ctx context.Context, w *world, in *osfamily.Input) flow.Outcome {
	purposes := []secret.Purpose{secret.ClusterCA}
	if w.role() != bootstrapv1.RoleWorker {
		purposes = append(purposes, secret.EtcdCA, secret.FrontProxyCA, secret.ServiceAccount)
	}
	pairs := map[secret.Purpose]osfamily.KeyPair{}
	var missing []string
	for _, purpose := range purposes {
		found, err := r.getSecret(ctx, client.ObjectKey{Namespace: w.cluster.Namespace, Name: secret.Name(w.cluster.Name, purpose)})
		if err != nil {
			return flow.Fail(clusterv1.InternalErrorReason, "reading the cluster's certificates failed; trying again", err)
		}
		if found == nil {
			missing = append(missing, secret.Name(w.cluster.Name, purpose))
			continue
		}
		pairs[purpose] = keyPair(found)
	}
	if len(missing) > 0 {
		return flow.Wait(bootstrapv1.WaitingForCertificatesReason, fmt.Sprintf(
			"Secrets with the cluster's certificates do not exist yet: %s; the control plane provider makes them", strings.Join(missing, ", ")), secretRetry)
	}
	if w.role() != bootstrapv1.RoleInit {
		pins, err := pinsOf(pairs[secret.ClusterCA].Cert)
		if err != nil {
			return flow.Wait(bootstrapv1.WaitingForCertificatesReason, fmt.Sprintf(
				"Secret %s holds no certificate in its key %s: replace it", secret.Name(w.cluster.Name, secret.ClusterCA), secret.TLSCrtDataName), secretRetry)
		}
		in.Join.CACertHashes, in.Join.CACert = pins, pairs[secret.ClusterCA].Cert
	}
	if w.config.Spec.Talos != nil {
		if outcome := r.talos(ctx, w, in); !outcome.Done() {
			return outcome
		}
	}
	if w.role() != bootstrapv1.RoleWorker {
		in.Certificates = &osfamily.Certificates{
			ClusterCA:      pairs[secret.ClusterCA],
			EtcdCA:         pairs[secret.EtcdCA],
			FrontProxyCA:   pairs[secret.FrontProxyCA],
			ServiceAccount: pairs[secret.ServiceAccount],
		}
	}
	return flow.Advance(bootstrapv1.CertificatesAvailableReason, "")
}

// talos reads what a cluster of Talos has beside its authorities. A worker gets no private key of it.
func (r *Reconciler) talos(ctx context.Context, w *world, in *osfamily.Input) flow.Outcome {
	name := secret.Name(w.cluster.Name, talossecrets.Purpose)
	found, err := r.getSecret(ctx, client.ObjectKey{Namespace: w.cluster.Namespace, Name: name})
	if err != nil {
		return flow.Fail(clusterv1.InternalErrorReason, fmt.Sprintf("reading Secret %s failed; trying again", name), err)
	}
	if found == nil {
		return flow.Wait(bootstrapv1.WaitingForCertificatesReason, fmt.Sprintf(
			"Secret %s does not exist yet: the provider of a control plane of Talos makes it, and machines of Talos join no other", name), secretRetry)
	}
	secrets, err := talossecrets.Read(found.Data, r.Clock.Now())
	if err != nil {
		return flow.Wait(bootstrapv1.WaitingForCertificatesReason, fmt.Sprintf("Secret %s cannot be used, %v: replace it", name, err), secretRetry)
	}
	if w.role() == bootstrapv1.RoleWorker {
		secrets = secrets.ForWorker()
	}
	in.Talos = &secrets
	return flow.Advance("", "")
}

func keyPair(s *corev1.Secret) osfamily.KeyPair {
	return osfamily.KeyPair{Cert: s.Data[secret.TLSCrtDataName], Key: s.Data[secret.TLSKeyDataName]}
}

// pinsOf returns the pins by which kubeadm recognises an authority: hashes of the public keys.
func pinsOf(pem []byte) ([]string, error) {
	certs, err := cert.ParseCertsPEM(pem)
	if err != nil {
		return nil, err
	}
	var pins []string
	for _, c := range certs {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		pins = append(pins, "sha256:"+hex.EncodeToString(sum[:]))
	}
	return pins, nil
}

// restore reads what the first control plane node fetches. Other roles cannot restore; the family refuses them, so
// nothing is waited for.
func (r *Reconciler) restore(ctx context.Context, w *world) (*osfamily.Restore, flow.Outcome) {
	name := w.config.Spec.RestoreFrom.Name
	if name == "" || w.role() != bootstrapv1.RoleInit {
		return nil, flow.Advance("", "")
	}
	wait := func(format string, args ...any) (*osfamily.Restore, flow.Outcome) {
		return nil, flow.Wait(bootstrapv1.WaitingForRestoreReason, fmt.Sprintf(format, args...), secretRetry)
	}
	found, err := r.getSecret(ctx, client.ObjectKey{Namespace: w.config.Namespace, Name: name})
	if err != nil {
		return nil, flow.Fail(clusterv1.InternalErrorReason, fmt.Sprintf("reading Secret %s, which spec.restoreFrom names, failed; trying again", name), err)
	}
	if found == nil {
		return wait("Secret %s, which spec.restoreFrom names, does not exist yet: the control plane provider makes it; "+
			"if nobody will, delete the Machine", name)
	}
	data, ok := found.Data[osfamily.RestoreKey]
	if !ok {
		return wait("Secret %s, which spec.restoreFrom names, has no key %s: replace the Secret", name, osfamily.RestoreKey)
	}
	restore, err := osfamily.DecodeRestore(data)
	if err != nil {
		return wait("key %s of Secret %s, which spec.restoreFrom names, cannot be used: %v; replace the Secret", osfamily.RestoreKey, name, err)
	}
	return &restore, flow.Advance("", "")
}

// secrets reads the values that the config refers to. Nothing is rendered with a part of them. What is missing is waited for
// without looking again: an event of the Secret wakes the reconciler.
func (r *Reconciler) secrets(ctx context.Context, w *world) (osfamily.Secrets, flow.Outcome) {
	read := osfamily.Secrets{}
	var missing []string
	for _, reference := range settings.References(w.config.Spec) {
		name, key := reference.Secret.Name, reference.Secret.Key
		if _, known := read[name]; !known {
			found, err := r.getSecret(ctx, client.ObjectKey{Namespace: w.config.Namespace, Name: name})
			if err != nil {
				return nil, flow.Fail(clusterv1.InternalErrorReason, fmt.Sprintf("reading Secret %s, which %s names, failed; trying again", name, reference.Path), err)
			}
			if found == nil {
				missing = append(missing, fmt.Sprintf("%s needs key %s of Secret %s, which does not exist: create it", reference.Path, key, name))
				continue
			}
			read[name] = found.Data
		}
		if _, ok := read.Value(reference.Secret); !ok {
			missing = append(missing, fmt.Sprintf("%s needs key %s of Secret %s, which has no such key: add it", reference.Path, key, name))
		}
	}
	if len(missing) > 0 {
		return nil, flow.Wait(bootstrapv1.WaitingForSecretReason, strings.Join(missing, "; "), 0)
	}
	return read, flow.Advance("", "")
}

// infrastructure is what the infrastructure machine tells.
type infrastructure struct {
	providerID string
	// noTPM is whether the machine is known to have no TPM.
	noTPM bool
	image osfamily.Image
}

// infrastructure reads the machine's identity, whether it has a TPM, and for families that write by release what it is cast
// from, where Ingot provides the infrastructure: all of it is chosen before bootstrap data are asked for. Other providers tell
// the Node themselves, or choose it at a time that is no business of ours; for them the answer is empty, always, so that what
// is rendered does not depend on who was faster.
func (r *Reconciler) infrastructure(ctx context.Context, w *world, family osfamily.Family) (infrastructure, flow.Outcome) {
	var found infrastructure
	ref := w.machine.Spec.InfrastructureRef
	if ref.APIGroup != infrav1.GroupVersion.Group || ref.Kind != "IngotMachine" {
		return found, flow.Advance("", "")
	}
	waiting := flow.Wait(bootstrapv1.WaitingForProviderIDReason, fmt.Sprintf("IngotMachine %s has no provider ID yet", ref.Name), identityRetry)
	machine, err := external.GetObjectFromContractVersionedRef(ctx, r.Client, ref, w.machine.Namespace)
	if apierrors.IsNotFound(err) {
		return found, waiting
	}
	if err != nil {
		return found, flow.Fail(clusterv1.InternalErrorReason, fmt.Sprintf("reading IngotMachine %s failed; trying again", ref.Name), err)
	}
	if found.providerID, _, err = unstructured.NestedString(machine.Object, "spec", "providerID"); err != nil || found.providerID == "" {
		return found, waiting
	}
	if spec, ok := machine.Object["spec"].(map[string]any); ok {
		found.noTPM = LacksTPM(spec)
	}
	if _, byRelease := family.(osfamily.Releaser); !byRelease {
		return found, flow.Advance("", "")
	}
	name, _, err := unstructured.NestedString(machine.Object, "spec", "pinnedImage", "name")
	if err != nil || name == "" {
		return found, flow.Wait(bootstrapv1.WaitingForImageReason, fmt.Sprintf("IngotMachine %s has no image yet, whose release decides what is written", ref.Name), identityRetry)
	}
	image := &ingotv1.NodeImage{}
	switch err := r.Client.Get(ctx, client.ObjectKey{Name: name}, image); {
	case apierrors.IsNotFound(err):
		return found, flow.Wait(bootstrapv1.WaitingForImageReason, fmt.Sprintf(
			"NodeImage %s, which IngotMachine %s is pinned to, is not seen; where this lasts, it does not exist: create it again, or delete the Machine", name, ref.Name), identityRetry)
	case err != nil:
		return found, flow.Fail(clusterv1.InternalErrorReason, fmt.Sprintf("reading NodeImage %s failed; trying again", name), err)
	}
	found.image.OSVersion = image.Spec.OS.Version
	return found, flow.Advance("", "")
}

// LacksTPM is whether the spec of an IngotMachine is that of a virtual machine that was not given a TPM. It never gets one
// later.
func LacksTPM(spec map[string]any) bool {
	virtual := false
	for _, platform := range []string{"libvirt", "vsphere"} {
		_, found, err := unstructured.NestedMap(spec, "platform", platform)
		virtual = virtual || found && err == nil
	}
	has, _, err := unstructured.NestedBool(spec, "trustedBoot", "virtualTPM")
	return virtual && err == nil && !has
}
