// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talossecrets

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Role is what a client of Talos' API may do. Talos reads it from the organization of the client's certificate.
type Role string

const (
	// RoleAdmin may do everything, reading every secret of the machine included.
	RoleAdmin Role = "os:admin"
	// RoleOperator may reboot, shut down and drive etcd, and reads no secrets.
	RoleOperator Role = "os:operator"
	// RoleReader may look at what is not secret.
	RoleReader Role = "os:reader"
	// RoleEtcdBackup may take snapshots of etcd.
	RoleEtcdBackup Role = "os:etcd:backup"
)

// clockSkew is how far the clock of a machine may be behind ours.
const clockSkew = time.Hour

// privateKeyType is how Talos calls a block with an Ed25519 key. What is in it is PKCS #8.
const privateKeyType = "ED25519 PRIVATE KEY"

// ClientCertificate makes a key and signs a certificate for a client of Talos' API, both PEM. It is valid from now on for
// lifetime, and lets the client do what the roles allow; one role at least is required. caCert and caKey are the values of
// CACertKey and CAKeyKey.
func ClientCertificate(caCert, caKey []byte, roles []Role, now time.Time, lifetime time.Duration) (cert, key []byte, err error) {
	if len(roles) == 0 || lifetime <= 0 {
		return nil, nil, errors.New("a client of Talos' API needs a role, and a certificate that is valid for some time")
	}
	pair, err := tls.X509KeyPair(caCert, caKey)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the authority of Talos' API: %w", err)
	}
	var organization []string
	for _, role := range roles {
		organization = append(organization, string(role))
	}
	return issue(&x509.Certificate{
		Subject:     pkix.Name{Organization: organization},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &pair)
}

func newAuthority(now time.Time) (cert, key []byte, err error) {
	return issue(authority("talos", now.Add(-clockSkew), now.Add(authorityLifetime)), nil)
}

// Known returns an authority whose key follows from its name. It protects nothing: it is for placeholders and tests, which
// must be the same every time.
func Known(name string) (cert, key []byte) {
	seed := sha256.Sum256([]byte(name))
	template := authority(name, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC))
	template.SerialNumber = big.NewInt(1)
	cert, key, err := sign(template, nil, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return nil, nil // the template is good, and signing needs nothing from outside
	}
	return cert, key
}

func authority(organization string, from, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organization}},
		NotBefore:             from,
		NotAfter:              until,
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue makes a key, and a certificate for it by the authority, or by the key itself where authority is nil.
func issue(template *x509.Certificate, authority *tls.Certificate) (cert, key []byte, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	return sign(template, authority, private)
}

func sign(template *x509.Certificate, authority *tls.Certificate, private ed25519.PrivateKey) (cert, key []byte, err error) {
	parent, signer := template, any(private)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: privateKeyType, Bytes: raw}), nil
}

// checkAuthority demands an authority as Talos reads one: Talos knows the algorithm of a key by the type of its block.
func checkAuthority(cert, key []byte) error {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("its %s and %s are not a pair (%w)", CACertKey, CAKeyKey, err)
	}
	block, _ := pem.Decode(key)
	if _, isEd25519 := pair.PrivateKey.(ed25519.PrivateKey); !isEd25519 || block == nil || block.Type != privateKeyType {
		return fmt.Errorf("its %s is not an Ed25519 key in a block %s", CAKeyKey, privateKeyType)
	}
	return checkCertificate(cert)
}

func checkCertificate(cert []byte) error {
	authority, err := parse(cert)
	if err != nil {
		return err
	}
	if !authority.IsCA {
		return fmt.Errorf("its %s is not the certificate of an authority", CACertKey)
	}
	return nil
}

func checkTime(cert []byte, now time.Time) error {
	authority, err := parse(cert)
	if err == nil && now.After(authority.NotAfter) {
		return fmt.Errorf("its %s ended at %s", CACertKey, authority.NotAfter.UTC().Format(time.RFC3339))
	}
	return err
}

func parse(cert []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(cert)
	if block == nil {
		return nil, fmt.Errorf("its %s is not a certificate in PEM form", CACertKey)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("its %s cannot be read", CACertKey)
	}
	return parsed, nil
}
