// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// emulationCacheMiB is QEMU's translation cache for emulated guests. The default is too small for a Kubernetes node.
const emulationCacheMiB = 512

// hardware is everything that a definition is rendered from.
type hardware struct {
	req      platform.Request
	emulated bool
	poolPath string
	// given is the name that the domain has got from somebody else; empty for our own.
	given  string
	placed placement
}

// render makes the definition of a domain. It is pure: the same input gives the same text.
func (h hardware) render() (text string, m mark, err error) {
	revision, err := h.revision()
	if err != nil {
		return "", mark{}, fmt.Errorf("domain definition: %w", err)
	}
	m = mark{
		Machine:           h.req.UUID,
		ManagementCluster: h.req.ManagementClusterID,
		Storage:           h.req.Storage,
		Revision:          revision,
		Addresses:         staticAddresses(h.req),
	}
	domain := h.domain()
	if domain.Metadata, err = m.metadata(); err != nil {
		return "", mark{}, fmt.Errorf("domain definition: %w", err)
	}
	text, err = domain.Marshal()
	return text, m, err
}

// revision is a digest over the request and what is made of it, and of nothing that was chosen on the host or given by
// somebody else: a definition is not made anew because another choice would be made today.
func (h hardware) revision() (string, error) {
	h.given, h.placed = "", placement{}
	body, err := h.domain().Marshal()
	if err != nil {
		return "", err
	}
	request, err := json.Marshal(h.req)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(body), request...))
	return hex.EncodeToString(sum[:16]), nil
}

func (h hardware) name() string { return cmp.Or(h.given, domainName(h.req.Identity, h.req.Name)) }

func (h hardware) domain() *libvirtxml.Domain {
	d := &libvirtxml.Domain{
		Type:        "kvm",
		Name:        h.name(),
		UUID:        h.req.UUID,
		Description: "Managed by Ingot. Changes are lost with the machine; delete the Machine object instead of this domain.",
		Memory:      &libvirtxml.DomainMemory{Value: uint(h.req.MemoryBytes >> 10), Unit: "KiB"},
		VCPU:        &libvirtxml.DomainVCPU{Placement: "static", Value: uint(h.req.CPUs)},
		OS:          h.firmware(),
		Features:    h.features(),
		CPU:         &libvirtxml.DomainCPU{Mode: "host-passthrough", Check: "none"},
		Clock:       &libvirtxml.DomainClock{Offset: "utc"},
		OnPoweroff:  "destroy",
		OnReboot:    "restart",
		OnCrash:     "destroy",
		Devices:     h.devices(),
	}
	h.deliver(d)
	h.place(d)
	if h.emulated {
		emulate(d)
	}
	return d
}

// place pins a domain to what was chosen for it. Huge pages come from anonymous files, which need no mount on the host.
func (h hardware) place(d *libvirtxml.Domain) {
	if size := h.req.HugePageBytes; size > 0 {
		d.MemoryBacking = &libvirtxml.DomainMemoryBacking{
			MemoryHugePages: &libvirtxml.DomainMemoryHugepages{Hugepages: []libvirtxml.DomainMemoryHugepage{{Size: uint(size >> 10), Unit: "KiB"}}},
			MemorySource:    &libvirtxml.DomainMemorySource{Type: "memfd"},
		}
	}
	if node := h.placed.node; node != nil {
		d.NUMATune = &libvirtxml.DomainNUMATune{
			Memory: &libvirtxml.DomainNUMATuneMemory{Mode: bindStrictly, Nodeset: formatSet([]int{node.id})},
		}
		d.VCPU.CPUSet = formatSet(node.cpuIDs())
	}
	if len(h.placed.pins) == 0 {
		return
	}
	d.CPUTune = &libvirtxml.DomainCPUTune{
		EmulatorPin: &libvirtxml.DomainCPUTuneEmulatorPin{CPUSet: formatSet([]int{h.placed.emulator})},
	}
	for vcpu, cpu := range h.placed.pins {
		pin := libvirtxml.DomainCPUTuneVCPUPin{VCPU: uint(vcpu), CPUSet: formatSet([]int{cpu})}
		d.CPUTune.VCPUPin = append(d.CPUTune.VCPUPin, pin)
	}
}

// emulate applies the settings that help emulated CPUs and would harm real ones: a CPU model whose vector instructions
// are cheap to translate, by a vendor whose CPUs need no page-table isolation in the guest's kernel; no HPET, each read
// of which takes QEMU's global lock; a large translation cache. With secure boot the CPU keeps the vendor of its model:
// OVMF's system management mode resets the machine on one of that vendor as soon as Linux starts.
func emulate(d *libvirtxml.Domain) {
	d.Type = "qemu"
	d.CPU = &libvirtxml.DomainCPU{
		Mode: "custom", Match: "exact", Check: "none",
		Model: &libvirtxml.DomainCPUModel{Value: "Nehalem", Fallback: "forbid", VendorID: "AuthenticAMD"},
	}
	if d.Features.SMM != nil {
		d.CPU.Model.VendorID = ""
	}
	d.Clock.Timer = []libvirtxml.DomainTimer{{Name: "hpet", Present: "no"}}
	d.Features.TCG = &libvirtxml.DomainFeatureTCG{
		TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB", Size: emulationCacheMiB},
	}
}

// volumes are the names of the volumes that the definition refers to.
func (h hardware) volumes() []string {
	names := namesOf(h.req.Identity)
	volumes := []string{names.root, names.console}
	if hasCarrier(h.req.Bootstrap) {
		volumes = append(volumes, names.bootstrap)
	}
	for _, disk := range h.req.Disks {
		volumes = append(volumes, names.disk(disk.Name))
	}
	return volumes
}

func (h hardware) path(volume string) string { return h.poolPath + "/" + volume }

func (h hardware) devices() *libvirtxml.DomainDeviceList {
	names := namesOf(h.req.Identity)
	port := uint(0)
	return &libvirtxml.DomainDeviceList{
		Disks:      h.disks(),
		Interfaces: h.interfaces(),
		Serials: []libvirtxml.DomainSerial{{
			Source: &libvirtxml.DomainChardevSource{
				File: &libvirtxml.DomainChardevSourceFile{Path: h.path(names.console), Append: "on"},
			},
			Target: &libvirtxml.DomainSerialTarget{Type: "isa-serial", Port: &port},
		}},
		Controllers: []libvirtxml.DomainController{{Type: "usb", Model: "none"}},
		TPMs:        h.tpm(),
		Hostdevs:    h.hostdevs(),
		MemBalloon:  &libvirtxml.DomainMemBalloon{Model: "none"},
		RNGs: []libvirtxml.DomainRNG{{
			Model:   "virtio",
			Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
		}},
	}
}

// disks are the root disk and the further disks in order. The guest finds each by its serial number.
func (h hardware) disks() []libvirtxml.DomainDisk {
	names := namesOf(h.req.Identity)
	disks := []libvirtxml.DomainDisk{h.disk(names.root, "vda", rules.RootSerial)}
	for i, d := range h.req.Disks {
		disks = append(disks, h.disk(names.disk(d.Name), "vd"+string(rune('b'+i)), d.Name))
	}
	return disks
}

// disk caches writes on the host and honours flushes, so that all machines of an image share its pages. Emulated guests
// are for trials: they may lose data with the host.
func (h hardware) disk(volume, device, serial string) libvirtxml.DomainDisk {
	cache := "writeback"
	if h.emulated {
		cache = "unsafe"
	}
	return libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Cache: cache, Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: h.path(volume)}},
		Target: &libvirtxml.DomainDiskTarget{Dev: device, Bus: "virtio"},
		Serial: serial,
	}
}

func (h hardware) interfaces() []libvirtxml.DomainInterface {
	interfaces := make([]libvirtxml.DomainInterface, 0, len(h.req.Interfaces))
	for i, nic := range h.req.Interfaces {
		var mtu *libvirtxml.DomainInterfaceMTU
		if nic.MTU > 0 {
			mtu = &libvirtxml.DomainInterfaceMTU{Size: uint(nic.MTU)}
		}
		interfaces = append(interfaces, libvirtxml.DomainInterface{
			MTU:    mtu,
			MAC:    &libvirtxml.DomainInterfaceMAC{Address: rules.MAC(h.req.Identity, i)},
			Source: &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: nic.Network}},
			Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
			ROM:    &libvirtxml.DomainROM{Enabled: "no"},
		})
	}
	return interfaces
}
