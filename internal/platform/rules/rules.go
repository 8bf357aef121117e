// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rules holds what is true of instances on every platform: what can never be asked for, and what follows from an
// identity alone. What one platform can or cannot do is in its adapter. Everything here is pure.
package rules

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// RootSerial is the name of the root disk. No other disk may have it.
	RootSerial = "root"
	// maxSerial is how much of a serial number virtio shows to the guest.
	maxSerial = 20
	// smallestMTU is what IPv6 needs. The largest is what the length of a packet can say.
	smallestMTU = 1280
	largestMTU  = 65535
)

var (
	uuidPattern   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	diskPattern   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	pciIDPattern  = regexp.MustCompile(`^[0-9a-f]{4}$`)
)

// MAC derives the MAC address of an interface from the machine's uuid, so that it is known before the first boot and
// the same whenever the instance is described. It is a locally administered unicast address.
func MAC(id platform.Identity, index int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", id.UUID, index))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// IsUUID tells whether a text is a uuid as identities have it.
func IsUUID(text string) bool { return uuidPattern.MatchString(text) }

// CheckIdentity refuses an identity from which no safe name can be made.
func CheckIdentity(id platform.Identity) error {
	switch {
	case !IsUUID(id.UUID):
		return fmt.Errorf("%w: uuid %q is not a uuid in lower case", platform.ErrInvalid, id.UUID)
	case id.ManagementClusterID == "":
		return fmt.Errorf("%w: the management cluster id is empty", platform.ErrInvalid)
	case id.Storage == "":
		return fmt.Errorf("%w: the storage is empty", platform.ErrInvalid)
	}
	return nil
}

// CheckImage refuses an image of which no safe name can be made.
func CheckImage(id platform.ImageIdentity) error {
	switch {
	case !sha256Pattern.MatchString(id.SHA256):
		return fmt.Errorf("%w: image digest %q is not a sha256 in lower-case hexadecimal", platform.ErrInvalid, id.SHA256)
	case id.Storage == "":
		return fmt.Errorf("%w: the storage is empty", platform.ErrInvalid)
	}
	return nil
}

// CheckRequest refuses what can never work anywhere. pciDevices is the name of the field with the PCI devices.
func CheckRequest(req platform.Request, pciDevices string) error {
	if err := CheckIdentity(req.Identity); err != nil {
		return err
	}
	switch {
	case !sha256Pattern.MatchString(req.ImageSHA256):
		return fmt.Errorf("%w: image digest %q is not a sha256 in lower-case hexadecimal", platform.ErrInvalid, req.ImageSHA256)
	case req.CPUs < 1:
		return fmt.Errorf("%w: spec.resources.cpus is %d: at least one is needed", platform.ErrInvalid, req.CPUs)
	case req.MemoryBytes < 1<<20:
		return fmt.Errorf("%w: spec.resources.memory is %d bytes: at least one MiB is needed", platform.ErrInvalid, req.MemoryBytes)
	case req.HugePageBytes < 0 || req.HugePageBytes%(1<<10) != 0:
		return fmt.Errorf("%w: spec.resources.hugePages of %d bytes is no size of a page", platform.ErrInvalid, req.HugePageBytes)
	case req.HugePageBytes > 0 && req.MemoryBytes%req.HugePageBytes != 0:
		return fmt.Errorf("%w: spec.resources.memory of %d KiB is no multiple of spec.resources.hugePages, %d KiB",
			platform.ErrInvalid, req.MemoryBytes>>10, req.HugePageBytes>>10)
	case req.RootDiskBytes < 0:
		return fmt.Errorf("%w: spec.rootDisk.size is negative", platform.ErrInvalid)
	}
	return cmp.Or(checkTrustedBoot(req), checkDisks(req.Disks), checkInterfaces(req), checkPCIDevices(req.PCIDevices, pciDevices))
}

func checkTrustedBoot(req platform.Request) error {
	switch {
	case req.Firmware != platform.FirmwareUEFI && req.Firmware != platform.FirmwareBIOS:
		return fmt.Errorf("%w: spec.firmware %q is neither UEFI nor BIOS", platform.ErrInvalid, req.Firmware)
	case req.SecureBoot && req.Firmware != platform.FirmwareUEFI:
		return fmt.Errorf("%w: spec.trustedBoot.secureBoot needs spec.firmware UEFI", platform.ErrInvalid)
	}
	return nil
}

func checkDisks(disks []platform.Disk) error {
	names := map[string]bool{RootSerial: true}
	for i, disk := range disks {
		switch {
		case len(disk.Name) > maxSerial || !diskPattern.MatchString(disk.Name):
			return fmt.Errorf("%w: spec.disks[%d].name %q is no serial number of a disk: use at most %d of a-z, 0-9 and -, beginning and ending without -",
				platform.ErrInvalid, i, disk.Name, maxSerial)
		case names[disk.Name]:
			return fmt.Errorf("%w: spec.disks[%d].name %s is taken by another disk of the machine", platform.ErrInvalid, i, disk.Name)
		case disk.Bytes < 1:
			return fmt.Errorf("%w: spec.disks[%d].size is %d bytes", platform.ErrInvalid, i, disk.Bytes)
		}
		names[disk.Name] = true
	}
	return nil
}

func checkInterfaces(req platform.Request) error {
	for i, nic := range req.Interfaces {
		switch {
		case nic.Network == "":
			return fmt.Errorf("%w: spec.networks[%d].name is empty", platform.ErrInvalid, i)
		case nic.MTU != 0 && (nic.MTU < smallestMTU || nic.MTU > largestMTU):
			return fmt.Errorf("%w: spec.networks[%d].mtu is %d: it must lie within %d-%d, or be left out for what the network has",
				platform.ErrInvalid, i, nic.MTU, smallestMTU, largestMTU)
		}
	}
	return nil
}

func checkPCIDevices(wanted []platform.PCIDevice, field string) error {
	for i, w := range wanted {
		switch {
		case !pciIDPattern.MatchString(w.VendorID) || !pciIDPattern.MatchString(w.DeviceID):
			return fmt.Errorf("%w: %s[%d]: vendorID %q and deviceID %q are four lower-case hexadecimal digits each, as lspci -n shows them",
				platform.ErrInvalid, field, i, w.VendorID, w.DeviceID)
		case w.Count < 1:
			return fmt.Errorf("%w: %s[%d].count is %d", platform.ErrInvalid, field, i, w.Count)
		}
	}
	return nil
}
