// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"testing"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

func TestWhereAMachineIs(t *testing.T) {
	pinned := infrav1.PinnedImage{Name: "image", SHA256: "abc"}
	for name, c := range map[string]struct {
		why      string
		spec     infrav1.IngotMachineSpec
		endpoint string
		needs    inventory.Copy
	}{
		"a machine that was placed is where it was put": {
			why:      "what it asked for does not matter any more",
			spec:     infrav1.IngotMachineSpec{Placement: infrav1.MachinePlacement{EndpointName: "put"}, PinnedImage: pinned, Platform: on("", "fast")},
			endpoint: "put", needs: inventory.Copy{Endpoint: "put", Storage: "fast", SHA256: "abc"},
		},
		"a machine of an earlier version is where it says": {
			why:      "it has no placement, and its image was pinned before anything was made",
			spec:     infrav1.IngotMachineSpec{PinnedImage: pinned, Platform: on("named", "default")},
			endpoint: "named", needs: inventory.Copy{Endpoint: "named", Storage: "default", SHA256: "abc"},
		},
		"a machine that only names an endpoint is nowhere yet": {
			why:  "nothing was made for it, and the endpoint need not wait for it",
			spec: infrav1.IngotMachineSpec{Platform: on("named", "default")},
		},
		"a machine that selects and was not placed is nowhere yet": {
			why:  "its image may be pinned before its place is found",
			spec: infrav1.IngotMachineSpec{PinnedImage: pinned, Platform: on("", "default")},
		},
		"a machine of vSphere whose datastore was not chosen is nowhere yet": {
			why: "its image was pinned, and nothing is made before the datastore is on record",
			spec: infrav1.IngotMachineSpec{PinnedImage: pinned, Platform: infrav1.MachinePlatform{
				VSphere: infrav1.VSphereMachine{EndpointName: "named", Datacenter: "DC0", ResourcePool: "pool", StoragePolicy: "gold"},
			}},
		},
		"a machine of vSphere of an earlier version is where it says": {
			why: "it names its datastore",
			spec: infrav1.IngotMachineSpec{PinnedImage: pinned, Platform: infrav1.MachinePlatform{
				VSphere: infrav1.VSphereMachine{EndpointName: "named", Datacenter: "DC0", ResourcePool: "pool", Datastore: "vsan", StoragePolicy: "gold"},
			}},
			endpoint: "named", needs: inventory.Copy{Endpoint: "named", Storage: "DC0/vsan", SHA256: "abc"},
		},
		"a machine that was placed before its image was pinned needs no copy yet": {
			why:      "there is no copy without a digest",
			spec:     infrav1.IngotMachineSpec{Placement: infrav1.MachinePlacement{EndpointName: "put"}, Platform: on("", "fast")},
			endpoint: "put",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &infrav1.IngotMachine{Spec: c.spec}
			if got := inventory.EndpointOf(m); got != c.endpoint {
				t.Errorf("it is on %q, want %q: %s", got, c.endpoint, c.why)
			}
			if got := inventory.NeededBy(m); got != c.needs {
				t.Errorf("it needs %+v, want %+v: %s", got, c.needs, c.why)
			}
		})
	}
}

// A machine that was put into a failure domain before policies were a part of it has its own, or it would be put under another
// one than it was made with.
func TestPolicyOfAPlace(t *testing.T) {
	spec := infrav1.IngotMachineSpec{Platform: infrav1.MachinePlatform{VSphere: infrav1.VSphereMachine{Datacenter: "DC0", StoragePolicy: "gold"}}}
	spec.Placement.VSphere = infrav1.VSpherePlacement{ResourcePool: "pool", Datastore: "vsan", Networks: []string{"net"}}
	if got := inventory.PlaceOf(spec); got.StoragePolicy != "gold" || got.Datastore != "vsan" {
		t.Errorf("got %+v", got)
	}
	spec.Placement.VSphere.StoragePolicy = "silver"
	if got := inventory.PlaceOf(spec); got.StoragePolicy != "silver" {
		t.Errorf("got %+v", got)
	}
}

func on(endpoint, pool string) infrav1.MachinePlatform {
	return infrav1.MachinePlatform{Libvirt: infrav1.LibvirtMachine{EndpointName: endpoint, StoragePool: pool}}
}

func TestUUID(t *testing.T) {
	for providerID, want := range map[string]string{
		"":                        "",
		"libvirt:///abc":          "",
		"ingot://0e5e6f3c-0000-4": "0e5e6f3c-0000-4",
	} {
		m := &infrav1.IngotMachine{Spec: infrav1.IngotMachineSpec{ProviderID: providerID}}
		if got := inventory.UUID(m); got != want {
			t.Errorf("the uuid of %q is %q, want %q", providerID, got, want)
		}
	}
}

// A machine and the replica that it needs must find each other by the same key, and nothing may find the empty one.
func TestCopies(t *testing.T) {
	replica := &ingotv1.ImageReplica{Spec: ingotv1.ImageReplicaSpec{EndpointName: "put", Storage: "fast", Artefact: ingotv1.Artefact{SHA256: "abc"}}}
	want := inventory.Copy{Endpoint: "put", Storage: "fast", SHA256: "abc"}
	if got := inventory.CopyOf(replica); got != want || got.Key() != want.Key() || got.Key() == "" {
		t.Errorf("the replica stands for %+v (%q), want %+v", got, got.Key(), want)
	}
	if key := (inventory.Copy{}).Key(); key != "" {
		t.Errorf("no copy has the key %q", key)
	}
}
