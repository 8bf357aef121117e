// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package talossecrets knows the secrets that a cluster of Talos has beside those of Kubernetes: how they are called in
// the one Secret that keeps them, how they are made and read, and how a client of Talos' API is let in. Whoever renders for
// Talos, keeps its secrets or talks to its API has the names from here. It reads and writes no objects, and knows no machine
// configuration.
package talossecrets

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"regexp"
	"time"
)

// Purpose is the end of the Secret's name, as Cluster API ends the names of its own: <cluster>-talos.
const Purpose = "talos"

// Keys of the Secret. Its type is cluster.x-k8s.io/secret, and it carries the label cluster.x-k8s.io/cluster-name.
const (
	// CACertKey and CAKeyKey are the authority of Talos' API: PEM, the key in the form that Talos writes, which is PKCS #8 in a
	// block ED25519 PRIVATE KEY.
	CACertKey = "ca.crt"
	CAKeyKey  = "ca.key"
	// ClusterIDKey is the name of the cluster among those that Talos' discovery knows. It is not secret.
	ClusterIDKey = "cluster-id"
	// ClusterSecretKey encrypts what members tell each other by discovery: 32 bytes in base64.
	ClusterSecretKey = "cluster-secret"
	// MachineTokenKey is what a machine shows to a control plane node to get the certificate of its own API:
	// abcdef.0123456789abcdef.
	MachineTokenKey = "machine-token"
	// BootstrapTokenKey is what a kubelet shows to the API server when it joins, in the same form.
	BootstrapTokenKey = "bootstrap-token"
	// SecretboxKeyKey encrypts Secrets in etcd: 32 bytes in base64.
	SecretboxKeyKey = "secretbox-key"
)

// authorityLifetime is how long the authority of Talos' API is good for, which is what Talos itself takes.
const authorityLifetime = 10 * 365 * 24 * time.Hour

// Secrets are the secrets of one cluster.
type Secrets struct {
	// CACert and CAKey are PEM.
	CACert []byte
	CAKey  []byte
	// ClusterID, ClusterSecret and SecretboxKey are base64, the tokens have the form abcdef.0123456789abcdef.
	ClusterID      string
	ClusterSecret  string
	MachineToken   string
	BootstrapToken string
	SecretboxKey   string
}

// Keys lists the keys that the Secret must have.
func Keys() []string {
	return []string{CACertKey, CAKeyKey, ClusterIDKey, ClusterSecretKey, MachineTokenKey, BootstrapTokenKey, SecretboxKeyKey}
}

// New makes the secrets of a cluster.
func New(now time.Time) (Secrets, error) {
	cert, key, err := newAuthority(now)
	if err != nil {
		return Secrets{}, fmt.Errorf("making the authority of Talos' API: %w", err)
	}
	return Secrets{
		CACert:         cert,
		CAKey:          key,
		ClusterID:      newKey(),
		ClusterSecret:  newKey(),
		MachineToken:   newToken(),
		BootstrapToken: newToken(),
		SecretboxKey:   newKey(),
	}, nil
}

// Data is what the Secret holds.
func (s Secrets) Data() map[string][]byte {
	return map[string][]byte{
		CACertKey:         s.CACert,
		CAKeyKey:          s.CAKey,
		ClusterIDKey:      []byte(s.ClusterID),
		ClusterSecretKey:  []byte(s.ClusterSecret),
		MachineTokenKey:   []byte(s.MachineToken),
		BootstrapTokenKey: []byte(s.BootstrapToken),
		SecretboxKeyKey:   []byte(s.SecretboxKey),
	}
}

// Read reads what the Secret holds. The error names the key that is missing or of no use, and never its value. now is
// when the authority must be good.
func Read(data map[string][]byte, now time.Time) (Secrets, error) {
	for _, key := range Keys() {
		if len(data[key]) == 0 {
			return Secrets{}, fmt.Errorf("it has no %s", key)
		}
	}
	s := Secrets{
		CACert:         data[CACertKey],
		CAKey:          data[CAKeyKey],
		ClusterID:      string(data[ClusterIDKey]),
		ClusterSecret:  string(data[ClusterSecretKey]),
		MachineToken:   string(data[MachineTokenKey]),
		BootstrapToken: string(data[BootstrapTokenKey]),
		SecretboxKey:   string(data[SecretboxKeyKey]),
	}
	if err := s.Check(); err != nil {
		return Secrets{}, err
	}
	return s, checkTime(s.CACert, now)
}

// ForWorker returns what a worker needs: no private key, and nothing that decrypts what etcd holds.
func (s Secrets) ForWorker() Secrets {
	s.CAKey, s.SecretboxKey = nil, ""
	return s
}

// CheckWorker says what is missing or of no use for a worker. It does not know what time it is.
func (s Secrets) CheckWorker() error {
	if err := checkCertificate(s.CACert); err != nil {
		return err
	}
	return s.checkText()
}

// Check says what is missing or of no use for a control plane node. It does not know what time it is.
func (s Secrets) Check() error {
	if err := checkAuthority(s.CACert, s.CAKey); err != nil {
		return err
	}
	if err := checkBytes(SecretboxKeyKey, s.SecretboxKey); err != nil {
		return err
	}
	return s.checkText()
}

// checkText covers what every machine gets.
func (s Secrets) checkText() error {
	if !regexp.MustCompile(`^[A-Za-z0-9+/_=-]{16,64}$`).MatchString(s.ClusterID) {
		return fmt.Errorf("its %s is not base64", ClusterIDKey)
	}
	if err := checkBytes(ClusterSecretKey, s.ClusterSecret); err != nil {
		return err
	}
	for _, text := range []struct{ key, value string }{{MachineTokenKey, s.MachineToken}, {BootstrapTokenKey, s.BootstrapToken}} {
		if !regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`).MatchString(text.value) {
			return fmt.Errorf("its %s is not of the form abcdef.0123456789abcdef", text.key)
		}
	}
	return nil
}

func checkBytes(key, value string) error {
	if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) != keyBytes {
		return fmt.Errorf("its %s is not %d bytes in base64", key, keyBytes)
	}
	return nil
}

// keyBytes is how long the keys are: those of AES-256 and of NaCl's secretbox.
const keyBytes = 32

func newKey() string {
	raw := make([]byte, keyBytes)
	_, _ = rand.Read(raw) // it never fails: the program ends instead
	return base64.StdEncoding.EncodeToString(raw)
}

// newToken makes a token of the form abcdef.0123456789abcdef.
func newToken() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	const even = 256 / len(alphabet) * len(alphabet) // what is above would favour the first letters
	token := make([]byte, 0, 23)
	for one := make([]byte, 1); len(token) < cap(token); {
		if len(token) == 6 {
			token = append(token, '.')
		}
		if _, _ = rand.Read(one); int(one[0]) < even {
			token = append(token, alphabet[int(one[0])%len(alphabet)])
		}
	}
	return string(token)
}
