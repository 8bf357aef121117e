// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"reflect"
	"strings"
	"testing"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/placement"
)

// A machine that lands in another failure domain than it was asked into is a control plane that is lost with one site: what a
// domain names counts, what it does not name is as the machine says, and a domain that nobody has is refused by its name.
func TestFailureDomainsOfAVCenter(t *testing.T) {
	vCenter := host("vc", func(c *placement.Candidate) {
		c.Endpoint.Spec.FailureDomain = ""
		c.Endpoint.Spec.VSphere = ingotv1.VSphereEndpoint{Server: "vcenter.example.org", FailureDomains: []ingotv1.VSphereFailureDomain{
			{Name: "az1", ResourcePool: "cluster-1/Resources/kubernetes", Datastore: "vsan-1", Networks: []ingotv1.VSphereNetwork{{Name: "nodes", PortGroup: "nodes-1"}}},
			{Name: "az2", ResourcePool: "cluster-2"},
			{Name: "az3", StoragePolicy: "gold", HostGroup: ingotv1.VSphereHostGroup{Name: "rack", Affinity: ingotv1.HostAffinityPreferred}},
		}}
	})
	said := infrav1.VSpherePlacement{ResourcePool: "cluster-0", Datastore: "vsan-0", StoragePolicy: "silver", Networks: []string{"nodes", "backup"}}
	for name, c := range map[string]struct {
		domain string
		want   infrav1.MachinePlacement
		says   string
	}{
		"what the domain names is taken, and the other network is as the machine says": {"az1", infrav1.MachinePlacement{
			EndpointName: "vc", FailureDomain: "az1",
			VSphere: infrav1.VSpherePlacement{ResourcePool: "cluster-1/Resources/kubernetes", Datastore: "vsan-1", StoragePolicy: "silver", Networks: []string{"nodes-1", "backup"}},
		}, ""},
		"what the domain does not name is as the machine says": {"az2", infrav1.MachinePlacement{
			EndpointName: "vc", FailureDomain: "az2",
			VSphere: infrav1.VSpherePlacement{ResourcePool: "cluster-2", Datastore: "vsan-0", StoragePolicy: "silver", Networks: []string{"nodes", "backup"}},
		}, ""},
		"the policy and the hosts of the domain are taken": {"az3", infrav1.MachinePlacement{
			EndpointName: "vc", FailureDomain: "az3",
			VSphere: infrav1.VSpherePlacement{
				ResourcePool: "cluster-0", Datastore: "vsan-0", StoragePolicy: "gold", Networks: []string{"nodes", "backup"},
				HostGroup: ingotv1.VSphereHostGroup{Name: "rack", Affinity: ingotv1.HostAffinityPreferred},
			},
		}, ""},
		"a machine that asks for no domain is put where it says": {"", infrav1.MachinePlacement{EndpointName: "vc"}, ""},
		"a domain that the vCenter does not have is refused":     {"az9", infrav1.MachinePlacement{}, `PlatformEndpoint vc has the failure domains az1, az2, az3 (spec.vsphere.failureDomains), and spec.failureDomain of the Machine is "az9"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, endpoint := range []string{"vc", ""} {
				needs := worker(func(n *placement.Needs) {
					n.EndpointName, n.Platform, n.FailureDomain, n.Said = endpoint, ingotv1.ArtefactPlatformVSphere, c.domain, said
				})
				_, placed, refusal := placement.Choose(needs, []placement.Candidate{vCenter, host("other")})
				if c.says != "" {
					if refusal == nil || !strings.Contains(refusal.Message, c.says) {
						t.Errorf("refused with %+v, want one that says %q", refusal, c.says)
					}
					continue
				}
				if refusal != nil || !reflect.DeepEqual(placed, c.want) {
					t.Errorf("placed %+v (%+v), want %+v", placed, refusal, c.want)
				}
			}
		})
	}
}
