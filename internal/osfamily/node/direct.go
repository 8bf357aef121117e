// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// defaultServiceCIDR and defaultServiceDomain are kubeadm's.
const (
	defaultServiceCIDR   = "10.96.0.0/12"
	defaultServiceDomain = "cluster.local"
)

// Direct is what a node reaches past its proxy: what the user lists, and the cluster itself.
func Direct(in osfamily.Input) []string {
	direct := slices.Concat(in.Config.Proxy.NoProxy, []string{"localhost", "127.0.0.1", "::1", in.Cluster.EndpointHost}, in.Cluster.PodCIDRs)
	if services := in.Cluster.ServiceCIDRs; len(services) > 0 {
		direct = append(direct, services...)
	} else {
		direct = append(direct, defaultServiceCIDR)
	}
	domain := in.Cluster.ServiceDomain
	if domain == "" {
		domain = defaultServiceDomain
	}
	var once []string
	for _, entry := range append(direct, ".svc", "."+domain) {
		if !slices.Contains(once, entry) {
			once = append(once, entry)
		}
	}
	return once
}
