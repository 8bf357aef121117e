// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Feature is something that an endpoint can have or lack.
type Feature string

// The features that Options.Lacks can name.
const (
	UEFI       Feature = "UEFI"
	SecureBoot Feature = "SecureBoot"
	VirtualTPM Feature = "VirtualTPM"
)

// Hardware is what the machine under the instances has for some of them alone. The zero value bounds nothing.
type Hardware struct {
	// Lacks are the features that the endpoint does not have.
	Lacks []Feature
	// CPUs is how many CPUs can be dedicated; 0 means as many as anybody asks for.
	CPUs int32
	// NodeCPUs and NodeBytes are the size of the largest NUMA node; 0 means that each is large enough.
	NodeCPUs  int32
	NodeBytes int64
	// HugePages is how many huge pages of which size there are; nil means enough of all.
	HugePages map[int64]int64
	// PCIDevices are devices as vendor:device, once for each that is there; nil means enough of all.
	PCIDevices []string
}

// lacks tells whether the endpoint lacks a feature.
func (h Hardware) lacks(f Feature) bool { return slices.Contains(h.Lacks, f) }

var (
	diskName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$`)
	pciID    = regexp.MustCompile(`^[0-9a-f]{4}$`)
)

// checkHardware refuses what no endpoint can do.
func checkHardware(req platform.Request) error {
	switch {
	case req.SecureBoot && req.Firmware != platform.FirmwareUEFI:
		return fmt.Errorf("%w: spec.trustedBoot.secureBoot needs spec.firmware UEFI", platform.ErrInvalid)
	case req.HugePageBytes < 0 || req.HugePageBytes > 0 && req.MemoryBytes%req.HugePageBytes != 0:
		return fmt.Errorf("%w: spec.resources.memory is no multiple of spec.resources.hugePages", platform.ErrInvalid)
	}
	names := map[string]bool{"root": true}
	for i, d := range req.Disks {
		if !diskName.MatchString(d.Name) || names[d.Name] || d.Bytes < 1 {
			return fmt.Errorf("%w: spec.disks[%d]: %q of %d bytes", platform.ErrInvalid, i, d.Name, d.Bytes)
		}
		names[d.Name] = true
	}
	for i, nic := range req.Interfaces {
		if nic.MTU != 0 && (nic.MTU < 1280 || nic.MTU > 65535) {
			return fmt.Errorf("%w: spec.networks[%d].mtu is %d", platform.ErrInvalid, i, nic.MTU)
		}
	}
	for i, d := range req.PCIDevices {
		if !pciID.MatchString(d.VendorID) || !pciID.MatchString(d.DeviceID) || d.Count < 1 {
			return fmt.Errorf("%w: spec.platform.libvirt.pciDevices[%d]: %d of %s", platform.ErrInvalid, i, d.Count, kindOf(d))
		}
	}
	return nil
}

// admitHardware refuses what the endpoint does not have, or does not have any more. The caller holds the lock.
func (p *Platform) admitHardware(req platform.Request) error {
	h := p.options.Hardware
	switch {
	case req.Firmware == platform.FirmwareUEFI && h.lacks(UEFI):
		return fmt.Errorf("%w: spec.firmware UEFI", platform.ErrUnsupported)
	case req.SecureBoot && h.lacks(SecureBoot):
		return fmt.Errorf("%w: spec.trustedBoot.secureBoot", platform.ErrUnsupported)
	case req.VirtualTPM && h.lacks(VirtualTPM):
		return fmt.Errorf("%w: spec.trustedBoot.virtualTPM", platform.ErrUnsupported)
	case req.SingleNUMANode && (h.NodeCPUs > 0 && req.CPUs > h.NodeCPUs || h.NodeBytes > 0 && req.MemoryBytes > h.NodeBytes):
		return fmt.Errorf("%w: spec.resources.numaPolicy: no NUMA node is that large", platform.ErrUnsupported)
	}
	if req.DedicatedCPUs && h.CPUs > 0 {
		if err := enough("spec.resources.cpuPolicy", int64(req.CPUs), int64(h.CPUs), p.used(req.UUID, dedicatedCPUs)); err != nil {
			return err
		}
	}
	if size := req.HugePageBytes; size > 0 && h.HugePages != nil {
		err := enough("spec.resources.hugePages", req.MemoryBytes/size, h.HugePages[size], p.used(req.UUID, func(r platform.Request) int64 {
			return hugePages(r, size)
		}))
		if err != nil {
			return err
		}
	}
	return p.admitDevices(req)
}

func (p *Platform) admitDevices(req platform.Request) error {
	if p.options.Hardware.PCIDevices == nil {
		return nil
	}
	for i, d := range req.PCIDevices {
		kind, there := kindOf(d), int64(0)
		for _, k := range p.options.Hardware.PCIDevices {
			if k == kind {
				there++
			}
		}
		used := p.used(req.UUID, func(r platform.Request) int64 { return devices(r, kind) })
		if err := enough(fmt.Sprintf("spec.platform.libvirt.pciDevices[%d]", i), devices(req, kind), there, used); err != nil {
			return err
		}
	}
	return nil
}

// enough refuses what can never be had, and what others have.
func enough(field string, need, there, used int64) error {
	switch {
	case need > there:
		return fmt.Errorf("%w: %s: %d are needed and there are %d", platform.ErrUnsupported, field, need, there)
	case need > there-used:
		return fmt.Errorf("%w: %s: %d are needed and %d of %d are free", platform.ErrCapacity, field, need, there-used, there)
	default:
		return nil
	}
}

// used sums up what all other instances that are defined have of something.
func (p *Platform) used(uuid string, have func(platform.Request) int64) int64 {
	var sum int64
	for id, i := range p.instances {
		if id != uuid && i.defined {
			sum += have(i.req)
		}
	}
	return sum
}

func dedicatedCPUs(r platform.Request) int64 {
	if !r.DedicatedCPUs {
		return 0
	}
	return int64(r.CPUs)
}

func hugePages(r platform.Request, size int64) int64 {
	if r.HugePageBytes != size {
		return 0
	}
	return r.MemoryBytes / size
}

func devices(r platform.Request, kind string) int64 {
	var sum int64
	for _, d := range r.PCIDevices {
		if kindOf(d) == kind {
			sum += int64(d.Count)
		}
	}
	return sum
}

func kindOf(d platform.PCIDevice) string { return d.VendorID + ":" + d.DeviceID }

// step is one effect of a method, unless it is not needed.
type step struct {
	effect Effect
	needed bool
	change func()
}

// createDisks are the steps that make the further disks.
func (i *instance) createDisks(req platform.Request) []step {
	var steps []step
	for _, d := range req.Disks {
		steps = append(steps, step{CreateDisk, !slices.Contains(i.disks, d.Name), func() { i.disks = append(i.disks, d.Name) }})
	}
	return steps
}

// deleteDisks are the steps that remove the further disks.
func (i *instance) deleteDisks() []step {
	var steps []step
	for _, name := range slices.Sorted(slices.Values(i.disks)) {
		steps = append(steps, step{DeleteDisk, true, func() {
			i.disks = slices.DeleteFunc(i.disks, func(n string) bool { return n == name })
		}})
	}
	return steps
}

// take makes the effects of steps, one after another.
func (p *Platform) take(steps []step) error {
	for _, s := range steps {
		if !s.needed {
			continue
		}
		if err := p.effect(s.effect, s.change); err != nil {
			return err
		}
	}
	return nil
}

// Rename gives an instance another name, as a person can. Nothing is ever found by it.
func (p *Platform) Rename(uuid, name string) {
	p.change(uuid, func(i *instance) { i.name = name })
}

// shownName is what people see.
func (i *instance) shownName() string { return cmp.Or(i.name, i.req.Name) }
