// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// providerIDPrefix is what a provider ID of ours starts with; the machine's uuid follows.
const providerIDPrefix = "ingot://"

// UUID is the identity of a machine on every platform; empty before it was chosen.
func UUID(m *infrav1.IngotMachine) string {
	uuid, ours := strings.CutPrefix(m.Spec.ProviderID, providerIDPrefix)
	if !ours {
		return ""
	}
	return uuid
}

// PlatformOf is the platform that a machine lives on.
func PlatformOf(spec infrav1.IngotMachineSpec) ingotv1.ArtefactPlatform {
	if spec.Platform.VSphere.Datacenter != "" {
		return ingotv1.ArtefactPlatformVSphere
	}
	return ingotv1.ArtefactPlatformLibvirt
}

// WantedEndpoint is how a machine says where it wants to live: by the name of an endpoint, or by a selector.
func WantedEndpoint(spec infrav1.IngotMachineSpec) (name string, selector *metav1.LabelSelector) {
	if PlatformOf(spec) == ingotv1.ArtefactPlatformVSphere {
		return spec.Platform.VSphere.EndpointName, spec.Platform.VSphere.EndpointSelector
	}
	return spec.Platform.Libvirt.EndpointName, spec.Platform.Libvirt.EndpointSelector
}

// StorageOf is where on its endpoint the disks of a machine are, as the port names it.
func StorageOf(spec infrav1.IngotMachineSpec) string { return storageIn(spec, PlaceOf(spec).Datastore) }

// storageIn is the same for a datastore, on the platform that has such.
func storageIn(spec infrav1.IngotMachineSpec, datastore string) string {
	if PlatformOf(spec) == ingotv1.ArtefactPlatformVSphere {
		return spec.Platform.VSphere.Datacenter + "/" + datastore
	}
	return spec.Platform.Libvirt.StoragePool
}

// PlaceOf is where inside its vCenter a machine is: where it was put in a failure domain, or where it says.
func PlaceOf(spec infrav1.IngotMachineSpec) infrav1.VSpherePlacement {
	vsphere := spec.Platform.VSphere
	if put := spec.Placement.VSphere; put.ResourcePool != "" {
		put.StoragePolicy = cmp.Or(put.StoragePolicy, vsphere.StoragePolicy) // earlier versions wrote none
		return put
	}
	said := infrav1.VSpherePlacement{ResourcePool: vsphere.ResourcePool, Datastore: vsphere.Datastore, StoragePolicy: vsphere.StoragePolicy}
	for _, network := range spec.Networks {
		said.Networks = append(said.Networks, network.Name)
	}
	return said
}

// EndpointOf is the endpoint that something of a machine may be on; empty while nothing of it can be anywhere. Machines
// of earlier versions have no placement: they live where they say, from the moment when their image was pinned. One that says
// no datastore is nowhere before one was chosen.
func EndpointOf(m *infrav1.IngotMachine) string {
	if name := m.Spec.Placement.EndpointName; name != "" {
		return name
	}
	undecided := PlatformOf(m.Spec) == ingotv1.ArtefactPlatformVSphere && PlaceOf(m.Spec).Datastore == ""
	if m.Spec.PinnedImage.Name != "" && !undecided {
		name, _ := WantedEndpoint(m.Spec)
		return name
	}
	return ""
}

// Copy names the copy of an artefact on a storage of an endpoint. The zero value is no copy.
type Copy struct {
	// Endpoint, Storage and SHA256 are where the copy is, and of what.
	Endpoint, Storage, SHA256 string
}

// NeededBy is the copy that a machine's root disk is cloned from; the zero value while it needs none. A machine needs it
// until it is gone.
func NeededBy(m *infrav1.IngotMachine) Copy {
	c := Copy{Endpoint: EndpointOf(m), Storage: StorageOf(m.Spec), SHA256: m.Spec.PinnedImage.SHA256}
	if c.Endpoint == "" || c.SHA256 == "" {
		return Copy{}
	}
	return c
}

// CopyOf is the copy that a replica stands for.
func CopyOf(r *ingotv1.ImageReplica) Copy {
	return Copy{Endpoint: r.Spec.EndpointName, Storage: r.Spec.Storage, SHA256: r.Spec.Artefact.SHA256}
}

// Key is the copy as one word, for indexes; empty for the zero value.
func (c Copy) Key() string {
	if c == (Copy{}) {
		return ""
	}
	return c.Endpoint + "/" + c.Storage + "/" + c.SHA256
}
