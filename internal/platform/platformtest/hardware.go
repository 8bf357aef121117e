// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

func testDisks(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	req := newRequest(lab, image)
	req.Disks = []platform.Disk{{Name: "z-first", Bytes: 3 << 20}, {Name: "exactly-twenty-chars", Bytes: 1 << 40}, {Name: "a", Bytes: 1 << 20}}
	run(t, p, req)
	if diff := cmp.Diff(req.Disks, lab.Built(t, req.UUID).Disks); diff != "" {
		t.Errorf("other disks than asked for:\n%s", diff)
	}
	running := lab.Inventory(t)
	run(t, p, req)
	run(t, lab.Session(t), req)
	sameInventory(t, "after Ensure was repeated", running, lab.Inventory(t))
	gone(t, p, req.Identity)
	sameInventory(t, "after Release", before, lab.Inventory(t))
	dropImage(t, p, image)
}

func testInterfaces(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	req.Interfaces = []platform.Interface{{Network: lab.Network()}, {Network: lab.Network(), MTU: 1400}, {Network: lab.Network(), MTU: 1280}}
	run(t, p, req)
	if diff := cmp.Diff(req.Interfaces, lab.Built(t, req.UUID).Interfaces); diff != "" {
		t.Errorf("other interfaces than asked for:\n%s", diff)
	}
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testHardwareRefusals(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	disks := func(disks ...platform.Disk) func(*platform.Request) {
		return func(r *platform.Request) { r.Disks = disks }
	}
	devices := func(vendor, device string, count int32) func(*platform.Request) {
		return func(r *platform.Request) {
			r.PCIDevices = []platform.PCIDevice{{VendorID: vendor, DeviceID: device, Count: count}}
		}
	}
	for name, c := range map[string]struct {
		change func(*platform.Request)
		want   error
	}{
		"secure boot without UEFI":        {func(r *platform.Request) { r.SecureBoot = true }, platform.ErrInvalid},
		"two disks of one name":           {disks(platform.Disk{Name: "a", Bytes: 1 << 20}, platform.Disk{Name: "a", Bytes: 1 << 20}), platform.ErrInvalid},
		"a disk with the root's name":     {disks(platform.Disk{Name: "root", Bytes: 1 << 20}), platform.ErrInvalid},
		"a disk with a path as name":      {disks(platform.Disk{Name: "../a", Bytes: 1 << 20}), platform.ErrInvalid},
		"a disk without a name":           {disks(platform.Disk{Bytes: 1 << 20}), platform.ErrInvalid},
		"a serial number that is cut off": {disks(platform.Disk{Name: "twenty-one-characters", Bytes: 1 << 20}), platform.ErrInvalid},
		"a disk of no size":               {disks(platform.Disk{Name: "a"}), platform.ErrInvalid},
		"an MTU below the least":          {func(r *platform.Request) { r.Interfaces[0].MTU = 1279 }, platform.ErrInvalid},
		"memory that fills no page":       {func(r *platform.Request) { r.HugePageBytes = 128 << 20 }, platform.ErrInvalid},
		"pages that no CPU has":           {func(r *platform.Request) { r.HugePageBytes, r.MemoryBytes = 3<<20, 63<<20 }, platform.ErrUnsupported},
		"more CPUs than any host has":     {func(r *platform.Request) { r.DedicatedCPUs, r.CPUs = true, 1<<20 }, platform.ErrUnsupported},
		"a device that the host lacks":    {devices("ffff", "fffe", 1), platform.ErrUnsupported},
		"a device that cannot be":         {devices("FFFF", "fffe", 1), platform.ErrInvalid},
		"no device of a kind":             {devices("ffff", "fffe", 0), platform.ErrInvalid},
		"a network that is not there, 2nd": {func(r *platform.Request) {
			r.Interfaces = append(r.Interfaces, platform.Interface{Network: "no-such-network", MTU: 1500})
		}, platform.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			before := lab.Inventory(t)
			req := newRequest(lab, image)
			c.change(&req)
			_, err := p.Ensure(within(t), req)
			wantError(t, "Ensure", err, c.want)
			sameInventory(t, "after the refusal", before, lab.Inventory(t))
			gone(t, p, req.Identity)
		})
	}
	dropImage(t, p, image)
}

func testRenamed(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	req := newRequest(lab, image)
	req.Firmware = platform.FirmwareUEFI // whose state may be kept under the name
	run(t, p, req)
	lab.PowerOff(t, req.UUID)
	lab.Rename(t, req.UUID, "renamed-by-hand")
	if got := lab.Built(t, req.UUID).Name; got != "renamed-by-hand" {
		t.Fatalf("the lab has not renamed it: %s", got)
	}
	renamed := lab.Inventory(t)
	for _, session := range []platform.Platform{p, lab.Session(t)} {
		o, err := session.Ensure(within(t), req)
		if err != nil || o.Existence != platform.Exists || !o.Started || o.Power != platform.PowerOff {
			t.Errorf("Ensure: %+v, %v", o, err)
		}
		if seen := observe(t, session, req.Identity); seen.Existence != platform.Exists || !seen.Started {
			t.Errorf("Observe: %+v", seen)
		}
	}
	sameInventory(t, "after Ensure on a renamed instance", renamed, lab.Inventory(t))
	gone(t, p, req.Identity)
	sameInventory(t, "after Release", before, lab.Inventory(t))
	dropImage(t, p, image)
}
