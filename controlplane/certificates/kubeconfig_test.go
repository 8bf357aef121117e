// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
)

func kubeconfigOf(t *testing.T, endpoint string, authority *corev1.Secret) *corev1.Secret {
	t.Helper()
	c := fake.NewFakeClient()
	request := certificates.KubeconfigRequest{Cluster: cluster(), Endpoint: endpoint, Authority: authority, Owner: owner(), Algorithm: "ECDSA-P256"}
	if err := certificates.WriteKubeconfig(t.Context(), c, nil, request); err != nil {
		t.Fatal(err)
	}
	made := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "demo-kubeconfig"}, made); err != nil {
		t.Fatal(err)
	}
	return made
}

func userOf(t *testing.T, kubeconfig *corev1.Secret) *clientcmdapi.AuthInfo {
	t.Helper()
	config, err := clientcmd.Load(kubeconfig.Data["value"])
	if err != nil {
		t.Fatal(err)
	}
	return config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo]
}
