// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
)

func accessStories() map[string]func(*story) {
	return map[string]func(*story){
		"certificates and kubeconfig are made as Cluster API expects them": makesCertificates,
		"kubeadm's default key algorithm is the default":                   makesRSAByDefault,
		"a user's authority is used and left as it is":                     respectsUserAuthority,
		"a broken authority stops everything and is named":                 refusesBrokenAuthority,
		"lost certificates of an initialized control plane stay lost":      neverRegenerates,
		"a kubeconfig is made again, and renewed before it ends":           renewsKubeconfig,
		"a user's kubeconfig is left alone":                                respectsUserKubeconfig,
	}
}

func (s *story) secret(purpose secret.Purpose) *corev1.Secret {
	s.Helper()
	found, exists := get(s, secret.Name(clusterName, purpose), &corev1.Secret{})
	if !exists {
		s.Fatalf("there is no Secret for %s", purpose)
	}
	return found
}

// expectAccess checks that the kubeconfig names the endpoint, and holds a client certificate that the authority signed.
func (s *story) expectAccess() *x509.Certificate {
	s.Helper()
	config, err := clientcmd.Load(s.secret(secret.Kubeconfig).Data[secret.KubeconfigDataName])
	if err != nil {
		s.Fatal(err)
	}
	current := config.Contexts[config.CurrentContext]
	if server := config.Clusters[current.Cluster].Server; server != "https://192.0.2.10:6443" {
		s.Errorf("the kubeconfig speaks of %s", server)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.secret(secret.ClusterCA).Data[secret.TLSCrtDataName])
	certificate, err := certs.DecodeCertPEM(config.AuthInfos[current.AuthInfo].ClientCertificateData)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		s.Errorf("the authority does not vouch for the kubeconfig's certificate: %v", err)
	}
	return certificate
}

func makesCertificates(s *story) {
	s.begin()
	s.provisionInfrastructure()
	s.settle()
	cp := s.controlPlane()
	for _, purpose := range append(certificates.Purposes(), secret.Kubeconfig) {
		found := s.secret(purpose)
		if found.Type != clusterv1.ClusterSecretType || found.Labels[clusterv1.ClusterNameLabel] != clusterName || !metav1.IsControlledBy(found, cp) {
			s.Errorf("Secret %s has type %s, labels %v and owners %v", found.Name, found.Type, found.Labels, found.OwnerReferences)
		}
	}
	certificate := s.expectAccess()
	if _, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok {
		s.Errorf("the key of the kubeconfig is %T although ECDSA was asked for", certificate.PublicKey)
	}
	authority, err := certs.DecodeCertPEM(s.secret(secret.EtcdCA).Data[secret.TLSCrtDataName])
	if err != nil {
		s.Fatal(err)
	}
	if _, ok := authority.PublicKey.(*ecdsa.PublicKey); !ok {
		s.Errorf("the key of etcd's authority is %T although ECDSA was asked for", authority.PublicKey)
	}
}

func makesRSAByDefault(s *story) {
	s.begin(func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.Config.ControlPlane.KeyAlgorithm = ""
		cp.Spec.Config.ControlPlane.ImageRepository = "registry.example"
	})
	s.provisionInfrastructure()
	s.settle()
	key, ok := s.expectAccess().PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() != 2048 {
		s.Error("the default is not RSA-2048")
	}
}

// userAuthority is an authority as a user would supply it: another type, no label, no owner.
func (s *story) userAuthority() *corev1.Secret {
	s.Helper()
	made := secret.Certificate{Purpose: secret.ClusterCA}
	if err := made.Generate(); err != nil {
		s.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secret.Name(clusterName, secret.ClusterCA)},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{secret.TLSCrtDataName: made.KeyPair.Cert, secret.TLSKeyDataName: made.KeyPair.Key},
	}
}

func respectsUserAuthority(s *story) {
	s.begin()
	supplied := s.userAuthority()
	s.create(supplied)
	s.provisionInfrastructure()
	s.settle()
	if found := s.secret(secret.ClusterCA); found.ResourceVersion != supplied.ResourceVersion {
		s.Errorf("the user's Secret was changed: %+v", found.ObjectMeta)
	}
	s.expectAccess()
	s.onlyMachine()
}

func refusesBrokenAuthority(s *story) {
	s.begin()
	broken := s.userAuthority()
	broken.Data[secret.TLSKeyDataName] = s.userAuthority().Data[secret.TLSKeyDataName]
	s.create(broken)
	s.provisionInfrastructure()
	result := s.settle()
	if result.RequeueAfter == 0 {
		s.Error("nobody looks at the Secret again")
	}
	message := s.expectCondition(controlplanev1.CertificatesAvailableCondition, metav1.ConditionFalse, controlplanev1.CertificatesInvalidReason)
	if !strings.Contains(message, "demo-ca") {
		s.Errorf("the message does not name the Secret: %s", message)
	}
	if n := len(s.machines()); n != 0 {
		s.Errorf("%d Machines were made that would trust a broken authority", n)
	}
	patch(s, broken, func(b *corev1.Secret) { b.Data = s.userAuthority().Data })
	s.settle()
	s.onlyMachine()
}

func neverRegenerates(s *story) {
	s.beginInitialized()
	s.delete(s.secret(secret.ClusterCA))
	s.delete(s.secret(secret.ServiceAccount))
	s.settle()
	message := s.expectCondition(controlplanev1.CertificatesAvailableCondition, metav1.ConditionFalse, controlplanev1.CertificatesMissingReason)
	if !strings.Contains(message, "demo-ca, demo-sa") {
		s.Errorf("the message does not name what is gone: %s", message)
	}
	if _, exists := get(s, "demo-ca", &corev1.Secret{}); exists {
		s.Error("an authority was made again that no node trusts")
	}
	s.expectQuiet()
}

func renewsKubeconfig(s *story) {
	s.beginInitialized()
	before := s.secret(secret.Kubeconfig)
	s.delete(before)
	s.settle()
	again := s.secret(secret.Kubeconfig)
	certificate := s.expectAccess()

	s.clock.SetTime(certificate.NotAfter.Add(-certs.ClientCertificateRenewalDuration).Add(-time.Hour))
	result := s.settle()
	if kept := s.secret(secret.Kubeconfig); kept.ResourceVersion != again.ResourceVersion {
		s.Error("the kubeconfig was renewed an hour too early")
	}
	if result.RequeueAfter > time.Hour {
		s.Errorf("the kubeconfig is due in an hour, but looked at in %s", result.RequeueAfter)
	}

	// The certificate's end is in real time, so the renewed one is due at once for a clock half a year ahead.
	s.clock.SetTime(certificate.NotAfter.Add(-certs.ClientCertificateRenewalDuration).Add(time.Hour))
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	if renewed := s.secret(secret.Kubeconfig); bytes.Equal(renewed.Data[secret.KubeconfigDataName], again.Data[secret.KubeconfigDataName]) {
		s.Error("the kubeconfig was not renewed half a year before it ends")
	}
	s.expectAccess()
}

func respectsUserKubeconfig(s *story) {
	s.begin()
	supplied := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secret.Name(clusterName, secret.Kubeconfig)},
		Data:       map[string][]byte{secret.KubeconfigDataName: []byte("the user's own")},
	}
	s.create(supplied)
	s.provisionInfrastructure()
	s.settle()
	if s.secret(secret.Kubeconfig).ResourceVersion != supplied.ResourceVersion {
		s.Error("the user's kubeconfig was overwritten")
	}
	s.onlyMachine()
}
