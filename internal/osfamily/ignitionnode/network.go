// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// forwarding is what the kernel must do for Pods before kubeadm starts. A module that the kernel has built in, or does
// not have, holds up nothing.
func forwarding(cluster osfamily.Cluster) []ignition.File {
	sysctls := []string{"net.ipv4.ip_forward = 1", "net.bridge.bridge-nf-call-iptables = 1"}
	if hasIPv6(cluster) {
		sysctls = append(sysctls, "net.ipv6.conf.all.forwarding = 1", "net.bridge.bridge-nf-call-ip6tables = 1")
	}
	return []ignition.File{
		{Path: "/etc/modules-load.d/20-ingot.conf", Mode: 0o644, Data: []byte("overlay\nbr_netfilter\n")},
		{Path: "/etc/sysctl.d/20-ingot.conf", Mode: 0o644, Data: []byte(strings.Join(sysctls, "\n") + "\n")},
	}
}

// hasIPv6 is whether Pods, Services or the API server have IPv6 addresses. Elsewhere the kernel is left as it is, because
// one that forwards IPv6 learns no addresses from routers by itself.
func hasIPv6(cluster osfamily.Cluster) bool {
	if address, err := netip.ParseAddr(cluster.EndpointHost); err == nil && address.Is6() {
		return true
	}
	return slices.ContainsFunc(slices.Concat(cluster.PodCIDRs, cluster.ServiceCIDRs), func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Addr().Is6()
	})
}
