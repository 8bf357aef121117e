// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"encoding/xml"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Our element in the metadata of a domain definition.
const (
	markNamespace = "https://ingot.dev/libvirt/v1"
	markPrefix    = "ingot"
)

// stage is how far the first start has come. It only ever moves forward, and each step is written down before the
// next may have an effect:
//
//	(none)    the guest has never run. The domain may be rebuilt and started.
//	starting  QEMU was started with the guest stopped; from here on the guest may have run.
//	started   the guest was let go. Nobody starts or changes the domain any more.
//
// Because the guest runs only after "starting" is on disk, a domain that is off and has no stage never ran, and one
// that is off and has a stage is never started a second time, whenever the manager or the host was killed.
type stage string

const (
	stageNone     stage = ""
	stageStarting stage = "starting"
	stageStarted  stage = "started"
)

// mark is the owner token of a domain with what must be remembered beside it.
type mark struct {
	XMLName xml.Name `xml:"instance"`
	// Machine and ManagementCluster are the owner token.
	Machine           string `xml:"machine,attr"`
	ManagementCluster string `xml:"management-cluster,attr"`
	// Storage is where the volumes are, the rest of the identity.
	Storage string `xml:"storage,attr"`
	// Revision is a digest over everything that the definition was rendered from.
	Revision string `xml:"revision,attr"`
	Stage    stage  `xml:"stage,attr,omitempty"`
	// Addresses are the static addresses, each with the number of its interface.
	Addresses string `xml:"addresses,attr,omitempty"`
}

// owns returns whether the mark is the owner token of id.
func (m mark) owns(id platform.Identity) bool {
	return m.Machine == id.UUID && m.ManagementCluster == id.ManagementClusterID
}

// element renders the mark as libvirt wants it in a call: the namespace comes from the call.
func (m mark) element() (string, error) {
	out, err := xml.Marshal(m)
	return string(out), err
}

// metadata renders the mark as it stands in a definition.
func (m mark) metadata() (*libvirtxml.DomainMetadata, error) {
	type qualified struct {
		mark
		XMLName xml.Name `xml:"ingot:instance"`
		NS      string   `xml:"xmlns:ingot,attr"`
	}
	out, err := xml.Marshal(qualified{mark: m, NS: markNamespace})
	if err != nil {
		return nil, err
	}
	return &libvirtxml.DomainMetadata{XML: string(out)}, nil
}

// readMark finds the mark in the metadata of a definition. A domain without one is nobody's that we know.
func readMark(metadata *libvirtxml.DomainMetadata) (mark, error) {
	var found struct {
		Instance mark `xml:"https://ingot.dev/libvirt/v1 instance"`
	}
	if metadata == nil {
		return mark{}, nil
	}
	if err := xml.Unmarshal([]byte("<metadata>"+metadata.XML+"</metadata>"), &found); err != nil {
		return mark{}, fmt.Errorf("metadata of the domain: %w", err)
	}
	return found.Instance, nil
}
