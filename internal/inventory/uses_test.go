// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// What is missing from these is not asked about, and what is too much there raises a false alarm.
func TestUses(t *testing.T) {
	endpoint := &ingotv1.PlatformEndpoint{}
	endpoint.Name, endpoint.Labels = "east", map[string]string{"site": "a"}
	endpoint.Spec.VSphere = ingotv1.VSphereEndpoint{Server: "vcenter.example.org", FailureDomains: []ingotv1.VSphereFailureDomain{{
		Name: "rack", ResourcePool: "rack", Datastore: "nfs", Networks: []ingotv1.VSphereNetwork{{Name: "net", PortGroup: "rack-net"}},
		HostGroup: ingotv1.VSphereHostGroup{Name: "rack a", Affinity: ingotv1.HostAffinityRequired},
	}}}
	at := func(folder, name string, selector map[string]string) infrav1.IngotMachineSpec {
		spec := infrav1.IngotMachineSpec{Networks: []infrav1.MachineNetwork{{Name: "net"}}}
		spec.Platform.VSphere = infrav1.VSphereMachine{Datacenter: "DC0", Datastore: "vsan", ResourcePool: "pool", Folder: folder, EndpointName: name}
		if selector != nil {
			spec.Platform.VSphere.EndpointSelector = &metav1.LabelSelector{MatchLabels: selector}
		}
		return spec
	}
	template := func(spec infrav1.IngotMachineSpec) infrav1.IngotMachineTemplate {
		var t infrav1.IngotMachineTemplate
		t.Spec.Template.Spec = spec
		return t
	}
	placed := infrav1.IngotMachine{Spec: at("machines", "", map[string]string{"site": "a"})}
	placed.Spec.Placement.EndpointName = "east"
	image := ingotv1.NodeImage{}
	image.Spec.Artefacts = []ingotv1.Artefact{
		{Platform: ingotv1.ArtefactPlatformVSphere, Source: "template://b"}, {Platform: ingotv1.ArtefactPlatformLibvirt, Source: "https://disk"},
	}
	endpoint.Spec.VSphere.Images = []ingotv1.VSphereImages{{Datacenter: "DC0", Folder: "images", ResourcePools: []string{"pool"}}}
	got := inventory.UsesOf(endpoint,
		[]infrav1.IngotMachine{placed, {Spec: at("elsewhere", "", nil)}},
		[]infrav1.IngotMachineTemplate{
			template(at("named", "east", nil)), template(at("named", "east", nil)), template(at("selected", "", map[string]string{"site": "a"})),
			template(at("other", "west", nil)), template(at("other", "", map[string]string{"site": "b"})),
			template(infrav1.IngotMachineSpec{Platform: on("east", "default")}),
		},
		[]ingotv1.NodeImage{image, image},
	)
	place := func(folder string) platform.Place {
		return platform.Place{Storage: "DC0/vsan", Folder: folder, ResourcePool: "pool", Networks: []string{"net"}}
	}
	inRack := func(folder string) platform.Place {
		return platform.Place{Storage: "DC0/nfs", Folder: folder, ResourcePool: "rack", Networks: []string{"rack-net"}, HostGroup: "rack a"}
	}
	want := platform.Uses{
		Images:  []platform.ImagePlace{{Datacenter: "DC0", Folder: "images", ResourcePools: []string{"pool"}}},
		Places:  []platform.Place{inRack("named"), inRack("selected"), place("machines"), place("named"), place("selected")},
		Sources: []string{"template://b"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("used is %+v, want %+v", got, want)
	}
}

// Each datacenter of a vCenter has its own place for images, and one that names none has the platform's.
func TestImagesAt(t *testing.T) {
	t.Parallel()
	endpoint := &ingotv1.PlatformEndpoint{}
	endpoint.Spec.VSphere.Images = []ingotv1.VSphereImages{{Datacenter: "DC0", Folder: "a"}, {Datacenter: "DC1", Folder: "b"}}
	for storage, want := range map[string]string{"DC0/vsan": "a", "DC1/vsan": "b", "DC2/vsan": "", "default": ""} {
		if got := inventory.ImagesAt(endpoint, storage).Folder; got != want {
			t.Errorf("images on %s are in %q, want %q", storage, got, want)
		}
	}
}
