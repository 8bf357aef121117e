// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// twoNodes is a host with two NUMA nodes of 32 GiB, four cores and eight CPUs each: 0-3 and 8-11, 4-7 and 12-15. 2 GiB
// and 1 GiB are huge pages of 2 MiB.
func twoNodes(t *testing.T) libvirt.Host {
	t.Helper()
	capabilities, err := os.ReadFile("testdata/capabilities-two-nodes.xml")
	if err != nil {
		t.Fatal(err)
	}
	return libvirt.Host{
		Capabilities: string(capabilities),
		Free:         map[int]int64{0: 4 << 30, 1: 9 << 30},
		Pages:        map[int]int64{0: 1024, 1: 512},
	}
}

// pinned is the definition of a domain whose virtual CPUs are pinned to sets of CPUs.
func pinned(name string, sets ...string) string {
	var pins strings.Builder
	for i, set := range sets {
		fmt.Fprintf(&pins, "<vcpupin vcpu='%d' cpuset='%s'/>", i, set)
	}
	return fmt.Sprintf("<domain type='kvm'><name>%s</name><uuid>%s</uuid><memory unit='KiB'>1048576</memory><cputune>%s</cputune></domain>", name, name, &pins)
}

// bound is the definition of a domain whose memory is bound to a NUMA node.
func bound(name, mode, nodes string, gib int) string {
	return fmt.Sprintf("<domain type='kvm'><name>%s</name><uuid>%s</uuid><memory unit='KiB'>%d</memory><numatune><memory mode='%s' nodeset='%s'/></numatune></domain>",
		name, name, gib<<20, mode, nodes)
}

// A CPU that two machines have is dedicated to neither, and a host without a CPU of its own cannot serve them.
func TestDedicatedCPUs(t *testing.T) {
	for _, c := range []struct {
		why         string
		definitions []string
		cpus        int32
		want        []int
		refused     error
		says        string
	}{
		{why: "whole cores of one node, and never CPU 0", cpus: 4, want: []int{4, 12, 5, 13}},
		{why: "CPUs whose core somebody else has come last", definitions: []string{pinned("a", "4", "5", "6")}, cpus: 5, want: []int{1, 9, 2, 10, 3}},
		{why: "the node with more free CPUs", definitions: []string{pinned("a", "4", "12", "5")}, cpus: 2, want: []int{1, 9}},
		{
			why: "both nodes when one is not enough", definitions: []string{pinned("a", "4", "12", "5", "13", "6", "14", "7")}, cpus: 8,
			want: []int{1, 9, 2, 10, 3, 11, 8, 15},
		},
		{why: "who pins to several CPUs shares them", definitions: []string{pinned("a", "4-7,12-15", "0-15")}, cpus: 2, want: []int{4, 12}},
		{
			why: "the last CPU of the host is not given away", cpus: 16, refused: platform.ErrUnsupported,
			says: "spec.resources.cpuPolicy Dedicated: the machine needs 16 CPUs, and the host has 15 for such machines: all but CPU 0",
		},
		{
			why: "what others have is not given away", definitions: []string{pinned("a", "1", "2", "3"), pinned("b", "12")}, cpus: 12,
			refused: platform.ErrCapacity, says: "11 of the host's 15",
		},
	} {
		host := twoNodes(t)
		host.Definitions = c.definitions
		req := exampleRequest()
		req.DedicatedCPUs, req.CPUs = true, c.cpus
		got, definition, err := libvirt.Place(host, req)
		if !errors.Is(err, c.refused) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v", c.why, err)
			continue
		}
		if !slices.Equal(got.CPUs, c.want) || got.Emulator != 0 {
			t.Errorf("%s: got %+v, want %v", c.why, got, c.want)
		}
		// What is written is what is read back: the definition is the only book.
		if claimed, _, err := libvirt.ClaimsText(definition); c.refused == nil && (err != nil || !slices.Equal(claimed, c.want)) {
			t.Errorf("%s: the definition claims %v, %v", c.why, claimed, err)
		}
	}
}

// Memory of another node is slow, and a machine that was promised one node has it or does not exist.
func TestSingleNUMANode(t *testing.T) {
	for _, c := range []struct {
		why         string
		definitions []string
		change      func(*platform.Request, *libvirt.Host)
		want        int
		cpus        []int
		refused     error
		says        string
	}{
		{why: "the node with more free memory", want: 1},
		{why: "free memory says which, caches are no reason to refuse", want: 0, change: func(r *platform.Request, h *libvirt.Host) {
			r.MemoryBytes, h.Free = 20<<30, map[int]int64{0: 2, 1: 1}
		}},
		{why: "not the one that is claimed", definitions: []string{bound("a", "strict", "1", 30)}, want: 0},
		{why: "a preference claims nothing", definitions: []string{bound("a", "preferred", "1", 30), bound("b", "strict", "0-1", 30)}, want: 1},
		{why: "who is defined and runs claims once", definitions: []string{bound("a", "strict", "1", 15), bound("a", "strict", "1", 15)}, want: 1},
		{why: "huge pages are no ordinary memory", want: 1, change: func(r *platform.Request, h *libvirt.Host) {
			r.MemoryBytes, h.Free = 31<<30, map[int]int64{0: 2, 1: 1}
		}},
		{
			why: "pinned inside", want: 0, cpus: []int{1, 9},
			definitions: []string{pinned("a", "4", "5", "6", "7", "12", "13", "14")},
			change:      func(r *platform.Request, _ *libvirt.Host) { r.DedicatedCPUs = true },
		},
		{why: "the node with the pages", want: 0, change: func(r *platform.Request, _ *libvirt.Host) { r.HugePageBytes, r.MemoryBytes = 2<<20, 2<<30 }},
		{why: "the node with more free pages", want: 1, change: func(r *platform.Request, h *libvirt.Host) {
			r.HugePageBytes, r.MemoryBytes, h.Pages = 2<<20, 1<<30, map[int]int64{0: 511, 1: 512}
		}},
		{
			why: "more CPUs than a node has", change: func(r *platform.Request, _ *libvirt.Host) { r.CPUs = 9 },
			refused: platform.ErrUnsupported, says: "spec.resources.numaPolicy Single: the machine needs 9 CPUs and 3072 MiB of one NUMA node, and no node",
		},
		{
			why: "more memory than a node has", change: func(r *platform.Request, _ *libvirt.Host) { r.MemoryBytes = 32 << 30 },
			refused: platform.ErrUnsupported, says: "no node of the host is that large",
		},
		{
			why: "all is claimed", definitions: []string{bound("a", "strict", "1", 30), bound("b", "strict", "0", 28)},
			refused: platform.ErrCapacity, says: "no node has them left",
		},
		{
			why: "enough CPUs, of two nodes", definitions: []string{pinned("a", "4", "5", "6", "7", "12"), pinned("b", "1", "2", "3", "8")},
			change:  func(r *platform.Request, _ *libvirt.Host) { r.DedicatedCPUs, r.CPUs = true, 4 },
			refused: platform.ErrCapacity, says: "no node has them left",
		},
	} {
		host := twoNodes(t)
		host.Definitions = c.definitions
		req := exampleRequest()
		req.SingleNUMANode = true
		if c.change != nil {
			c.change(&req, &host)
		}
		got, _, err := libvirt.Place(host, req)
		if !errors.Is(err, c.refused) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v", c.why, err)
		}
		if err == nil && (got.Node != c.want || !slices.Equal(got.CPUs, c.cpus)) {
			t.Errorf("%s: got %+v, want node %d", c.why, got, c.want)
		}
	}
}

// Huge pages are there or they are not: a machine without them is another machine.
func TestHugePages(t *testing.T) {
	for _, c := range []struct {
		size, memory int64
		free         map[int]int64
		refused      error
		says         string
	}{
		{size: 2 << 20, memory: 3 << 30, free: map[int]int64{0: 1024, 1: 512}},
		{size: 2 << 20, memory: 3 << 30, free: map[int]int64{0: 1024, 1: 511}, refused: platform.ErrCapacity, says: "1535 of the host's 1536 pages of 2048 KiB are free"},
		{size: 2 << 20, memory: 4 << 30, free: map[int]int64{0: 1024, 1: 512}, refused: platform.ErrUnsupported, says: "vm.nr_hugepages"},
		{size: 1 << 30, memory: 1 << 30, refused: platform.ErrUnsupported, says: "spec.resources.hugePages: the CPUs of the host have no huge pages of 1048576 KiB"},
		{size: 4 << 10, memory: 1 << 30, refused: platform.ErrUnsupported, says: "no huge pages of 4 KiB"},
	} {
		host := twoNodes(t)
		host.Pages = c.free
		req := exampleRequest()
		req.HugePageBytes, req.MemoryBytes = c.size, c.memory
		if _, _, err := libvirt.Place(host, req); !errors.Is(err, c.refused) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d bytes of pages of %d: got %v", c.memory, c.size, err)
		}
	}
}

// pci is a PCI device of the host as libvirt describes it.
func pci(slot int, kind, class, driver string, group ...int) string {
	vendor, product, _ := strings.Cut(kind, ":")
	var members strings.Builder
	for _, s := range group {
		fmt.Fprintf(&members, "<address domain='0x0000' bus='0x01' slot='0x%02x' function='0x0'/>", s)
	}
	iommu := ""
	if len(group) > 0 {
		iommu = fmt.Sprintf("<iommuGroup number='%d'>%s</iommuGroup>", group[0], &members)
	}
	if driver != "" {
		driver = "<driver><name>" + driver + "</name></driver>"
	}
	return fmt.Sprintf(`<device><name>pci_0000_01_%02x_0</name><parent>computer</parent>%s<capability type='pci'><class>%s</class>
<domain>0</domain><bus>1</bus><slot>%d</slot><function>0</function><product id='0x%s'>X</product><vendor id='0x%s'>Y</vendor>%s</capability></device>`,
		slot, driver, class, slot, product, vendor, iommu)
}

// owner is the definition of a domain that has a device of the host, in a way of the three that there are.
func deviceOwner(way string, slot int) string {
	address := fmt.Sprintf("<address type='pci' domain='0x0000' bus='0x01' slot='0x%02x' function='0x0'/>", slot)
	device := map[string]string{
		"hostdev":   "<hostdev mode='subsystem' type='pci' managed='yes'><source>" + address + "</source></hostdev>",
		"interface": "<interface type='hostdev' managed='yes'><source>" + address + "</source></interface>",
		"disk":      "<disk type='nvme' device='disk'><source type='pci' namespace='1'>" + address + "</source></disk>",
	}[way]
	return "<domain><name>" + way + "</name><uuid>" + way + "</uuid><devices><hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source></hostdev>" +
		device + "</devices></domain>"
}

// A device goes to one machine, with all that cannot be parted from it, and never the host's own disk or uplink.
func TestPCIDevices(t *testing.T) {
	const card, audio, nic, gpu = "10de:1eb8", "10de:10f8", "8086:1572", "0x030200"
	one := platform.PCIDevice{VendorID: "10de", DeviceID: "1eb8", Count: 1}
	two := one
	two.Count = 2
	sound := platform.PCIDevice{VendorID: "10de", DeviceID: "10f8", Count: 1}
	net := platform.PCIDevice{VendorID: "8086", DeviceID: "1572", Count: 1}
	for _, c := range []struct {
		why         string
		devices     []string
		definitions []string
		wanted      []platform.PCIDevice
		want        []string
		refused     error
		says        string
	}{
		{why: "the first in order", devices: []string{pci(2, card, gpu, "nouveau", 2), pci(1, card, gpu, "", 1)}, wanted: []platform.PCIDevice{one}, want: []string{"0000:01:01.0"}},
		{why: "as many as asked for", devices: []string{pci(2, card, gpu, "vfio-pci", 2), pci(1, card, gpu, "", 1)}, wanted: []platform.PCIDevice{two}, want: []string{"0000:01:01.0", "0000:01:02.0"}},
		{
			why: "not what another domain has, however it has it", devices: []string{
				pci(1, card, gpu, "", 1), pci(2, card, gpu, "", 2), pci(3, card, gpu, "", 3), pci(4, card, gpu, "", 4),
			},
			definitions: []string{deviceOwner("hostdev", 1), deviceOwner("interface", 2), deviceOwner("disk", 3)},
			wanted:      []platform.PCIDevice{one}, want: []string{"0000:01:04.0"},
		},
		{
			why: "all are with others", devices: []string{pci(1, card, gpu, "", 1)}, definitions: []string{deviceOwner("hostdev", 1)}, wanted: []platform.PCIDevice{one},
			refused: platform.ErrCapacity, says: "spec.platform.libvirt.pciDevices[0]: the machine needs 1 of the devices 10de:1eb8, and of the host's 1 1 are with other machines",
		},
		{
			why: "another domain has a device of the same group", devices: []string{pci(1, card, gpu, "", 1, 2), pci(2, audio, gpu, "", 1, 2)},
			definitions: []string{deviceOwner("hostdev", 2)}, wanted: []platform.PCIDevice{one}, refused: platform.ErrCapacity,
		},
		{why: "a bridge", devices: []string{pci(1, card, "0x060400", "", 1)}, wanted: []platform.PCIDevice{one}, refused: platform.ErrUnsupported, says: "is a bridge"},
		{why: "no such device", devices: []string{pci(1, nic, gpu, "", 1)}, wanted: []platform.PCIDevice{one}, refused: platform.ErrUnsupported, says: "the host has 0"},
		{why: "fewer than asked for", devices: []string{pci(1, card, gpu, "", 1)}, wanted: []platform.PCIDevice{two}, refused: platform.ErrUnsupported, says: "needs 2 of the devices 10de:1eb8 and the host has 1"},
		{why: "asked for in two entries", devices: []string{pci(1, card, gpu, "", 1)}, wanted: []platform.PCIDevice{one, one}, refused: platform.ErrUnsupported, says: "pciDevices[1]"},
		{why: "no IOMMU", devices: []string{pci(1, card, gpu, "")}, wanted: []platform.PCIDevice{one}, refused: platform.ErrUnsupported, says: "IOMMU: switch it on"},
		{
			why: "the host's disk", devices: []string{
				pci(1, card, gpu, "nvme", 1),
				"<device><name>x</name><parent>pci_0000_01_01_0</parent><capability type='scsi_host'><host>1</host></capability></device>",
				"<device><name>block</name><parent>x</parent><capability type='storage'><block>/dev/nvme0n1</block></capability></device>",
			}, wanted: []platform.PCIDevice{one}, refused: platform.ErrUnsupported, says: "is the host's disk /dev/nvme0n1",
		},
		{
			why: "the host's uplink", devices: []string{
				pci(1, nic, "0x020000", "i40e", 1), pci(2, nic, "0x020000", "i40e", 2),
				"<device><name>net1</name><parent>pci_0000_01_01_0</parent><capability type='net'><interface>eth0</interface><link state='up'/></capability></device>",
				"<device><name>net2</name><parent>pci_0000_01_02_0</parent><capability type='net'><interface>eth1</interface><link state='down'/></capability></device>",
			}, wanted: []platform.PCIDevice{net}, want: []string{"0000:01:02.0"},
		},
		{
			why: "the host keeps another device of the group", devices: []string{pci(1, card, gpu, "", 1, 2), pci(2, audio, gpu, "snd_hda_intel", 1, 2)},
			wanted: []platform.PCIDevice{one}, refused: platform.ErrUnsupported, says: "0000:01:01.0 shares its IOMMU group with 0000:01:02.0",
		},
		{
			why: "all of the group is asked for", devices: []string{pci(1, card, gpu, "", 1, 2), pci(2, audio, gpu, "snd_hda_intel", 1, 2)},
			wanted: []platform.PCIDevice{one, sound}, want: []string{"0000:01:01.0", "0000:01:02.0"},
		},
		{
			why: "all kinds of the group are asked for, and one of two of a kind", devices: []string{
				pci(1, card, gpu, "", 1, 2, 3), pci(2, audio, gpu, "snd_hda_intel", 1, 2, 3), pci(3, audio, gpu, "snd_hda_intel", 1, 2, 3),
			},
			wanted: []platform.PCIDevice{one, sound}, refused: platform.ErrUnsupported, says: "shares its IOMMU group with 0000:01:03.0",
		},
		{
			why: "bridges and idle devices of the group do no harm", devices: []string{
				pci(1, card, gpu, "nvidia", 1, 2, 3), pci(2, "8086:1901", "0x060400", "pcieport", 1, 2, 3), pci(3, audio, gpu, "", 1, 2, 3),
			},
			wanted: []platform.PCIDevice{one}, want: []string{"0000:01:01.0"},
		},
	} {
		host := twoNodes(t)
		host.Devices, host.Definitions = c.devices, c.definitions
		req := exampleRequest()
		req.PCIDevices = c.wanted
		got, definition, err := libvirt.Place(host, req)
		if !errors.Is(err, c.refused) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v", c.why, err)
		}
		if !slices.Equal(got.Devices, c.want) {
			t.Errorf("%s: got %v, want %v", c.why, got.Devices, c.want)
		}
		if _, claimed, err := libvirt.ClaimsText(definition); c.refused == nil && (err != nil || !slices.Equal(claimed, c.want)) {
			t.Errorf("%s: the definition claims %v, %v", c.why, claimed, err)
		}
	}
}

// Of two managers that chose the same at the same time at least one must notice before its guest runs: each defines first
// and looks second.
func TestCollisionIsSeenByWhoeverLooksLast(t *testing.T) {
	host := twoNodes(t)
	host.Devices = []string{pci(1, "10de:1eb8", "0x030200", "", 1)}
	all := exampleRequest()
	all.DedicatedCPUs, all.SingleNUMANode = true, true
	all.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb8", Count: 1}}
	_, mine, err := libvirt.Place(host, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		others []string
		says   string
	}{
		{nil, ""},
		{[]string{pinned("b", "5"), deviceOwner("hostdev", 2), bound("c", "strict", "1", 28)}, ""},
		{[]string{pinned("b", "6", "4")}, "CPU 4 is claimed by domain b too"},
		{[]string{deviceOwner("interface", 1)}, "device 0000:01:01.0 is claimed"},
		{[]string{bound("c", "strict", "1", 29)}, "the memory of NUMA node 1"},
	} {
		host.Definitions = c.others
		if got, err := libvirt.Collision(host, all, mine); err != nil || !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%v: got %q, %v; want %q", c.others, got, err, c.says)
		}
	}
	host.Definitions = nil
	paged := exampleRequest()
	paged.HugePageBytes, paged.SingleNUMANode, paged.MemoryBytes = 2<<20, true, 1<<30
	if _, mine, err = libvirt.Place(host, paged); err != nil {
		t.Fatal(err)
	}
	host.Pages = map[int]int64{0: 100, 1: 512}
	if got, err := libvirt.Collision(host, paged, mine); err != nil || got != "the huge pages are not free any more" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The choice is not part of the revision: a machine that waits for its start is not built anew because it would be put
// elsewhere today.
func TestRevisionLeavesOutTheChoice(t *testing.T) {
	req := exampleRequest()
	req.DedicatedCPUs, req.SingleNUMANode = true, true
	host := twoNodes(t)
	_, here, err := libvirt.Place(host, req)
	if err != nil {
		t.Fatal(err)
	}
	host.Free = map[int]int64{0: 9 << 30}
	_, there, err := libvirt.Place(host, req)
	if err != nil {
		t.Fatal(err)
	}
	if here == there {
		t.Fatal("the test proves nothing: both times the same was chosen")
	}
	revision := func(definition string) string {
		_, rest, _ := strings.Cut(definition, `revision="`)
		revision, _, _ := strings.Cut(rest, `"`)
		return revision
	}
	if a, b := revision(here), revision(there); a != b || a == "" {
		t.Errorf("the revisions are %q and %q", a, b)
	}
}

func TestParseSet(t *testing.T) {
	for text, want := range map[string][]int{
		"0": {0}, "0-3": {0, 1, 2, 3}, "1,3-4,9": {1, 3, 4, 9}, "3-1": nil,
		"": nil, "a": nil, "1-": nil, "-1": nil, "0-70000": nil, "^1": nil,
	} {
		got, err := libvirt.ParseSet(text)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil || text == "3-1") {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
}

// Definitions of other people are foreign input.
func FuzzClaims(f *testing.F) {
	f.Add(pinned("a", "1", "2-3"))
	f.Add(bound("a", "strict", "0", 1))
	f.Add(deviceOwner("hostdev", 1))
	f.Fuzz(func(_ *testing.T, definition string) {
		_, _, _ = libvirt.ClaimsText(definition)
	})
}
