// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// hostFacts are what a placement is chosen from.
type hostFacts struct {
	nodes []numaNode
	// pageSizes are the sizes of huge pages that the host's CPUs know, in bytes.
	pageSizes []int64
	devices   []hostDevice
	// others are the claims of all other domains.
	others []claims
}

// numaNode is a NUMA node of the host. A host without NUMA has one.
type numaNode struct {
	id   int
	cpus []hostCPU
	// bytes is the memory for ordinary pages, free how much of it nobody uses, not even as a cache.
	bytes, free int64
	// pages are the node's huge pages of the size that is asked for.
	pages struct{ all, free int64 }
}

func (n numaNode) cpuIDs() []int {
	ids := make([]int, len(n.cpus))
	for i, cpu := range n.cpus {
		ids[i] = cpu.id
	}
	return ids
}

// hostCPU is a CPU of the host. CPUs of one core share its units.
type hostCPU struct {
	id   int
	core string
}

// hostDevice is a PCI device of the host.
type hostDevice struct {
	address pciAddress
	// kind is the vendor and the model, as in 10de:1eb8.
	kind string
	// bridge is whether it only connects others.
	bridge bool
	// driver is the driver that has it; empty when none has.
	driver string
	// group is its IOMMU group with all of its members; nil when the host has no IOMMU.
	group []pciAddress
	// use is what the host itself uses it for; empty if that cannot be seen.
	use string
}

// needsPlacement tells whether a machine takes anything of its host for itself.
func needsPlacement(req platform.Request) bool {
	return req.DedicatedCPUs || req.SingleNUMANode || req.HugePageBytes > 0 || len(req.PCIDevices) > 0
}

// place chooses the placement of a machine that takes anything of its host for itself. Until unlock is called no other
// machine of this session is placed, so that the definition is there before the next choice.
func (s *Session) place(ctx context.Context, c *client, req platform.Request) (p placement, unlock func(), err error) {
	if !needsPlacement(req) {
		return placement{}, func() {}, nil
	}
	if unlock, err = s.locks.Lock(ctx, placementKey); err != nil {
		return placement{}, nil, err
	}
	facts, err := gatherFacts(ctx, c, req)
	if err == nil {
		p, err = facts.place(req)
	}
	if err != nil {
		unlock()
		return placement{}, nil, err
	}
	return p, unlock, nil
}

// placementKey is the lock of place. No uuid is like it.
const placementKey = "placement"

// stillPlaced tells whether a definition that was not started yet has what it claims for itself alone.
func stillPlaced(ctx context.Context, c *client, req platform.Request, v view) (bool, error) {
	if !needsPlacement(req) {
		return true, nil
	}
	mine, err := claimsOf(v.domain.xml)
	if err != nil {
		return false, err
	}
	facts, err := gatherFacts(ctx, c, req)
	return err == nil && facts.collision(req, mine) == "", err
}

// gatherFacts asks the host for what the placement of req is chosen from.
func gatherFacts(ctx context.Context, c *client, req platform.Request) (hostFacts, error) {
	caps, err := c.capabilities(ctx)
	if err != nil {
		return hostFacts{}, err
	}
	f := topologyOf(caps, req.HugePageBytes)
	if err := measure(ctx, c, req, f); err != nil {
		return hostFacts{}, err
	}
	definitions, err := c.definitions(ctx)
	if err != nil {
		return hostFacts{}, err
	}
	for _, definition := range definitions {
		claim, err := claimsOf(definition)
		if err != nil {
			return hostFacts{}, err
		}
		if claim.uuid != req.UUID {
			f.others = append(f.others, claim)
		}
	}
	if len(req.PCIDevices) == 0 {
		return f, nil
	}
	devices, err := c.nodeDevices(ctx)
	f.devices = devicesOf(devices)
	return f, err
}

// measure adds to the nodes of f what is free.
func measure(ctx context.Context, c *client, req platform.Request, f hostFacts) error {
	last := 0
	for _, n := range f.nodes {
		last = max(last, n.id)
	}
	free, err := c.freeMemory(ctx, last)
	if err != nil {
		return err
	}
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.id < len(free) {
			n.free = int64(free[n.id])
		}
		if !slices.Contains(f.pageSizes, req.HugePageBytes) {
			continue
		}
		pages, err := c.freePages(ctx, n.id, req.HugePageBytes)
		if err != nil {
			return err
		}
		n.pages.free = int64(pages)
	}
	return nil
}

// topologyOf reads NUMA nodes, CPUs and pages. The first page size that is listed is the ordinary one.
func topologyOf(caps *libvirtxml.Caps, hugePageBytes int64) hostFacts {
	var f hostFacts
	if caps.Host.CPU != nil {
		for _, p := range caps.Host.CPU.PageSizes {
			f.pageSizes = append(f.pageSizes, inBytes(uint64(p.Size), p.Unit))
		}
	}
	slices.Sort(f.pageSizes)
	f.pageSizes = f.pageSizes[min(1, len(f.pageSizes)):]
	if caps.Host.NUMA == nil || caps.Host.NUMA.Cells == nil {
		return f
	}
	for _, cell := range caps.Host.NUMA.Cells.Cells {
		f.nodes = append(f.nodes, nodeOf(cell, f.pageSizes, hugePageBytes))
	}
	return f
}

func nodeOf(cell libvirtxml.CapsHostNUMACell, pageSizes []int64, hugePageBytes int64) numaNode {
	n := numaNode{id: cell.ID}
	if cell.Memory != nil {
		n.bytes = inBytes(cell.Memory.Size, cell.Memory.Unit)
	}
	for _, p := range cell.PageInfo {
		size := inBytes(uint64(p.Size), p.Unit)
		if slices.Contains(pageSizes, size) {
			n.bytes -= size * int64(p.Count)
		}
		if size == hugePageBytes {
			n.pages.all = int64(p.Count)
		}
	}
	if cell.CPUS != nil {
		for _, cpu := range cell.CPUS.CPUs {
			n.cpus = append(n.cpus, hostCPU{id: cpu.ID, core: coreOf(cpu)})
		}
	}
	return n
}

func inBytes(n uint64, unit string) int64 {
	if unit == "KiB" {
		return int64(n) << 10
	}
	return int64(n)
}

// coreOf names the core of a CPU. Where libvirt does not tell, each CPU is taken for a core.
func coreOf(cpu libvirtxml.CapsHostNUMACPU) string {
	if cpu.SocketID == nil || cpu.CoreID == nil {
		return fmt.Sprintf("cpu %d", cpu.ID)
	}
	die := 0
	if cpu.DieID != nil {
		die = *cpu.DieID
	}
	return fmt.Sprintf("%d/%d/%d", *cpu.SocketID, die, *cpu.CoreID)
}

// bridgeClass is how the class of PCI bridges starts.
const bridgeClass = "0x06"

// devicesOf reads the PCI devices among all devices, in the order of their addresses.
func devicesOf(all []*libvirtxml.NodeDevice) []hostDevice {
	byName := make(map[string]*libvirtxml.NodeDevice, len(all))
	for _, d := range all {
		byName[d.Name] = d
	}
	uses := map[string]string{}
	for _, d := range all {
		if use := hostUse(d); use != "" {
			uses[pciAbove(byName, d)] = use
		}
	}
	var devices []hostDevice
	for _, d := range all {
		pci := d.Capability.PCI
		if pci == nil {
			continue
		}
		device := hostDevice{
			address: addressOf(pci.Domain, pci.Bus, pci.Slot, pci.Function),
			kind:    strings.TrimPrefix(pci.Vendor.ID, "0x") + ":" + strings.TrimPrefix(pci.Product.ID, "0x"),
			bridge:  strings.HasPrefix(pci.Class, bridgeClass),
			use:     uses[d.Name],
		}
		if d.Driver != nil {
			device.driver = d.Driver.Name
		}
		if pci.IOMMUGroup != nil {
			for _, a := range pci.IOMMUGroup.Address {
				device.group = append(device.group, addressOf(a.Domain, a.Bus, a.Slot, a.Function))
			}
		}
		devices = append(devices, device)
	}
	slices.SortFunc(devices, func(a, b hostDevice) int { return strings.Compare(a.address.String(), b.address.String()) })
	return devices
}

// hostUse tells what the host visibly uses a device for, so that no machine takes away the host's own disk or uplink.
func hostUse(d *libvirtxml.NodeDevice) string {
	switch c := d.Capability; {
	case c.Storage != nil:
		return "disk " + c.Storage.Block
	case c.Net != nil && c.Net.Link != nil && c.Net.Link.State == "up":
		return "network interface " + c.Net.Interface + ", whose link is up"
	default:
		return ""
	}
}

// pciAbove returns the name of the PCI device that a device hangs on.
func pciAbove(byName map[string]*libvirtxml.NodeDevice, d *libvirtxml.NodeDevice) string {
	for range byName { // as many steps as devices, whatever the parents say
		if d == nil {
			return ""
		}
		if d.Capability.PCI != nil {
			return d.Name
		}
		d = byName[d.Parent]
	}
	return ""
}

func addressOf(domain, bus, slot, function *uint) pciAddress {
	value := func(n *uint) uint {
		if n == nil {
			return 0
		}
		return *n
	}
	return pciAddress{value(domain), value(bus), value(slot), value(function)}
}
