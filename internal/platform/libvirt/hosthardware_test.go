// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// refused fails unless Ensure refuses with an error that says all of the words.
func refused(t *testing.T, p platform.Platform, req platform.Request, want error, words ...string) {
	t.Helper()
	_, err := p.Ensure(t.Context(), req)
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %q", err, want)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v does not say %q", err, w)
		}
	}
}

func released(t *testing.T, p platform.Platform, req platform.Request) {
	t.Helper()
	if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
		t.Fatalf("Release: %+v, %v", o, err)
	}
}

// another returns the request for another machine like req. It is removed with the test.
func another(t *testing.T, p platform.Platform, req platform.Request, uuid string) platform.Request {
	t.Helper()
	req.UUID = uuid
	t.Cleanup(func() {
		if _, err := p.Release(context.WithoutCancel(t.Context()), platform.ReleaseRequest{Identity: req.Identity}); err != nil {
			t.Errorf("Release: %v", err)
		}
	})
	return req
}

func testTrustedBoot(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	req.SecureBoot, req.VirtualTPM = true, true
	name := libvirt.DomainName(req.Identity, req.Name)
	for round, renamed := range []bool{false, true} {
		run(t, p, req)
		d := l.parsed(t, req.UUID, 0)
		if d.OS.Loader == nil || d.OS.Loader.Secure != "yes" || d.OS.NVRam == nil || !strings.Contains(d.OS.NVRam.Template, ".ms.") {
			t.Errorf("the firmware is %+v with %+v: want one that enforces secure boot, with keys", d.OS.Loader, d.OS.NVRam)
		}
		if len(d.Devices.TPMs) != 1 {
			t.Errorf("the machine has %d TPMs", len(d.Devices.TPMs))
		}
		names := []string{req.UUID, name}
		if files := l.about(t, names...); !containsAll(files, "-nvram", "swtpm/"+req.UUID) {
			t.Fatalf("there is no state of firmware and TPM to begin with: %v", files)
		}
		if renamed {
			l.PowerOff(t, req.UUID)
			l.Rename(t, req.UUID, "renamed-trusted")
			names = append(names, "renamed-trusted")
		}
		released(t, p, req)
		if files := l.about(t, names...); len(files) > 0 {
			t.Errorf("round %d: left behind: %v", round, files)
		}
	}
}

func containsAll(files []string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool {
		return !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, part) })
	})
}

func testHandMade(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	req.Disks = []platform.Disk{{Name: "data", Bytes: 1 << 20}}
	run(t, p, req)
	theirs := l.volume(t, "somebodys-disk.qcow2")
	err := l.admin.DomainAttachDeviceFlags(l.domain(t, req.UUID),
		"<disk type='file' device='disk'><source file='"+theirs+"'/><target dev='vdz' bus='virtio'/></disk>", uint32(golibvirt.DomainDeviceModifyConfig))
	if err != nil {
		t.Fatal(err)
	}
	snapshot := strings.TrimSuffix(filepath.Join(l.host.PoolPath, libvirt.DiskVolume(req.Identity, "data")), "qcow2") + "before-upgrade"
	if err := os.WriteFile(snapshot, []byte("a layer"), 0o600); err != nil { // as virsh snapshot-create-as --disk-only names it
		t.Fatal(err)
	}
	if o, err := p.Observe(t.Context(), req.Identity); err != nil || o.Power != platform.PowerOn {
		t.Errorf("Observe: %+v, %v", o, err)
	}
	if o := run(t, p, req); !o.Started {
		t.Errorf("Ensure: %+v", o)
	}
	released(t, p, req)
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("somebody else's disk: %v", err)
	}
	if files := l.named(t, req); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func testManyDevices(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	for i := range 16 { // what the API allows
		req.Disks = append(req.Disks, platform.Disk{Name: fmt.Sprintf("disk-%d", i), Bytes: 1 << 20})
	}
	for len(req.Interfaces) < 8 {
		req.Interfaces = append(req.Interfaces, platform.Interface{Network: l.host.Network})
	}
	run(t, p, req)
	if built := l.Built(t, req.UUID); !slices.Equal(built.Disks, req.Disks) || len(built.Interfaces) != 8 {
		t.Errorf("got %+v", built)
	}
	released(t, p, req)
}

func testNearlyFull(t *testing.T, l *lab, small string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(small, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		_ = os.Remove(f)
	}
	pool, err := l.admin.StoragePoolDefineXML("<pool type='dir'><name>nearly</name><target><path>"+small+"</path></target></pool>", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.admin.StoragePoolCreate(pool, golibvirt.StoragePoolCreateNormal); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.admin.StoragePoolDestroy(pool), l.admin.StoragePoolUndefine(pool) })
	p := l.Session(t)
	image := l.artefact(t, []byte("an image of its own for the pool that is nearly full"), "raw")
	image.Storage = "nearly"
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
	req := l.requestFor(t, p, image)
	req.Disks = []platform.Disk{{Name: "data", Bytes: 1 << 40}}
	filler := filepath.Join(small, "what-a-guest-wrote")
	if err := os.WriteFile(filler, make([]byte, room/2), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, p, req, platform.ErrCapacity, "storage pool nearly has", "make room in the pool", "spec.platform.libvirt.storagePool")
	if files := l.named(t, req); len(files) > 0 {
		t.Errorf("made before it was refused: %v", files)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	run(t, p, req) // a disk of 1 TiB in a pool of 24 MiB: it grows as it is written
	released(t, p, req)
}

// cpus returns how many CPUs the host has.
func (l *lab) cpus(t *testing.T) int32 {
	t.Helper()
	_, _, cpus, _, _, _, _, _, err := l.admin.NodeGetInfo()
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func testDedicatedCPUs(t *testing.T, l *lab) {
	t.Helper()
	hostCPUs := l.cpus(t)
	if hostCPUs < 2 {
		t.Fatal("this test needs a host with two CPUs")
	}
	for what, sessions := range map[string][]platform.Platform{
		"one manager":  {l.Session(t)},
		"two managers": {l.Session(t), l.Session(t)},
	} {
		t.Run(what, func(t *testing.T) {
			p := sessions[0]
			first := l.request(t, p)
			first.DedicatedCPUs, first.CPUs = true, (hostCPUs-1)/2+1 // more than half of what can be dedicated
			second := another(t, p, first, "00000000-0000-4000-8000-00000000ded1")
			for round := range 5 {
				ends := l.together(t, []platform.Request{first, second}, sessions)
				if ends[0] && ends[1] {
					t.Fatalf("round %d: both have their CPUs: %v and %v", round, l.pins(t, first.UUID), l.pins(t, second.UUID))
				}
				if !ends[0] && !ends[1] {
					continue // both gave way; the next round decides
				}
				winner, loser := first, second
				if ends[1] {
					winner, loser = second, first
				}
				refused(t, p, loser, platform.ErrCapacity, "spec.resources.cpuPolicy Dedicated", "are free")
				l.checkPinned(t, winner)
				released(t, p, winner)
				run(t, p, loser)
				l.checkPinned(t, loser)
				released(t, p, loser)
				return
			}
			t.Error("in no round did one of them get its CPUs")
		})
	}
	p := l.Session(t)
	greedy := l.request(t, p)
	greedy.DedicatedCPUs, greedy.CPUs = true, hostCPUs
	refused(t, p, greedy, platform.ErrUnsupported, "all but CPU 0")
}

// together ensures each request with a session at the same time, and tells which of the machines run.
func (l *lab) together(t *testing.T, requests []platform.Request, sessions []platform.Platform) []bool {
	t.Helper()
	runs := make([]bool, len(requests))
	var all sync.WaitGroup
	for i, req := range requests {
		all.Go(func() {
			o, err := sessions[i%len(sessions)].Ensure(t.Context(), req)
			if err != nil && !errors.Is(err, platform.ErrCapacity) {
				t.Errorf("machine %d: %v", i, err)
			}
			runs[i] = o.Power == platform.PowerOn
		})
	}
	all.Wait()
	return runs
}

func (l *lab) pins(t *testing.T, id string) []string {
	t.Helper()
	var sets []string
	if d := l.parsed(t, id, 0); d.CPUTune != nil {
		for _, pin := range d.CPUTune.VCPUPin {
			sets = append(sets, pin.CPUSet)
		}
	}
	return sets
}

// checkPinned looks at the threads of QEMU: what the definition says is worth what the kernel does.
func (l *lab) checkPinned(t *testing.T, req platform.Request) {
	t.Helper()
	pins := l.pins(t, req.UUID)
	if len(pins) != int(req.CPUs) || slices.Contains(pins, "0") || len(slices.Compact(slices.Sorted(slices.Values(pins)))) != len(pins) {
		t.Errorf("%d virtual CPUs are pinned to %v", req.CPUs, pins)
		return
	}
	all := threads(t, l.qemu(t, req.UUID))
	for i, pin := range pins {
		if name := fmt.Sprintf("CPU %d/TCG", i); all[name] != pin {
			t.Errorf("thread %q may run on %q, want %s; all threads: %v", name, all[name], pin, all)
		}
	}
	if all["qemu-system-x86"] != "0" {
		t.Errorf("QEMU's other threads are not on CPU 0: %v", all)
	}
}

const hugePagesFile = "/proc/sys/vm/nr_hugepages"

// setHugePages reserves huge pages of 2 MiB on the host and gives back what there was.
func setHugePages(t *testing.T, more int) {
	t.Helper()
	read := func() int {
		text, err := os.ReadFile(hugePagesFile)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := read()
	if err := os.WriteFile(hugePagesFile, []byte(strconv.Itoa(before+more)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(hugePagesFile, []byte(strconv.Itoa(before)), 0o600); err != nil {
			t.Error(err)
		}
	})
	if got := read(); got != before+more {
		t.Fatalf("the kernel gives %d huge pages instead of %d: its memory is too fragmented", got, before+more)
	}
}

// freePages returns how many huge pages of 2 MiB nobody has.
func (l *lab) freePages(t *testing.T) uint64 {
	t.Helper()
	doc, err := l.admin.ConnectGetCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(doc); err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, cell := range caps.Host.NUMA.Cells.Cells {
		free, err := l.admin.NodeGetFreePages([]uint32{2048}, int32(cell.ID), 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		sum += free[0]
	}
	return sum
}

func testHugePages(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	first := l.request(t, p)
	free := l.freePages(t)
	first.HugePageBytes, first.MemoryBytes = 2<<20, int64(free+32)<<21
	refused(t, p, first, platform.ErrUnsupported, "spec.resources.hugePages", "reserve more on the host")
	setHugePages(t, 32)
	second := another(t, p, first, "00000000-0000-4000-8000-0000000b19e5")
	run(t, p, first)
	if left := l.freePages(t); left != 0 {
		t.Errorf("%d pages are still free: the machine does not have them", left)
	}
	second.MemoryBytes = 64 << 20
	refused(t, p, second, platform.ErrCapacity, "0 of the host's", "pages of 2048 KiB are free and the machine needs 32")
	released(t, p, first)
	if back := l.freePages(t); back != free+32 {
		t.Errorf("%d pages are free after the machine has gone, want %d", back, free+32)
	}
	run(t, p, second)
	released(t, p, second)
}

func testNUMA(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	req.SingleNUMANode = true
	run(t, p, req)
	d := l.parsed(t, req.UUID, 0)
	if d.NUMATune == nil || d.NUMATune.Memory.Mode != "strict" {
		t.Fatalf("the memory is bound to %+v", d.NUMATune)
	}
	node, err := os.ReadFile("/sys/devices/system/node/node" + d.NUMATune.Memory.Nodeset + "/cpulist")
	if err != nil {
		t.Fatal(err)
	}
	if got := threads(t, l.qemu(t, req.UUID))["CPU 0/TCG"]; got != strings.TrimSpace(string(node)) {
		t.Errorf("the CPU may run on %s, want those of the node, %s", got, node)
	}
	released(t, p, req)
	req.MemoryBytes = 1 << 50
	refused(t, p, req, platform.ErrUnsupported, "spec.resources.numaPolicy Single", "no node of the host is that large")
}

// testHostDevice asks for a bridge, which a host keeps whether it has an IOMMU or not.
func testHostDevice(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	devices, _, err := l.admin.ConnectListAllNodeDevices(1, uint32(golibvirt.ConnectListNodeDevicesCapPciDev))
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range devices {
		doc, err := l.admin.NodeDeviceGetXMLDesc(device.Name, 0)
		if err != nil {
			t.Fatal(err)
		}
		var d libvirtxml.NodeDevice
		if err := d.Unmarshal(doc); err != nil {
			t.Fatal(err)
		}
		if c := d.Capability.PCI; c != nil && strings.HasPrefix(c.Class, "0x06") {
			req.PCIDevices = []platform.PCIDevice{{VendorID: c.Vendor.ID[2:], DeviceID: c.Product.ID[2:], Count: 1}}
		}
	}
	if req.PCIDevices == nil {
		t.Fatalf("this host has no PCI bridge among its %d PCI devices", len(devices))
	}
	refused(t, p, req, platform.ErrUnsupported, "spec.platform.libvirt.pciDevices[0]", "is a bridge")
}
