// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// claims are what a definition takes of its host for itself alone, whoever wrote it: nothing else may get the same. They
// are read from the definition, so that there is no second book to keep.
type claims struct {
	// uuid and name say whose claims they are.
	uuid, name string
	// cpus are the host's CPUs that a virtual CPU is pinned to alone. Whoever pins to several shares them.
	cpus []int
	// devices are the host's PCI devices.
	devices []pciAddress
	// bound is whether the memory is bound to one NUMA node, node which one, and memory how much of it is ordinary pages.
	bound  bool
	node   int
	memory int64
}

// pciAddress is the address of a PCI device of the host.
type pciAddress struct{ domain, bus, slot, function uint }

func (a pciAddress) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.domain, a.bus, a.slot, a.function)
}

// claimed is what is read of a definition: so little that a definition with anything unheard-of in it can be read too.
type claimed struct {
	UUID   string `xml:"uuid"`
	Name   string `xml:"name"`
	Memory int64  `xml:"memory"` // libvirt writes KiB
	Pins   []struct {
		CPUs string `xml:"cpuset,attr"`
	} `xml:"cputune>vcpupin"`
	Bound *struct {
		Mode  string `xml:"mode,attr"`
		Nodes string `xml:"nodeset,attr"`
	} `xml:"numatune>memory"`
	HugePages  *struct{}     `xml:"memoryBacking>hugepages"`
	Hostdevs   []claimedFrom `xml:"devices>hostdev"`
	Interfaces []claimedFrom `xml:"devices>interface"`
	Disks      []claimedFrom `xml:"devices>disk"`
}

// claimedFrom is a device that may be one of the host's.
type claimedFrom struct {
	Address *struct {
		Domain   string `xml:"domain,attr"`
		Bus      string `xml:"bus,attr"`
		Slot     string `xml:"slot,attr"`
		Function string `xml:"function,attr"`
	} `xml:"source>address"`
}

// claimsOf reads the claims of a definition as libvirt writes it.
func claimsOf(definition string) (claims, error) {
	var read claimed
	if err := xml.Unmarshal([]byte(definition), &read); err != nil {
		return claims{}, fmt.Errorf("definition of a domain: %w", err)
	}
	c := claims{uuid: read.UUID, name: read.Name}
	for _, pin := range read.Pins {
		cpus, err := parseSet(pin.CPUs)
		if err != nil {
			return claims{}, fmt.Errorf("vcpupin of domain %s: %w", read.Name, err)
		}
		if len(cpus) == 1 {
			c.cpus = append(c.cpus, cpus[0])
		}
	}
	if read.Bound != nil && read.Bound.Mode == bindStrictly {
		nodes, err := parseSet(read.Bound.Nodes)
		if err != nil {
			return claims{}, fmt.Errorf("numatune of domain %s: %w", read.Name, err)
		}
		if len(nodes) == 1 {
			c.bound, c.node = true, nodes[0]
		}
	}
	if c.bound && read.HugePages == nil {
		c.memory = read.Memory << 10
	}
	for _, from := range [][]claimedFrom{read.Hostdevs, read.Interfaces, read.Disks} {
		for _, device := range from {
			if a, ok := device.pci(); ok {
				c.devices = append(c.devices, a)
			}
		}
	}
	return c, nil
}

// pci returns the address of a PCI device of the host, if the device is one.
func (f claimedFrom) pci() (pciAddress, bool) {
	if f.Address == nil {
		return pciAddress{}, false
	}
	var a pciAddress
	for _, part := range []struct {
		text string
		to   *uint
	}{{f.Address.Domain, &a.domain}, {f.Address.Bus, &a.bus}, {f.Address.Slot, &a.slot}, {f.Address.Function, &a.function}} {
		n, err := strconv.ParseUint(part.text, 0, 32)
		if err != nil {
			return pciAddress{}, false
		}
		*part.to = uint(n)
	}
	return a, true
}

// parseSet reads a set of numbers as libvirt writes it, for example 0-3,8.
func parseSet(text string) ([]int, error) {
	var set []int
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no set of numbers", text)
		}
		for n := first; n <= last; n++ {
			set = append(set, int(n))
		}
	}
	return set, nil
}

// formatSet writes a set of numbers as libvirt reads it.
func formatSet(set []int) string {
	var parts []string
	for _, n := range set {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ",")
}
