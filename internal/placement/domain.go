// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// Domains are the failure domains that machines on an endpoint can be put into.
func Domains(e *ingotv1.PlatformEndpoint) []string {
	var names []string
	if e.Spec.FailureDomain != "" {
		names = append(names, e.Spec.FailureDomain)
	}
	for _, d := range e.Spec.VSphere.FailureDomains {
		names = append(names, d.Name)
	}
	return names
}

// domain returns where on an endpoint a machine is put: in the endpoint's one failure domain, or in that of a vCenter that the
// Machine asks for. A machine that asks for none is put where it says.
func domain(needs Needs, e *ingotv1.PlatformEndpoint) (infrav1.MachinePlacement, *Refusal) {
	placed := infrav1.MachinePlacement{EndpointName: e.Name, FailureDomain: e.Spec.FailureDomain}
	wanted := needs.FailureDomain
	if wanted != "" && !slices.Contains(Domains(e), wanted) {
		return placed, &Refusal{
			Reason:  infrav1.NoEndpointReason,
			Message: fmt.Sprintf("%s, and spec.failureDomain of the Machine is %q", inDomains(e), wanted),
		}
	}
	at := slices.IndexFunc(e.Spec.VSphere.FailureDomains, func(d ingotv1.VSphereFailureDomain) bool { return d.Name == wanted })
	if at < 0 {
		return placed, nil
	}
	d := e.Spec.VSphere.FailureDomains[at]
	placed.FailureDomain, placed.VSphere = d.Name, Inside(d, needs.Said)
	return placed, nil
}

// Inside is where in a failure domain of a vCenter a machine is put that says where it wants to be.
func Inside(d ingotv1.VSphereFailureDomain, said infrav1.VSpherePlacement) infrav1.VSpherePlacement {
	put := infrav1.VSpherePlacement{
		ResourcePool: cmp.Or(d.ResourcePool, said.ResourcePool), Datastore: cmp.Or(d.Datastore, said.Datastore),
		StoragePolicy: cmp.Or(d.StoragePolicy, said.StoragePolicy), HostGroup: d.HostGroup,
	}
	for _, name := range said.Networks {
		put.Networks = append(put.Networks, meant(d, name))
	}
	return put
}

// meant is the port group that the name of a network means in a failure domain.
func meant(d ingotv1.VSphereFailureDomain, name string) string {
	for _, network := range d.Networks {
		if network.Name == name {
			return network.PortGroup
		}
	}
	return name
}

// inDomains says which failure domains an endpoint has.
func inDomains(e *ingotv1.PlatformEndpoint) string {
	if len(e.Spec.VSphere.FailureDomains) == 0 {
		return fmt.Sprintf("PlatformEndpoint %s is in failure domain %q", e.Name, e.Spec.FailureDomain)
	}
	return fmt.Sprintf("PlatformEndpoint %s has the failure domains %s (spec.vsphere.failureDomains)", e.Name, strings.Join(Domains(e), ", "))
}
