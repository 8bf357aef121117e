// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"fmt"
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// pciDevicesField is the field that devices are asked for in.
const pciDevicesField = "spec.platform.libvirt.pciDevices"

func pciField(i int) string { return fmt.Sprintf("%s[%d]", pciDevicesField, i) }

func kindOf(w platform.PCIDevice) string { return w.VendorID + ":" + w.DeviceID }

// chooseDevices returns the devices for req, or says what stands in the way of them.
func (f hostFacts) chooseDevices(req platform.Request) ([]pciAddress, error) {
	var chosen []pciAddress
	for i, w := range req.PCIDevices {
		c := f.candidates(req, w, chosen)
		what := fmt.Sprintf("%s: the machine needs %d of the devices %s, and of the host's %d", pciField(i), w.Count, kindOf(w), c.there)
		switch {
		case len(c.free) >= int(w.Count):
			chosen = append(chosen, c.free[:w.Count]...)
		case c.there < int(w.Count):
			return nil, fmt.Errorf("%w: %s: the machine needs %d of the devices %s and the host has %d (lspci -n shows what it has)",
				platform.ErrUnsupported, pciField(i), w.Count, kindOf(w), c.there)
		case len(c.free)+c.taken >= int(w.Count):
			return nil, fmt.Errorf("%w: %s %d are with other machines", platform.ErrCapacity, what, c.taken)
		default:
			return nil, fmt.Errorf("%w: %s %d are free: %s", platform.ErrUnsupported, what, len(c.free), c.obstacle)
		}
	}
	for _, address := range chosen {
		for _, peer := range f.peers(address) {
			if peer.held() && !slices.Contains(chosen, peer.address) {
				return nil, fmt.Errorf("%w: spec.platform.libvirt.pciDevices: device %s shares its IOMMU group with %s, which the host keeps with its driver %s: "+
					"ask for both, or bind that one to vfio-pci on the host", platform.ErrUnsupported, address, peer.address, peer.driver)
			}
		}
	}
	return chosen, nil
}

// candidates are the devices that a selection matches.
type candidates struct {
	there int          // how many there are
	free  []pciAddress // those that can be had
	taken int          // how many others have
	// obstacle is why one of the rest can never be had.
	obstacle string
}

func (f hostFacts) candidates(req platform.Request, w platform.PCIDevice, chosen []pciAddress) candidates {
	var c candidates
	for _, d := range f.devices {
		if d.kind != kindOf(w) {
			continue
		}
		c.there++
		obstacle := f.obstacle(req, d)
		switch {
		case slices.Contains(chosen, d.address):
		case obstacle != "":
			c.obstacle = obstacle
		case f.isTaken(d):
			c.taken++
		default:
			c.free = append(c.free, d.address)
		}
	}
	return c
}

// obstacle says why a device cannot be handed to any machine that makes the request.
func (f hostFacts) obstacle(req platform.Request, d hostDevice) string {
	switch {
	case d.bridge:
		return fmt.Sprintf("%s is a bridge", d.address)
	case d.group == nil:
		return fmt.Sprintf("%s is behind no IOMMU: switch it on in the host's firmware (VT-d, AMD-Vi) and on its kernel command line (intel_iommu=on)", d.address)
	case d.use != "":
		return fmt.Sprintf("%s is the host's %s", d.address, d.use)
	}
	for _, peer := range f.peers(d.address) {
		wanted := slices.ContainsFunc(req.PCIDevices, func(w platform.PCIDevice) bool { return kindOf(w) == peer.kind })
		if peer.held() && (!wanted || peer.use != "") {
			return fmt.Sprintf("%s shares its IOMMU group with %s, which the host keeps with its driver %s: ask for both, or bind that one to vfio-pci on the host",
				d.address, peer.address, peer.driver)
		}
	}
	return ""
}

// isTaken tells whether another domain has the device, or one that cannot be parted from it.
func (f hostFacts) isTaken(d hostDevice) bool {
	return slices.ContainsFunc(f.others, func(o claims) bool {
		return slices.ContainsFunc(o.devices, func(a pciAddress) bool { return a == d.address || slices.Contains(d.group, a) })
	})
}

// peers are the other devices of the IOMMU group of a device. They can only be handed over together.
func (f hostFacts) peers(address pciAddress) []hostDevice {
	var peers []hostDevice
	for _, d := range f.devices {
		if d.address != address && slices.Contains(d.group, address) {
			peers = append(peers, d)
		}
	}
	return peers
}

// held tells whether a driver of the host keeps the device, so that nobody may have another one of its IOMMU group.
func (d hostDevice) held() bool {
	return !d.bridge && d.driver != "" && d.driver != "vfio-pci" && d.driver != "pci-stub"
}

// hostdevs hands the chosen devices over. libvirt takes them from the host's drivers for as long as the instance runs.
func (h hardware) hostdevs() []libvirtxml.DomainHostdev {
	var devices []libvirtxml.DomainHostdev
	for _, a := range h.placed.devices {
		devices = append(devices, libvirtxml.DomainHostdev{
			Managed: "yes",
			SubsysPCI: &libvirtxml.DomainHostdevSubsysPCI{Source: &libvirtxml.DomainHostdevSubsysPCISource{
				Address: &libvirtxml.DomainAddressPCI{Domain: &a.domain, Bus: &a.bus, Slot: &a.slot, Function: &a.function},
			}},
		})
	}
	return devices
}
