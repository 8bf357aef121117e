// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/talos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// talosLifetime is how long the certificate is valid with which one look at machines is taken. It is in no file.
const talosLifetime = time.Hour

// Talos drives control planes of Talos through the API of its machines.
func Talos(now clock.PassiveClock) controller.Driver {
	return controller.Driver{
		Authority: certificates.Talos,
		OpenEtcd: func(_ context.Context, access controller.Access) (controller.Etcd, error) {
			return openTalos(access, now)
		},
		Way: "through the API of Talos on the Nodes",
		OpenFounder: func(_ context.Context, access controller.Access) (controller.Founder, error) {
			cluster, err := openTalos(access, now)
			return talos.Machine{Cluster: cluster}, err
		},
		SelfJoining: true,
		Record: func() client.Object {
			return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem}}
		},
		Canary:      "/registry/namespaces/" + metav1.NamespaceSystem,
		EtcdIsNoPod: true,
	}
}

func openTalos(access controller.Access, now clock.PassiveClock) (talos.Cluster, error) {
	authority := access.Authority
	cert, key, err := talossecrets.ClientCertificate(authority.Data[talossecrets.CACertKey], authority.Data[talossecrets.CAKeyKey], []talossecrets.Role{talossecrets.RoleAdmin}, now.Now(), talosLifetime)
	if err != nil {
		return talos.Cluster{}, fmt.Errorf("signing the certificate of a client of Talos with Secret %s: %w", authority.Name, err)
	}
	identity, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return talos.Cluster{}, fmt.Errorf("reading the certificate that was signed with Secret %s: %w", authority.Name, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.Data[talossecrets.CACertKey]) {
		return talos.Cluster{}, fmt.Errorf("the %s of Secret %s holds no certificate", talossecrets.CACertKey, authority.Name)
	}
	cluster := talos.Cluster{TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{identity}}}
	for _, n := range access.Nodes {
		cluster.Nodes = append(cluster.Nodes, talos.Node{Name: n.Name, Addresses: n.Addresses})
	}
	return cluster, nil
}
