// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/placement"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// placesOf are where inside its endpoint a machine is put, or machines of a template may be: where they say, and in each of the
// failure domains.
func placesOf(spec infrav1.IngotMachineSpec, domains []ingotv1.VSphereFailureDomain) []platform.Place {
	said := PlaceOf(spec)
	all := []infrav1.VSpherePlacement{said}
	for _, d := range domains {
		all = append(all, placement.Inside(d, said))
	}
	var places []platform.Place
	for _, at := range all {
		places = append(places, platform.Place{
			Storage: storageIn(spec, at.Datastore), Folder: spec.Platform.VSphere.Folder, ResourcePool: at.ResourcePool, Networks: at.Networks,
			HostGroup: at.HostGroup.Name,
		})
	}
	return places
}

// ImagesAt is where images are put on a storage of an endpoint; the zero value where the endpoint does not say.
func ImagesAt(endpoint *ingotv1.PlatformEndpoint, storage string) ingotv1.VSphereImages {
	datacenter, _, _ := strings.Cut(storage, "/")
	for _, images := range endpoint.Spec.VSphere.Images {
		if images.Datacenter == datacenter {
			return images
		}
	}
	return ingotv1.VSphereImages{}
}

// MayBeOn is whether machines of a spec may be put on an endpoint, as far as the spec says where.
func MayBeOn(spec infrav1.IngotMachineSpec, endpoint *ingotv1.PlatformEndpoint) bool {
	if (PlatformOf(spec) == ingotv1.ArtefactPlatformVSphere) != (endpoint.Spec.VSphere.Server != "") {
		return false
	}
	name, selector := WantedEndpoint(spec)
	if name != "" || selector == nil {
		return name == endpoint.Name
	}
	wanted, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && wanted.Matches(labels.Set(endpoint.Labels))
}

// UsesOf is what machines and templates of machines use on an endpoint, and which images they may be made from: each once, in a
// stable order.
func UsesOf(
	endpoint *ingotv1.PlatformEndpoint, machines []infrav1.IngotMachine, templates []infrav1.IngotMachineTemplate, images []ingotv1.NodeImage,
) platform.Uses {
	var used platform.Uses
	for _, images := range endpoint.Spec.VSphere.Images {
		used.Images = append(used.Images, platform.ImagePlace{Datacenter: images.Datacenter, Folder: images.Folder, ResourcePools: images.ResourcePools})
	}
	for i := range machines {
		if EndpointOf(&machines[i]) == endpoint.Name {
			used.Places = append(used.Places, placesOf(machines[i].Spec, nil)...)
		}
	}
	for i := range templates {
		if spec := templates[i].Spec.Template.Spec; MayBeOn(spec, endpoint) {
			used.Places = append(used.Places, placesOf(spec, endpoint.Spec.VSphere.FailureDomains)...)
		}
	}
	for i := range images {
		for _, artefact := range images[i].Spec.Artefacts {
			if (artefact.Platform == ingotv1.ArtefactPlatformVSphere) == (endpoint.Spec.VSphere.Server != "") {
				used.Sources = append(used.Sources, artefact.Source)
			}
		}
	}
	slices.SortFunc(used.Places, comparePlaces)
	used.Places = slices.CompactFunc(used.Places, func(a, b platform.Place) bool { return comparePlaces(a, b) == 0 })
	slices.Sort(used.Sources)
	used.Sources = slices.Compact(used.Sources)
	return used
}

func comparePlaces(a, b platform.Place) int {
	return cmp.Or(
		cmp.Compare(a.Storage, b.Storage), cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.ResourcePool, b.ResourcePool), slices.Compare(a.Networks, b.Networks),
		cmp.Compare(a.HostGroup, b.HostGroup),
	)
}
