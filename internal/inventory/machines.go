// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"strings"

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

// EndpointOf is the endpoint that something of a machine may be on; empty while nothing of it can be anywhere. Machines
// of earlier versions have no placement: they live where they say, from the moment when their image was pinned.
func EndpointOf(m *infrav1.IngotMachine) string {
	if name := m.Spec.Placement.EndpointName; name != "" {
		return name
	}
	if m.Spec.PinnedImage.Name != "" {
		return m.Spec.Platform.Libvirt.EndpointName
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
	c := Copy{Endpoint: EndpointOf(m), Storage: m.Spec.Platform.Libvirt.StoragePool, SHA256: m.Spec.PinnedImage.SHA256}
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
