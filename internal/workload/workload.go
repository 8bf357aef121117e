// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package workload reaches workload clusters and their etcd: the manager through its cache of connections, and programs
// without a manager directly (Direct), and the machines of Talos through their own API (Talos). It decides nothing, and keeps nothing.
package workload

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/kubeconfig"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
)

// RESTConfigs says how to reach workload clusters.
type RESTConfigs interface {
	// GetRESTConfig returns how to reach a workload cluster, or an error at once where that is not known.
	GetRESTConfig(ctx context.Context, cluster client.ObjectKey) (*rest.Config, error)
}

// Drivers chooses how control planes are driven: those of Talos through its API, all others as kubeadm makes them, whose etcd is
// reached through the API servers of their clusters.
func Drivers(clusters RESTConfigs, now clock.PassiveClock) controller.Drivers {
	kubeadm, talos := controller.Kubeadm(throughAPIServer(clusters)), Talos(now)
	return func(config bootstrapv1.IngotConfigSpec) controller.Driver {
		if config.Talos != nil {
			return talos
		}
		return kubeadm
	}
}

// throughAPIServer reaches etcd through the API servers of workload clusters.
func throughAPIServer(clusters RESTConfigs) controller.EtcdOpener {
	return func(ctx context.Context, access controller.Access) (controller.Etcd, error) {
		config, err := clusters.GetRESTConfig(ctx, access.Cluster)
		if err != nil {
			return nil, err
		}
		dial, err := etcd.PortForward(config)
		if err != nil {
			return nil, err
		}
		identity, err := certificates.EtcdClient(access.Authority)
		if err != nil {
			return nil, err
		}
		nodes := make([]string, len(access.Nodes))
		for i, n := range access.Nodes {
			nodes[i] = n.Name
		}
		return etcd.Cluster{Dial: dial, TLS: identity, Nodes: nodes}, nil
	}
}

// Direct connects to workload clusters with their kubeconfig Secrets, each time anew. Every field is required.
type Direct struct {
	// Secrets reads the kubeconfig Secrets.
	Secrets client.Reader
	// Timeout is how long a request to a workload cluster may take.
	Timeout time.Duration
}

// GetRESTConfig implements RESTConfigs.
func (d Direct) GetRESTConfig(ctx context.Context, cluster client.ObjectKey) (*rest.Config, error) {
	content, err := kubeconfig.FromSecret(ctx, d.Secrets, cluster)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of Cluster %s: %w", cluster.Name, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig of Cluster %s cannot be used: %w", cluster.Name, err)
	}
	config.Timeout = d.Timeout
	return config, nil
}

// GetUncachedClient returns a client for a workload cluster, whether it answers or not.
func (d Direct) GetUncachedClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error) {
	config, err := d.GetRESTConfig(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{})
}
