// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// bindStrictly is the mode of a domain's memory that takes it from the named NUMA nodes or fails.
const bindStrictly = "strict"

// placement is what was chosen for an instance on its host. The zero value leaves everything to the host.
//
// It is kept in the definition and nowhere else. The request alone decides whether a definition is made anew: another
// choice would be as good.
type placement struct {
	// pins are the host's CPUs of the virtual CPUs, in order; emulator is the CPU of QEMU's other threads.
	pins     []int
	emulator int
	// node is the NUMA node of CPUs and memory; nil when any will do.
	node *numaNode
	// devices are the host's PCI devices.
	devices []pciAddress
}

// place chooses a placement for req, or says what is lacking. It is pure.
func (f hostFacts) place(req platform.Request) (placement, error) {
	var p placement
	if err := f.checkPages(req); err != nil {
		return p, err
	}
	nodes := f.nodes
	if req.SingleNUMANode {
		node, err := f.chooseNode(req)
		if err != nil {
			return p, err
		}
		p.node, nodes = &node, []numaNode{node}
	}
	if req.DedicatedCPUs {
		var err error
		if p.pins, p.emulator, err = f.chooseCPUs(req, nodes); err != nil {
			return p, err
		}
	}
	var err error
	p.devices, err = f.chooseDevices(req)
	return p, err
}

// checkPages refuses huge pages that the host does not have. On which node they are is not asked here.
func (f hostFacts) checkPages(req platform.Request) error {
	size := req.HugePageBytes
	if size == 0 {
		return nil
	}
	if !slices.Contains(f.pageSizes, size) {
		return fmt.Errorf("%w: spec.resources.hugePages: the CPUs of the host have no huge pages of %d KiB", platform.ErrUnsupported, size>>10)
	}
	need, all, free := req.MemoryBytes/size, int64(0), int64(0)
	for _, n := range f.nodes {
		all, free = all+n.pages.all, free+n.pages.free
	}
	switch {
	case all < need:
		return fmt.Errorf("%w: spec.resources.hugePages: the host has reserved %d pages of %d KiB and the machine needs %d: "+
			"reserve more on the host (hugepages= on its kernel command line, or vm.nr_hugepages)", platform.ErrUnsupported, all, size>>10, need)
	case free < need:
		return fmt.Errorf("%w: spec.resources.hugePages: %d of the host's %d pages of %d KiB are free and the machine needs %d",
			platform.ErrCapacity, free, all, size>>10, need)
	default:
		return nil
	}
}

// chooseNode returns the node with the most free memory among those that have room for the machine. Room is what
// definitions have not claimed: free memory is no measure of it, since the kernel fills it with caches that it gives back.
func (f hostFacts) chooseNode(req platform.Request) (numaNode, error) {
	var room []numaNode
	large := false
	for _, n := range f.nodes {
		cpus, memory := f.sizeOf(req, n)
		large = large || cpus >= int(req.CPUs) && memory >= req.MemoryBytes
		cpus, memory = f.roomOf(req, n)
		if cpus >= int(req.CPUs) && memory >= req.MemoryBytes {
			room = append(room, n)
		}
	}
	what := fmt.Sprintf("spec.resources.numaPolicy Single: the machine needs %d CPUs and %d MiB of one NUMA node", req.CPUs, req.MemoryBytes>>20)
	switch {
	case len(room) > 0:
		slices.SortStableFunc(room, func(a, b numaNode) int { return cmp.Compare(b.measure(req), a.measure(req)) })
		return room[0], nil
	case large:
		return numaNode{}, fmt.Errorf("%w: %s, and other machines have claimed so much that no node has them left", platform.ErrCapacity, what)
	default:
		return numaNode{}, fmt.Errorf("%w: %s, and no node of the host is that large", platform.ErrUnsupported, what)
	}
}

// sizeOf returns how many CPUs and how much memory a node could give to the machine if it were alone.
func (f hostFacts) sizeOf(req platform.Request, n numaNode) (cpus int, memory int64) {
	cpus, memory = len(n.cpus), n.bytes
	if req.DedicatedCPUs {
		cpus = len(f.dedicable(n, nil))
	}
	if req.HugePageBytes > 0 {
		memory = n.pages.all * req.HugePageBytes
	}
	return cpus, memory
}

// roomOf returns how many CPUs and how much memory a node can give to the machine now.
func (f hostFacts) roomOf(req platform.Request, n numaNode) (cpus int, memory int64) {
	cpus, memory = len(n.cpus), n.bytes-f.bound(n.id)
	if req.DedicatedCPUs {
		cpus = len(f.dedicable(n, f.claimedCPUs()))
	}
	if req.HugePageBytes > 0 {
		memory = n.pages.free * req.HugePageBytes
	}
	return cpus, memory
}

// measure is the memory of the kind that the machine takes that is free on the node now.
func (n numaNode) measure(req platform.Request) int64 {
	if req.HugePageBytes > 0 {
		return n.pages.free * req.HugePageBytes
	}
	return n.free
}

// bound is how much memory of a node other definitions have claimed. A domain that runs has two.
func (f hostFacts) bound(node int) int64 {
	of := map[string]int64{}
	for _, o := range f.others {
		if o.bound && o.node == node {
			of[o.uuid] = max(of[o.uuid], o.memory)
		}
	}
	var sum int64
	for _, memory := range of {
		sum += memory
	}
	return sum
}

// housekeeper is the CPU that is never dedicated: the host's own work, and the threads of QEMU that are no virtual CPU,
// have at least this one.
func (f hostFacts) housekeeper() int {
	first := -1
	for _, n := range f.nodes {
		for _, cpu := range n.cpus {
			if first < 0 || cpu.id < first {
				first = cpu.id
			}
		}
	}
	return first
}

// claimedCPUs are the CPUs that others have.
func (f hostFacts) claimedCPUs() map[int]bool {
	claimed := map[int]bool{}
	for _, o := range f.others {
		for _, cpu := range o.cpus {
			claimed[cpu] = true
		}
	}
	return claimed
}

// dedicable returns the CPUs of a node that can be dedicated and are not claimed. CPUs whose core nobody else has come
// first, core by core.
func (f hostFacts) dedicable(n numaNode, claimed map[int]bool) []int {
	housekeeper := f.housekeeper()
	touched := map[string]int{} // 1 for a core that somebody else has a CPU of
	var free []hostCPU
	for _, cpu := range n.cpus {
		if claimed[cpu.id] || cpu.id == housekeeper {
			touched[cpu.core] = 1
		} else {
			free = append(free, cpu)
		}
	}
	first := map[string]int{}
	for i, cpu := range free {
		if _, ok := first[cpu.core]; !ok {
			first[cpu.core] = i
		}
	}
	slices.SortStableFunc(free, func(a, b hostCPU) int {
		return cmp.Or(cmp.Compare(touched[a.core], touched[b.core]), cmp.Compare(first[a.core], first[b.core]))
	})
	ids := make([]int, len(free))
	for i, cpu := range free {
		ids[i] = cpu.id
	}
	return ids
}

// chooseCPUs returns a CPU for each virtual CPU: of one node if one has enough, of as few as possible otherwise.
func (f hostFacts) chooseCPUs(req platform.Request, nodes []numaNode) (pins []int, emulator int, err error) {
	all := 0
	var free [][]int
	for _, n := range f.nodes {
		all += len(f.dedicable(n, nil))
	}
	for _, n := range nodes {
		free = append(free, f.dedicable(n, f.claimedCPUs()))
	}
	slices.SortStableFunc(free, func(a, b []int) int { return cmp.Compare(len(b), len(a)) })
	together := slices.Concat(free...)
	emulator = f.housekeeper()
	what := fmt.Sprintf("spec.resources.cpuPolicy Dedicated: the machine needs %d CPUs", req.CPUs)
	switch {
	case len(together) >= int(req.CPUs):
		return together[:req.CPUs], emulator, nil
	case all < int(req.CPUs):
		return nil, 0, fmt.Errorf("%w: %s, and the host has %d for such machines: all but CPU %d, which is left to the host",
			platform.ErrUnsupported, what, all, emulator)
	default:
		return nil, 0, fmt.Errorf("%w: %s, and %d of the host's %d for such machines are free", platform.ErrCapacity, what, len(together), all)
	}
}

// collision says what a definition that was not started yet has in common with another, or lacks by now. Everybody defines
// first, looks then, and gives way; so of two who chose at the same time at least one notices.
func (f hostFacts) collision(req platform.Request, mine claims) string {
	for _, o := range f.others {
		for _, cpu := range o.cpus {
			if slices.Contains(mine.cpus, cpu) {
				return fmt.Sprintf("CPU %d is claimed by domain %s too", cpu, o.name)
			}
		}
		for _, device := range o.devices {
			if slices.Contains(mine.devices, device) {
				return fmt.Sprintf("device %s is claimed by domain %s too", device, o.name)
			}
		}
	}
	pages := int64(0)
	for _, n := range f.nodes {
		if mine.bound && mine.node != n.id {
			continue
		}
		pages += n.pages.free
		if mine.memory > 0 && mine.memory > n.bytes-f.bound(n.id) {
			return fmt.Sprintf("the memory of NUMA node %d is claimed by others too", n.id)
		}
	}
	if req.HugePageBytes > 0 && pages < req.MemoryBytes/req.HugePageBytes {
		return "the huge pages are not free any more"
	}
	return ""
}
