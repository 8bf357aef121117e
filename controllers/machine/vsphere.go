// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"strings"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// askOfVSphere is what the spec asks of vSphere, and of no other platform.
func (w *world) askOfVSphere(request *platform.Request) {
	spec := w.infra.Spec.Platform.VSphere
	request.NameOnPlatform = w.nameOnPlatform()
	place := inventory.PlaceOf(w.infra.Spec)
	request.StoragePolicy, request.HostGroup = place.StoragePolicy, hostGroup(place)
	request.HardwareVersion, request.VirtualGPUs = spec.HardwareVersion, spec.VirtualGPUs
	request.ReservedCPUMHz = int64(spec.Reservations.CPUMHz)
	if memory := spec.Reservations.Memory; memory != nil {
		request.ReservedMemoryBytes = memory.Value()
	}
	for _, tag := range spec.Tags {
		request.Tags = append(request.Tags, platform.Tag{Category: tag.Category, Name: tag.Name})
	}
}

// hostGroup is the group of hosts of a place, as the port has it.
func hostGroup(place infrav1.VSpherePlacement) platform.HostGroup {
	return platform.HostGroup{Name: place.HostGroup.Name, Required: place.HostGroup.Affinity == ingotv1.HostAffinityRequired}
}

// nameOnPlatform is what the machine is called on its platform; empty where the platform chooses.
func (w *world) nameOnPlatform() string {
	id := strings.TrimPrefix(w.infra.Spec.ProviderID, providerIDPrefix)
	return strings.NewReplacer(
		"{machine}", w.infra.Name, "{namespace}", w.infra.Namespace, "{cluster}", w.machine.Spec.ClusterName, "{id}", id[:min(8, len(id))],
	).Replace(w.infra.Spec.Platform.VSphere.NameTemplate)
}
