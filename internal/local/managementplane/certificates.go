// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"sigs.k8s.io/cluster-api/util/certs"
)

// ensureCertificates makes the plane's keys and certificates once: an authority, one serving certificate and one
// administrator's certificate for all programs, and the key that signs service account tokens. They are made aside and
// moved into place together, so there is never half a set.
func (l layout) ensureCertificates() error {
	if _, err := os.Stat(l.pki()); err == nil {
		return nil
	}
	scratch := scratchOf(l.pki())
	if err := os.RemoveAll(scratch); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(scratch, "serving"), 0o700); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := writeCertificates(scratch); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := os.Rename(scratch, l.pki()); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

func writeCertificates(dir string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "ingot management plane"}, key)
	if err != nil {
		return err
	}
	if err := writePair(filepath.Join(dir, "ca"), ca, key); err != nil {
		return err
	}
	for name, config := range map[string]certs.Config{
		"serving/tls": {
			CommonName: "localhost",
			AltNames:   certs.AltNames{DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}},
			Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		},
		"admin": {
			CommonName:   "ingot-admin",
			Organization: []string{"system:masters"},
			Usages:       []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
	} {
		own, err := newKey()
		if err != nil {
			return err
		}
		signed, err := config.NewSignedCert(own, ca, key)
		if err != nil {
			return err
		}
		if err := writePair(filepath.Join(dir, name), signed, own); err != nil {
			return err
		}
	}
	return writeServiceAccountKey(filepath.Join(dir, "service-accounts"))
}

func newKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// writePair writes base.crt and base.key.
func writePair(base string, certificate *x509.Certificate, key crypto.Signer) error {
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+".key", keyPEM, 0o600); err != nil {
		return err
	}
	certPEM, err := cert.EncodeCertificates(certificate)
	if err != nil {
		return err
	}
	return os.WriteFile(base+".crt", certPEM, 0o600)
}

// writeServiceAccountKey writes base.key, which signs tokens, and base.pub, which verifies them.
func writeServiceAccountKey(base string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	private, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+".key", private, 0o600); err != nil {
		return err
	}
	public, err := certs.EncodePublicKeyPEMFromSigner(key.Public())
	if err != nil {
		return err
	}
	return os.WriteFile(base+".pub", public, 0o600)
}

// kubeconfig is the administrator's, with everything embedded.
func (l layout) kubeconfig(server string) ([]byte, error) {
	var files [3][]byte
	for i, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		content, err := os.ReadFile(l.pki(name))
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		files[i] = content
	}
	const name = "ingot"
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: files[0]}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: files[1], ClientKeyData: files[2]}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}
	return clientcmd.Write(config)
}
