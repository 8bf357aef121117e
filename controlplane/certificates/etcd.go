// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/cluster-api/util/certs"
	"sigs.k8s.io/cluster-api/util/secret"
)

// etcdServerName is a name that kubeadm puts into the certificate of every member.
const etcdServerName = "localhost"

// EtcdClient returns what a client of etcd needs: a certificate of its own, which is in no file and valid for a year, and
// the authority of the members. authority is the Secret of etcd's authority.
func EtcdClient(authority *corev1.Secret) (*tls.Config, error) {
	ca, caKey, err := readAuthority(authority)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of a client of etcd: %w", err)
	}
	config := certs.Config{CommonName: "ingot-control-plane", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	certificate, err := config.NewSignedCert(key, ca, caKey)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of a client of etcd with Secret %s: %w", authority.Name, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		ServerName:   etcdServerName,
		RootCAs:      roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}},
	}, nil
}

// readAuthority reads the certificate and the key of a Secret that signs.
func readAuthority(authority *corev1.Secret) (*x509.Certificate, crypto.Signer, error) {
	certificate, err := certs.DecodeCertPEM(authority.Data[secret.TLSCrtDataName])
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate of Secret %s: %w", authority.Name, err)
	}
	key, err := certs.DecodePrivateKeyPEM(authority.Data[secret.TLSKeyDataName])
	if err != nil {
		return nil, nil, fmt.Errorf("reading the key of Secret %s: %w", authority.Name, err)
	}
	return certificate, key, nil
}
