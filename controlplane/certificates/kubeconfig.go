// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/kubeconfig"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// KubeconfigRequest says what a kubeconfig Secret must hold.
type KubeconfigRequest struct {
	Cluster client.ObjectKey
	// Endpoint is host:port of the API server.
	Endpoint string
	// Authority is the Secret of the Cluster's authority. It signs the client certificate.
	Authority *corev1.Secret
	// Owner is the control plane object.
	Owner metav1.OwnerReference
	// Algorithm is that of the client key; empty means RSA-2048.
	Algorithm bootstrapv1.KeyAlgorithm
}

// WriteKubeconfig makes the administrator's kubeconfig Secret of a Cluster, or renews existing, which may be nil. The
// client certificate is valid for one year.
func WriteKubeconfig(ctx context.Context, writer client.Writer, existing *corev1.Secret, request KubeconfigRequest) error {
	name := secret.Name(request.Cluster.Name, secret.Kubeconfig)
	data, err := sign(request)
	if err != nil {
		return fmt.Errorf("signing the kubeconfig of Secret %s: %w", name, err)
	}
	if existing == nil {
		err = writer.Create(ctx, kubeconfig.GenerateSecretWithOwner(request.Cluster, data, request.Owner))
	} else {
		renewed := existing.DeepCopy()
		renewed.Data = map[string][]byte{secret.KubeconfigDataName: data}
		err = writer.Update(ctx, renewed)
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", name, err)
	}
	return nil
}

// RenewalDue returns when a kubeconfig must be renewed: half a year before its client certificate ends. It is the zero
// time where the kubeconfig cannot be read, or speaks of another endpoint or authority.
func RenewalDue(kubeconfigSecret *corev1.Secret, endpoint string, authority *corev1.Secret) time.Time {
	config, err := clientcmd.Load(kubeconfigSecret.Data[secret.KubeconfigDataName])
	if err != nil {
		return time.Time{}
	}
	current := config.Contexts[config.CurrentContext]
	if current == nil {
		return time.Time{}
	}
	cluster, user := config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil || cluster.Server != "https://"+endpoint || !speaksOf(cluster, authority) {
		return time.Time{}
	}
	certificate, err := certs.DecodeCertPEM(user.ClientCertificateData)
	if err != nil {
		return time.Time{}
	}
	return certificate.NotAfter.Add(-certs.ClientCertificateRenewalDuration)
}

// speaksOf is whether the kubeconfig trusts the authority that signs now: the first certificate of its Secret.
func speaksOf(cluster *clientcmdapi.Cluster, authority *corev1.Secret) bool {
	trusted, err := certs.DecodeCertPEM(cluster.CertificateAuthorityData)
	if err != nil {
		return false
	}
	signing, err := certs.DecodeCertPEM(authority.Data[secret.TLSCrtDataName])
	return err == nil && bytes.Equal(trusted.Raw, signing.Raw)
}

func sign(request KubeconfigRequest) ([]byte, error) {
	certificate, key, err := readAuthority(request.Authority)
	if err != nil {
		return nil, err
	}
	config, err := kubeconfig.New(request.Cluster.Name, "https://"+request.Endpoint, certificate, key,
		kubeconfig.KeyEncryptionAlgorithm(request.Algorithm))
	if err != nil {
		return nil, err
	}
	return clientcmd.Write(*config)
}
