// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	// noRelease is a version that was never released. Bottlerocket updates itself only to the version that it is locked
	// to, and finds none that is called so. The version of the image is not known here.
	noRelease = "0.0.0"
	// defaultServiceCIDR is kubeadm's.
	defaultServiceCIDR = "10.96.0.0/12"
	// defaultDomain is Kubernetes'.
	defaultDomain = "cluster.local"
	// dnsServiceIndex is which address of the range the DNS service has, by the custom of kubeadm and its relatives.
	dnsServiceIndex = 10
)

// compose adds what Ingot sets. The user's settings hold none of it.
func compose(s *settings, in osfamily.Input) error {
	k := s.kubernetes()
	k.APIServer = "https://" + in.Cluster.Endpoint()
	k.ClusterCertificate = base64.StdEncoding.EncodeToString(in.Join.CACert)
	k.BootstrapToken = in.Join.Token
	k.AuthenticationMode = "tls"
	k.StandaloneMode = new(false)
	k.ProviderID = in.Machine.ProviderID
	k.NodeLabels = maps.Clone(in.Config.Node.Labels)
	k.NodeTaints = taints(in.Config.Node.Taints)
	k.ClusterDomain = defaultDomain
	if in.Cluster.ServiceDomain != "" {
		k.ClusterDomain = in.Cluster.ServiceDomain
	}
	if len(k.ClusterDNSIP) == 0 {
		address, err := dnsAddress(in.Cluster.ServiceCIDRs)
		if err != nil {
			return err
		}
		k.ClusterDNSIP = []string{address.String()}
	}
	// The images expect a cloud provider, and taint their node until one has come. Machines of Ingot have none.
	if k.CloudProvider == nil {
		k.CloudProvider = new("")
	}
	s.network().Hostname = in.Machine.Name
	if err := addPortable(s, in); err != nil {
		return err
	}
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		addGuardRails(s)
	}
	return nil
}

// addGuardRails has Bottlerocket find no update, and starts neither of the containers through which people change it.
func addGuardRails(s *settings) {
	s.Updates = &updates{VersionLock: noRelease, IgnoreWaves: new(false)}
	s.HostContainers = map[string]hostContainer{"admin": {Enabled: new(false)}, "control": {Enabled: new(false)}}
}

// taints lists the values of each key, in their order.
func taints(in *[]corev1.Taint) map[string][]string {
	if in == nil || len(*in) == 0 {
		return nil
	}
	out := map[string][]string{}
	for _, taint := range *in {
		out[taint.Key] = append(out[taint.Key], taint.Value+":"+string(taint.Effect))
	}
	return out
}

// dnsAddress is the address of the cluster's DNS service. It is in the first range.
func dnsAddress(serviceCIDRs []string) (netip.Addr, error) {
	cidr := defaultServiceCIDR
	if len(serviceCIDRs) > 0 {
		cidr = serviceCIDRs[0]
	}
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the range of Services: %w", err)
	}
	address := prefix.Masked().Addr()
	for range dnsServiceIndex {
		address = address.Next()
	}
	if !prefix.Contains(address) {
		return netip.Addr{}, fmt.Errorf("the range of Services %s is too small to hold the address of the cluster's DNS", cidr)
	}
	return address, nil
}
