// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// credentials reads the Secret of an endpoint. unusable says what a person has to do about it; an error says nothing about
// the Secret. The credentials are nil where the endpoint has none.
func (r *Reconciler) credentials(ctx context.Context, endpoint *ingotv1.PlatformEndpoint) (data map[string][]byte, unusable string, err error) {
	ref := endpoint.Spec.CredentialsRef
	if ref.Name == "" {
		return nil, "", nil
	}
	keys := neededKeys(endpoint.Spec)
	secret := &corev1.Secret{}
	err = r.SecretReader.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("Secret %s/%s of spec.credentialsRef does not exist: create it with the keys %s", ref.Namespace, ref.Name, strings.Join(keys, ", ")), nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Sprintf("Secret %s/%s of spec.credentialsRef may not be read: let the manager's service account get Secrets in namespace %s",
			ref.Namespace, ref.Name, ref.Namespace), nil
	case err != nil:
		return nil, "", fmt.Errorf("reading Secret %s/%s of spec.credentialsRef: %w", ref.Namespace, ref.Name, err)
	}
	for _, key := range keys {
		if len(secret.Data[key]) == 0 {
			return nil, fmt.Sprintf("Secret %s/%s of spec.credentialsRef has no key %s, which %s needs: add it",
				ref.Namespace, ref.Name, key, scheme(endpoint.Spec)), nil
		}
	}
	return secret.Data, "", nil
}

// neededKeys are the keys that the Secret of an endpoint must have, as the field spec.libvirt.uri or spec.vsphere says it. What
// is in them is judged by who opens the session.
func neededKeys(spec ingotv1.PlatformEndpointSpec) []string {
	switch scheme(spec) {
	case vCenter:
		return []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}
	case "qemu+tls":
		return []string{"ca.crt", corev1.TLSCertKey, corev1.TLSPrivateKeyKey}
	case "qemu+libssh":
		return []string{corev1.SSHAuthPrivateKey, "known_hosts"}
	default:
		return nil
	}
}

// vCenter is how a vCenter is reached.
const vCenter = "vCenter"

// scheme is how the endpoint is reached.
func scheme(spec ingotv1.PlatformEndpointSpec) string {
	if spec.VSphere.Server != "" {
		return vCenter
	}
	name, _, _ := strings.Cut(spec.Libvirt.URI, "://")
	return name
}
