// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// machineType is the chipset of all machines.
const machineType = "q35"

// checkFeatures refuses what the host's QEMU and its helpers cannot do.
func (s *Session) checkFeatures(ctx context.Context, c *client, req platform.Request) error {
	domainType := "kvm"
	if s.config.Acceleration == Emulated {
		domainType = "qemu"
	}
	caps, err := c.domainCapabilities(ctx, domainType)
	if err != nil {
		return err
	}
	return checkCapabilities(req, caps)
}

// checkCapabilities refuses what QEMU and its helpers cannot do on this host. Whatever is missing, libvirt reads what is
// installed when it starts.
func checkCapabilities(req platform.Request, caps *libvirtxml.DomainCaps) error {
	uefi := caps.OS != nil && offers(caps.OS.Enums, "firmware", "efi")
	secure := uefi && caps.OS.Loader != nil && offers(caps.OS.Loader.Enums, "secure", "yes")
	memfd := caps.MemoryBacking != nil && offers(caps.MemoryBacking.Enums, "sourceType", "memfd")
	switch {
	case caps.VCPU != nil && uint(req.CPUs) > caps.VCPU.Max:
		return fmt.Errorf("%w: spec.resources.cpus is %d, and QEMU on this host gives a machine at most %d", platform.ErrUnsupported, req.CPUs, caps.VCPU.Max)
	case req.Firmware == platform.FirmwareUEFI && !uefi:
		return fmt.Errorf("%w: spec.firmware UEFI: the host has no UEFI firmware for guests: install ovmf (edk2-ovmf) and restart libvirt",
			platform.ErrUnsupported)
	case req.SecureBoot && !secure:
		return fmt.Errorf("%w: spec.trustedBoot.secureBoot: the host has no UEFI firmware with secure boot: install ovmf (edk2-ovmf) and restart libvirt",
			platform.ErrUnsupported)
	case req.VirtualTPM && !offersTPM(caps.Devices):
		return fmt.Errorf("%w: spec.trustedBoot.virtualTPM: the host has no emulator of a TPM 2.0: install swtpm and swtpm-tools and restart libvirt",
			platform.ErrUnsupported)
	case req.HugePageBytes > 0 && !memfd:
		return fmt.Errorf("%w: spec.resources.hugePages: QEMU or libvirt on this host is too old for memory of type memfd", platform.ErrUnsupported)
	default:
		return nil
	}
}

// offersTPM tells whether there is an emulated TPM as firmware renders it. Older versions of libvirt do not say which
// versions of the TPM there are.
func offersTPM(devices *libvirtxml.DomainCapsDevices) bool {
	if devices == nil || devices.TPM == nil || devices.TPM.Supported != "yes" {
		return false
	}
	enums := devices.TPM.Enums
	silent := !slices.ContainsFunc(enums, func(e libvirtxml.DomainCapsEnum) bool { return e.Name == "backendVersion" })
	return offers(enums, "model", tpmModel) && offers(enums, "backendModel", "emulator") && (silent || offers(enums, "backendVersion", tpmVersion))
}

// offers tells whether an enumeration has a value.
func offers(enums []libvirtxml.DomainCapsEnum, name, value string) bool {
	return slices.ContainsFunc(enums, func(e libvirtxml.DomainCapsEnum) bool { return e.Name == name && slices.Contains(e.Values, value) })
}

// The TPM that machines get.
const (
	tpmModel   = "tpm-crb"
	tpmVersion = "2.0"
)

// firmware has its variables in the pool. Where libvirt keeps them otherwise depends on the name of the domain, and some
// versions lose them when a person renames it.
func (h hardware) firmware() *libvirtxml.DomainOS {
	os := &libvirtxml.DomainOS{
		Type:        &libvirtxml.DomainOSType{Arch: architecture, Machine: machineType, Type: "hvm"},
		BootDevices: []libvirtxml.DomainBootDevice{{Dev: "hd"}},
	}
	if h.req.Firmware != platform.FirmwareUEFI {
		return os
	}
	os.Firmware = "efi"
	os.NVRam = &libvirtxml.DomainNVRam{NVRam: h.path(namesOf(h.req.Identity).nvram)}
	features := []libvirtxml.DomainOSFirmwareFeature{{Enabled: "no", Name: "secure-boot"}}
	if h.req.SecureBoot {
		features = []libvirtxml.DomainOSFirmwareFeature{{Enabled: "yes", Name: "enrolled-keys"}, {Enabled: "yes", Name: "secure-boot"}}
	}
	os.FirmwareInfo = &libvirtxml.DomainOSFirmwareInfo{Features: features}
	return os
}

// features has system management mode for secure boot: without it the guest could change the firmware's variables.
func (h hardware) features() *libvirtxml.DomainFeatureList {
	features := &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}, APIC: &libvirtxml.DomainFeatureAPIC{}}
	if h.req.SecureBoot {
		features.SMM = &libvirtxml.DomainFeatureSMM{State: "on"}
	}
	return features
}

// tpm is a TPM whose state libvirt keeps with the definition and removes with it.
func (h hardware) tpm() []libvirtxml.DomainTPM {
	if !h.req.VirtualTPM {
		return nil
	}
	return []libvirtxml.DomainTPM{{
		Model:   tpmModel,
		Backend: &libvirtxml.DomainTPMBackend{Emulator: &libvirtxml.DomainTPMBackendEmulator{Version: tpmVersion}},
	}}
}
