// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
)

func cluster() client.ObjectKey { return client.ObjectKey{Namespace: "default", Name: "demo"} }

func owner() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "controlplane.cluster.x-k8s.io/v1alpha1", Kind: "IngotControlPlane", Name: "demo-cp", UID: "1"}
}

// made returns a complete set of Secrets, that of Talos included, and the client that holds them.
func made(t *testing.T, algorithm bootstrapv1.KeyAlgorithm, existing ...client.Object) (certificates.Secrets, client.Client) {
	t.Helper()
	c := fake.NewClientBuilder().WithObjects(existing...).Build()
	found, err := certificates.Look(t.Context(), c, cluster(), certificates.PurposesFor(bootstrapv1.IngotConfigSpec{Talos: &bootstrapv1.TalosConfig{}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Create(t.Context(), c, cluster(), owner(), algorithm, time.Now()); err != nil {
		t.Fatal(err)
	}
	if found, err = certificates.Look(t.Context(), c, cluster(), certificates.PurposesFor(bootstrapv1.IngotConfigSpec{Talos: &bootstrapv1.TalosConfig{}})); err != nil {
		t.Fatal(err)
	}
	return found, c
}

func TestWhatIsMadeIsValid(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []bootstrapv1.KeyAlgorithm{"", "RSA-2048", "ECDSA-P256", "ECDSA-P384"} {
		t.Run("algorithm "+string(algorithm), func(t *testing.T) {
			t.Parallel()
			found, c := made(t, algorithm)
			if missing, invalid := found.Missing("demo"), found.Invalid(time.Now()); len(missing)+len(invalid) > 0 {
				t.Fatalf("missing %v, invalid %v", missing, invalid)
			}
			request := certificates.KubeconfigRequest{Cluster: cluster(), Endpoint: "192.0.2.10:6443", Authority: found[secret.ClusterCA], Owner: owner(), Algorithm: algorithm}
			if err := certificates.WriteKubeconfig(t.Context(), c, nil, request); err != nil {
				t.Fatal(err)
			}
			kubeconfig := &corev1.Secret{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "demo-kubeconfig"}, kubeconfig); err != nil {
				t.Fatal(err)
			}
			due := certificates.RenewalDue(kubeconfig, "192.0.2.10:6443", found[secret.ClusterCA])
			if months := time.Until(due).Hours() / 24 / 30; months < 5.9 || months > 6.2 {
				t.Errorf("a kubeconfig made now is due in %.1f months, not 6", months)
			}
		})
	}
}

func TestExistingSecretsAreKept(t *testing.T) {
	t.Parallel()
	own, _ := made(t, "ECDSA-P256")
	supplied := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "demo-etcd"},
		Type:       corev1.SecretTypeTLS,
		Data:       own[secret.EtcdCA].Data,
	}
	found, _ := made(t, "ECDSA-P256", supplied)
	if !bytes.Equal(found[secret.EtcdCA].Data[secret.TLSCrtDataName], supplied.Data[secret.TLSCrtDataName]) || found[secret.EtcdCA].Type != corev1.SecretTypeTLS {
		t.Error("a Secret that the user supplied was changed")
	}
	if made := found[secret.ClusterCA]; made.Type != clusterv1.ClusterSecretType || len(made.OwnerReferences) != 1 {
		t.Errorf("what was missing was not made as Cluster API expects it: %+v", made)
	}
}

// A control plane of kubeadm has no use for the Secret of Talos, and one of Talos is not complete without it.
func TestOnlyTalosNeedsItsSecret(t *testing.T) {
	t.Parallel()
	if purposes := certificates.PurposesFor(bootstrapv1.IngotConfigSpec{}); slices.Contains(purposes, certificates.Talos) {
		t.Errorf("a control plane of kubeadm asks for %v", purposes)
	}
	all, _ := made(t, "ECDSA-P256")
	var objects []client.Object
	for purpose, s := range all {
		if purpose != certificates.Talos {
			objects = append(objects, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}, Data: s.Data})
		}
	}
	// What an interrupted pass left is completed, and what is there stays.
	found, _ := made(t, "ECDSA-P256", objects...)
	talos := found[certificates.Talos]
	if talos.Name != "demo-talos" || talos.Type != clusterv1.ClusterSecretType || talos.Labels[clusterv1.ClusterNameLabel] != "demo" || len(talos.OwnerReferences) != 1 {
		t.Errorf("the Secret of Talos is not like the others: %+v", talos.ObjectMeta)
	}
	if !bytes.Equal(found[secret.ClusterCA].Data[secret.TLSCrtDataName], all[secret.ClusterCA].Data[secret.TLSCrtDataName]) {
		t.Error("an authority was made again")
	}
}

// Two passes at the same time make one Secret: the second finds that of the first and keeps it.
func TestTheFirstSecretOfTalosStays(t *testing.T) {
	t.Parallel()
	first, c := made(t, "ECDSA-P256")
	stale := certificates.Secrets{certificates.Talos: nil}
	if err := stale.Create(t.Context(), c, cluster(), owner(), "", time.Now()); err != nil {
		t.Fatal(err)
	}
	now, err := certificates.Look(t.Context(), c, cluster(), []secret.Purpose{certificates.Talos})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now[certificates.Talos].Data["machine-token"], first[certificates.Talos].Data["machine-token"]) {
		t.Error("the Secret was overwritten, and every machine shut out")
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	good, _ := made(t, "ECDSA-P256")
	other, _ := made(t, "ECDSA-P256")
	leaf := clientCertificate(t, good[secret.ClusterCA])
	cases := map[string]struct {
		why     string
		purpose secret.Purpose
		data    map[string][]byte
		now     time.Time
		says    string
	}{
		"no key": {
			why: "an authority without key cannot sign the kubeconfig", purpose: secret.ClusterCA,
			data: map[string][]byte{"tls.key": nil}, says: "it has no tls.key",
		},
		"no certificate": {
			why: "a Secret with other keys is a common mistake", purpose: secret.FrontProxyCA,
			data: map[string][]byte{"tls.crt": nil}, says: "it has no tls.crt",
		},
		"key of another authority": {
			why: "kubeadm would fail on the machine, an hour later", purpose: secret.ClusterCA,
			data: map[string][]byte{"tls.key": other[secret.ClusterCA].Data["tls.key"]}, says: "not a pair",
		},
		"rubbish": {
			why: "what is no PEM must not end in a crash", purpose: secret.EtcdCA,
			data: map[string][]byte{"tls.crt": []byte("rubbish")}, says: "not a pair",
		},
		"a certificate that is no authority": {
			why: "nothing that it signs would be trusted", purpose: secret.ClusterCA,
			data: leaf, says: "not that of an authority",
		},
		"ended": {
			why: "nothing would trust the new machine", purpose: secret.EtcdCA,
			now: time.Now().AddDate(11, 0, 0), says: "its certificate ended at",
		},
		"service account key that is none": {
			why: "the API server would not start", purpose: secret.ServiceAccount,
			data: map[string][]byte{"tls.key": []byte("rubbish")}, says: "tls.key cannot be read",
		},
		"a Secret of Talos without one of its keys": {
			why: "machines would come up and never find each other", purpose: certificates.Talos,
			data: map[string][]byte{"cluster-secret": nil}, says: "it has no cluster-secret",
		},
		"a Secret of Talos with the key of another authority": {
			why: "nobody could talk to the machines", purpose: certificates.Talos,
			data: map[string][]byte{"ca.key": other[certificates.Talos].Data["ca.key"]}, says: "ca.crt and ca.key are not a pair",
		},
		"service account keys that do not belong together": {
			why: "every token would be refused", purpose: secret.ServiceAccount,
			data: map[string][]byte{"tls.crt": other[secret.ServiceAccount].Data["tls.crt"]}, says: "does not hold the public key of its tls.key",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := good[c.purpose].DeepCopy()
			maps.Copy(broken.Data, c.data)
			now := c.now
			if now.IsZero() {
				now = time.Now()
			}
			sentences := certificates.Secrets{c.purpose: broken}.Invalid(now)
			if len(sentences) != 1 || !strings.Contains(sentences[0], c.says) || !strings.Contains(sentences[0], broken.Name) {
				t.Errorf("%s: got %q, want one sentence that names %s and says %q", c.why, sentences, broken.Name, c.says)
			}
		})
	}
}

// clientCertificate returns a certificate that is no authority, with its key.
func clientCertificate(t *testing.T, authority *corev1.Secret) map[string][]byte {
	t.Helper()
	user := userOf(t, kubeconfigOf(t, "192.0.2.10:6443", authority))
	return map[string][]byte{"tls.crt": user.ClientCertificateData, "tls.key": user.ClientKeyData}
}

func TestRenewalIsDueAtOnce(t *testing.T) {
	t.Parallel()
	found, _ := made(t, "ECDSA-P256")
	other, _ := made(t, "ECDSA-P256")
	authority := found[secret.ClusterCA]
	cases := map[string]struct {
		why        string
		kubeconfig *corev1.Secret
	}{
		"rubbish":           {why: "it is of no use to anybody", kubeconfig: &corev1.Secret{Data: map[string][]byte{"value": []byte("}")}}},
		"empty":             {why: "an empty kubeconfig is valid YAML", kubeconfig: &corev1.Secret{}},
		"another endpoint":  {why: "the Cluster's endpoint was corrected before it came up", kubeconfig: kubeconfigOf(t, "192.0.2.99:6443", authority)},
		"another authority": {why: "the user replaced the authority before the cluster came up", kubeconfig: kubeconfigOf(t, "192.0.2.10:6443", other[secret.ClusterCA])},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if due := certificates.RenewalDue(c.kubeconfig, "192.0.2.10:6443", authority); !due.IsZero() {
				t.Errorf("due %s, not at once: %s", due, c.why)
			}
		})
	}
}
