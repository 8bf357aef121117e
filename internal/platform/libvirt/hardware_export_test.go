// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Host is a host as it describes itself in XML, for Place.
type Host struct {
	Capabilities string
	// Free is the free memory of each NUMA node, Pages its free huge pages.
	Free, Pages map[int]int64
	// Definitions are those of other domains, Devices those of the host.
	Definitions, Devices []string
}

// Placement is what was chosen, for people.
type Placement struct {
	CPUs     []int
	Emulator int
	Node     int // -1 for any
	Devices  []string
}

func (h Host) facts(req platform.Request) (hostFacts, error) {
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(h.Capabilities); err != nil {
		return hostFacts{}, err
	}
	f := topologyOf(&caps, req.HugePageBytes)
	for i := range f.nodes {
		n := &f.nodes[i]
		n.free, n.pages.free = h.Free[n.id], h.Pages[n.id]
	}
	for _, d := range h.Definitions {
		c, err := claimsOf(d)
		if err != nil {
			return hostFacts{}, err
		}
		f.others = append(f.others, c)
	}
	var devices []*libvirtxml.NodeDevice
	for _, doc := range h.Devices {
		d := &libvirtxml.NodeDevice{}
		if err := d.Unmarshal(doc); err != nil {
			return hostFacts{}, err
		}
		devices = append(devices, d)
	}
	f.devices = devicesOf(devices)
	return f, nil
}

// Place chooses a placement, and renders the definition with it.
func Place(h Host, req platform.Request) (Placement, string, error) {
	f, err := h.facts(req)
	if err != nil {
		return Placement{}, "", err
	}
	placed, err := f.place(req)
	if err != nil {
		return Placement{}, "", err
	}
	text, _, err := hardware{req: req, poolPath: "/pool", placed: placed}.render()
	p := Placement{CPUs: slices.Clone(placed.pins), Emulator: placed.emulator, Node: -1}
	if placed.node != nil {
		p.Node = placed.node.id
	}
	for _, d := range placed.devices {
		p.Devices = append(p.Devices, d.String())
	}
	return p, text, err
}

// Collision tells what a definition has in common with those of the host, or lacks.
func Collision(h Host, req platform.Request, definition string) (string, error) {
	f, err := h.facts(req)
	if err != nil {
		return "", err
	}
	mine, err := claimsOf(definition)
	return f.collision(req, mine), err
}

// CheckCapabilities judges a request by the domain capabilities of a host.
func CheckCapabilities(req platform.Request, capabilities string) error {
	var caps libvirtxml.DomainCaps
	if err := caps.Unmarshal(capabilities); err != nil {
		return err
	}
	return checkCapabilities(req, &caps)
}

// CheckMTU judges an MTU by the definition of a network.
func CheckMTU(network string, mtu int32) error {
	var n libvirtxml.Network
	if err := n.Unmarshal(network); err != nil {
		return err
	}
	return checkMTU(&n, mtu)
}

// ClaimsText is what a definition claims, for people: CPUs and devices.
func ClaimsText(definition string) (cpus []int, devices []string, err error) {
	c, err := claimsOf(definition)
	for _, d := range c.devices {
		devices = append(devices, d.String())
	}
	return c.cpus, devices, err
}

// DiskVolume is the name of the volume of a further disk.
func DiskVolume(id platform.Identity, name string) string { return namesOf(id).disk(name) }

// Pure functions that tests call as they are.
var (
	CheckRequest = checkRequest
	FirstBytes   = firstBytes
	ParseSet     = parseSet
)
