// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certificates keeps the secrets that a Cluster's control plane rests on, in the Secrets whose names and keys
// Cluster API fixes: the authorities of the API server, of etcd and of the front proxy, the key of the service
// accounts, and the administrator's kubeconfig; and for a control plane of Talos the Secret of Talos. It looks, checks, makes
// and signs. It never decides whether something
// may be made: that is controlplane/plan.
package certificates

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/keyutil"
	kubeadmv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// Talos is what the Secret of Talos is for. Package talossecrets has its keys.
const Talos secret.Purpose = talossecrets.Purpose

// Purposes returns what each certificate Secret is for that every control plane needs, in the order in which they are made.
func Purposes() []secret.Purpose {
	return []secret.Purpose{secret.ClusterCA, secret.EtcdCA, secret.FrontProxyCA, secret.ServiceAccount}
}

// PurposesFor returns the same for a control plane whose Machines have a config.
func PurposesFor(config bootstrapv1.IngotConfigSpec) []secret.Purpose {
	if config.Talos != nil {
		return append(Purposes(), Talos)
	}
	return Purposes()
}

// Secrets are the certificate Secrets that one Cluster needs, by what they are for; nil where one does not exist.
type Secrets map[secret.Purpose]*corev1.Secret

// Look reads the certificate Secrets of a Cluster that are for purposes. The reader must see Secrets without Cluster API's
// label, because those that a user supplies need not carry it: an API reader, not a filtered cache.
func Look(ctx context.Context, reader client.Reader, cluster client.ObjectKey, purposes []secret.Purpose) (Secrets, error) {
	found := Secrets{}
	for _, purpose := range purposes {
		s, err := secret.Get(ctx, reader, cluster, purpose)
		switch {
		case apierrors.IsNotFound(err):
			found[purpose] = nil
		case err != nil:
			return nil, fmt.Errorf("reading Secret %s: %w", secret.Name(cluster.Name, purpose), err)
		default:
			found[purpose] = s
		}
	}
	return found, nil
}

// Missing returns the names of the Secrets that do not exist.
func (s Secrets) Missing(cluster string) []string {
	var names []string
	for _, purpose := range s.purposes() {
		if s[purpose] == nil {
			names = append(names, secret.Name(cluster, purpose))
		}
	}
	return names
}

// Invalid returns one sentence for each Secret that cannot be used, which names it and says what to do.
func (s Secrets) Invalid(now time.Time) []string {
	var sentences []string
	for _, purpose := range s.purposes() {
		if s[purpose] == nil {
			continue
		}
		if err := check(purpose, s[purpose].Data, now); err != nil {
			sentences = append(sentences, fmt.Sprintf("Secret %s cannot be used, %v: replace it", s[purpose].Name, err))
		}
	}
	return sentences
}

// purposes are those of s, in the order in which they are made.
func (s Secrets) purposes() []secret.Purpose {
	return slices.DeleteFunc(append(Purposes(), Talos), func(purpose secret.Purpose) bool {
		_, wanted := s[purpose]
		return !wanted
	})
}

// Create makes the Secrets that are missing from s, owned by owner. A Secret that somebody else made meanwhile is left
// as it is. algorithm empty means what kubeadm makes by default. now is when what is
// made begins to be good.
func (s Secrets) Create(ctx context.Context, writer client.Writer, cluster client.ObjectKey, owner metav1.OwnerReference, algorithm bootstrapv1.KeyAlgorithm, now time.Time) error {
	all := secret.NewCertificatesForInitialControlPlane(&kubeadmv1.ClusterConfiguration{
		EncryptionAlgorithm: kubeadmv1.EncryptionAlgorithmType(algorithm),
	})
	for _, purpose := range s.purposes() {
		if s[purpose] != nil {
			continue
		}
		made := &corev1.Secret{}
		var err error
		if purpose == Talos {
			made, err = newTalos(cluster, owner, now)
		} else if err = all.GetByPurpose(purpose).Generate(); err == nil {
			made = all.GetByPurpose(purpose).AsSecret(cluster, owner)
		}
		if err != nil {
			return fmt.Errorf("making the content of Secret %s: %w", secret.Name(cluster.Name, purpose), err)
		}
		if err := writer.Create(ctx, made); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("creating Secret %s: %w", secret.Name(cluster.Name, purpose), err)
		}
	}
	return nil
}

// newTalos makes the Secret of Talos as Cluster API makes the others. One write makes all of it: a Secret with a part of it
// is never seen.
func newTalos(cluster client.ObjectKey, owner metav1.OwnerReference, now time.Time) (*corev1.Secret, error) {
	secrets, err := talossecrets.New(now)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       cluster.Namespace,
			Name:            secret.Name(cluster.Name, Talos),
			Labels:          map[string]string{clusterv1.ClusterNameLabel: cluster.Name},
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		Type: clusterv1.ClusterSecretType,
		Data: secrets.Data(),
	}, nil
}

func check(purpose secret.Purpose, data map[string][]byte, now time.Time) error {
	if purpose == Talos {
		_, err := talossecrets.Read(data, now)
		return err
	}
	for _, key := range []string{secret.TLSCrtDataName, secret.TLSKeyDataName} {
		if len(data[key]) == 0 {
			return fmt.Errorf("it has no %s", key)
		}
	}
	if purpose == secret.ServiceAccount {
		return checkKeys(data[secret.TLSCrtDataName], data[secret.TLSKeyDataName])
	}
	return checkAuthority(data[secret.TLSCrtDataName], data[secret.TLSKeyDataName], now)
}

func checkAuthority(cert, key []byte, now time.Time) error {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("its certificate and key are not a pair (%w)", err)
	}
	authority, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		return fmt.Errorf("its certificate cannot be read (%w)", err)
	case !authority.IsCA:
		return errors.New("its certificate is not that of an authority")
	case now.After(authority.NotAfter):
		return fmt.Errorf("its certificate ended at %s", authority.NotAfter.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// checkKeys checks the pair that signs service account tokens: tls.crt holds public keys there, and that of tls.key must
// be among them.
func checkKeys(public, private []byte) error {
	parsed, err := keyutil.ParsePrivateKeyPEM(private)
	if err != nil {
		return fmt.Errorf("its tls.key cannot be read (%w)", err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return errors.New("its tls.key cannot sign")
	}
	accepted, err := keyutil.ParsePublicKeysPEM(public)
	if err != nil {
		return fmt.Errorf("its tls.crt holds no public key (%w)", err)
	}
	own, canCompare := signer.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	for _, key := range accepted {
		if canCompare && own.Equal(key) {
			return nil
		}
	}
	return errors.New("its tls.crt does not hold the public key of its tls.key")
}
