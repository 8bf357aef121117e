// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// emulationCacheMiB is QEMU's translation cache for emulated guests. The default is too small for a Kubernetes node.
const emulationCacheMiB = 512

// hardware is everything that a definition is rendered from.
type hardware struct {
	req      platform.Request
	emulated bool
	poolPath string
}

// render makes the definition of a domain. It is pure: the same input gives the same text.
func (h hardware) render() (text string, m mark, err error) {
	domain := h.domain()
	body, err := domain.Marshal()
	if err != nil {
		return "", mark{}, fmt.Errorf("domain definition: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%s%s", body, h.req.ImageSHA256, h.req.RootDiskBytes, h.req.Bootstrap.Data, carried(h.req)))
	m = mark{
		Machine:           h.req.UUID,
		ManagementCluster: h.req.ManagementClusterID,
		Storage:           h.req.Storage,
		Revision:          hex.EncodeToString(sum[:16]),
		Addresses:         staticAddresses(h.req),
	}
	if domain.Metadata, err = m.metadata(); err != nil {
		return "", mark{}, fmt.Errorf("domain definition: %w", err)
	}
	text, err = domain.Marshal()
	return text, m, err
}

func (h hardware) domain() *libvirtxml.Domain {
	d := &libvirtxml.Domain{
		Type:        "kvm",
		Name:        domainName(h.req.Identity, h.req.Name),
		UUID:        h.req.UUID,
		Description: "Managed by Ingot. Changes are lost with the machine; delete the Machine object instead of this domain.",
		Memory:      &libvirtxml.DomainMemory{Value: uint(h.req.MemoryBytes >> 10), Unit: "KiB"},
		VCPU:        &libvirtxml.DomainVCPU{Placement: "static", Value: uint(h.req.CPUs)},
		OS:          h.firmware(),
		Features:    &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}},
		CPU:         &libvirtxml.DomainCPU{Mode: "host-passthrough", Check: "none"},
		Clock:       &libvirtxml.DomainClock{Offset: "utc"},
		OnPoweroff:  "destroy",
		OnReboot:    "restart",
		OnCrash:     "destroy",
		Devices:     h.devices(),
	}
	h.deliver(d)
	if h.emulated {
		emulate(d)
	}
	return d
}

// emulate applies the settings that help emulated CPUs and would harm real ones: a CPU model whose vector instructions
// are cheap to translate, by a vendor whose CPUs need no page-table isolation in the guest's kernel; no HPET, each read
// of which takes QEMU's global lock; a large translation cache.
func emulate(d *libvirtxml.Domain) {
	d.Type = "qemu"
	d.CPU = &libvirtxml.DomainCPU{
		Mode: "custom", Match: "exact", Check: "none",
		Model: &libvirtxml.DomainCPUModel{Value: "Nehalem", Fallback: "forbid", VendorID: "AuthenticAMD"},
	}
	d.Clock.Timer = []libvirtxml.DomainTimer{{Name: "hpet", Present: "no"}}
	d.Features.TCG = &libvirtxml.DomainFeatureTCG{
		TBCache: &libvirtxml.DomainFeatureTCGTBCache{Unit: "MiB", Size: emulationCacheMiB},
	}
}

func (h hardware) firmware() *libvirtxml.DomainOS {
	os := &libvirtxml.DomainOS{
		Type:        &libvirtxml.DomainOSType{Arch: architecture, Machine: "q35", Type: "hvm"},
		BootDevices: []libvirtxml.DomainBootDevice{{Dev: "hd"}},
	}
	if h.req.Firmware == platform.FirmwareUEFI {
		os.Firmware = "efi"
		os.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{
			Features: []libvirtxml.DomainOSFirmwareFeature{{Enabled: "no", Name: "secure-boot"}},
		}
	}
	return os
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
		Disks:      []libvirtxml.DomainDisk{h.rootDisk(names.root)},
		Interfaces: h.interfaces(),
		Serials: []libvirtxml.DomainSerial{{
			Source: &libvirtxml.DomainChardevSource{
				File: &libvirtxml.DomainChardevSourceFile{Path: h.path(names.console), Append: "on"},
			},
			Target: &libvirtxml.DomainSerialTarget{Type: "isa-serial", Port: &port},
		}},
		Controllers: []libvirtxml.DomainController{{Type: "usb", Model: "none"}},
		MemBalloon:  &libvirtxml.DomainMemBalloon{Model: "none"},
		RNGs: []libvirtxml.DomainRNG{{
			Model:   "virtio",
			Backend: &libvirtxml.DomainRNGBackend{Random: &libvirtxml.DomainRNGBackendRandom{Device: "/dev/urandom"}},
		}},
	}
}

// rootDisk caches writes on the host and honours flushes, so that all machines of an image share its pages. Emulated
// guests are for trials: they may lose data with the host.
func (h hardware) rootDisk(volume string) libvirtxml.DomainDisk {
	cache := "writeback"
	if h.emulated {
		cache = "unsafe"
	}
	return libvirtxml.DomainDisk{
		Device: "disk",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2", Cache: cache, Discard: "unmap"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: h.path(volume)}},
		Target: &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
	}
}

func (h hardware) interfaces() []libvirtxml.DomainInterface {
	interfaces := make([]libvirtxml.DomainInterface, 0, len(h.req.Interfaces))
	for i, nic := range h.req.Interfaces {
		interfaces = append(interfaces, libvirtxml.DomainInterface{
			MAC:    &libvirtxml.DomainInterfaceMAC{Address: mac(h.req.Identity, i)},
			Source: &libvirtxml.DomainInterfaceSource{Network: &libvirtxml.DomainInterfaceSourceNetwork{Network: nic.Network}},
			Model:  &libvirtxml.DomainInterfaceModel{Type: "virtio"},
			ROM:    &libvirtxml.DomainROM{Enabled: "no"},
		})
	}
	return interfaces
}
