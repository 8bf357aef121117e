// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// made makes a machine and returns what vCenter shows of it. It must be the only one.
func (l *lab) made(t *testing.T, p platform.Platform, req platform.Request) vcenter.Machine {
	t.Helper()
	runs(t, p, req)
	found := l.clones(t, req)
	if len(found) != 1 {
		t.Fatalf("%d virtual machines were made for one machine", len(found))
	}
	return found[0]
}

// refuses checks that a machine is refused with a text, and that nothing was made.
func (l *lab) refuses(t *testing.T, p platform.Platform, req platform.Request, want error, text string) {
	t.Helper()
	before := l.Inventory(t)
	_, err := p.Ensure(t.Context(), req)
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, want, text)
	}
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("the endpoint has changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	goes(t, p, req.Identity)
}

// A node of a database must not wait for CPUs that its neighbours use, and one that reserves nothing must not get what the
// maker of its template reserved, or forgot to unlimit.
func TestReservations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	if m := l.made(t, p, req); m.ReservedCPUMHz != 0 || m.ReservedMemoryMB != 0 || m.CPULimitMHz != -1 {
		t.Errorf("a machine that reserves nothing has %+v", m)
	}
	if order := l.Orders()[req.UUID]; order.Config.CpuAllocation != nil || order.Config.MemoryAllocation != nil {
		t.Error("a machine that reserves nothing needs the privilege to reserve")
	}
	goes(t, p, req.Identity)

	req.UUID = uuid.NewString()
	req.ReservedCPUMHz, req.ReservedMemoryBytes = 1500, 32<<20
	if m := l.made(t, p, req); m.ReservedCPUMHz != 1500 || m.ReservedMemoryMB != 32 || m.CPULimitMHz != -1 {
		t.Errorf("got %+v", m)
	}
	goes(t, p, req.Identity)

	req.ReservedMemoryBytes = req.MemoryBytes + 1<<20
	l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.reservations.memory")
}

// A template with a limit makes every node slow that is cloned from it, and nobody sees why.
func TestTemplateWithLimit(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.requestFrom(t, p, vcenter.Spec{ReservedCPUMHz: 700, CPULimitMHz: 900})
	if m := l.made(t, p, req); m.ReservedCPUMHz != 0 || m.CPULimitMHz != -1 {
		t.Errorf("got %+v", m)
	}
	goes(t, p, req.Identity)
}

// A host that has no room for what is reserved is a matter of time, and leaves nothing behind.
func TestNoRoomForReservation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	req.ReservedCPUMHz = 1 << 20
	give := l.Full("CloneVM_Task")
	l.refuses(t, p, req, platform.ErrCapacity, "vCenter")
	give()
	l.made(t, p, req)
	goes(t, p, req.Identity)
}

// How a machine boots is told in the clone alone: nothing else ever changes it.
func TestFirmware(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	req.SecureBoot, req.VirtualTPM = true, true
	if m := l.made(t, p, req); m.Firmware != "efi" || !m.SecureBoot || !m.TPM {
		t.Errorf("got %+v", m)
	}
	goes(t, p, req.Identity)
	req.UUID = uuid.NewString()
	req.Firmware, req.SecureBoot, req.VirtualTPM = platform.FirmwareBIOS, false, false
	if m := l.made(t, p, req); m.Firmware != "bios" || m.SecureBoot || m.TPM {
		t.Errorf("got %+v", m)
	}
	goes(t, p, req.Identity)
}

// Whoever names a storage policy does so because of where the data must lie, or how they are kept. It holds for everything, and
// a datastore that cannot keep it is never taken in its place.
func TestStoragePolicy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	id, err := l.Policy(t.Context(), "gold")
	check(t, err)
	for _, full := range []bool{false, true} {
		req := l.request(t, p)
		req.FullClone, req.StoragePolicy = full, "gold"
		req.Disks = []platform.Disk{{Name: "a", Bytes: 1 << 20}, {Name: "b", Bytes: 1 << 20}}
		l.made(t, p, req)
		order := l.Orders()[req.UUID]
		if n := keptTo(order.Location.Profile, id); n != 1 {
			t.Errorf("the folder is kept to %d policies", n)
		}
		if len(order.Location.Disk) != 1 || keptTo(order.Location.Disk[0].Profile, id) != 1 || order.Location.Disk[0].DiskMoveType != order.Location.DiskMoveType {
			t.Errorf("the root disk is cloned as %+v", order.Location.Disk)
		}
		added := 0
		for _, change := range order.Config.DeviceChange {
			added += keptTo(change.GetVirtualDeviceConfigSpec().Profile, id)
		}
		if added != len(req.Disks) {
			t.Errorf("%d disks are kept to the policy, want %d", added, len(req.Disks))
		}
		goes(t, p, req.Identity)
	}
	req := l.request(t, p)
	l.made(t, p, req)
	if order := l.Orders()[req.UUID]; order.Location.Profile != nil || order.Location.Disk != nil {
		t.Errorf("a machine without a policy is kept to %+v", order.Location)
	}
	goes(t, p, req.Identity)
	req.StoragePolicy = "platinum"
	l.refuses(t, p, req, platform.ErrInvalid, "there is no storage policy platinum")
	for range 2 {
		_, err = l.Policy(t.Context(), "silver")
		check(t, err)
	}
	req.StoragePolicy = "silver"
	l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.storagePolicy: the name is not of one alone: 2 storage policies are called silver: rename all but one")

	p = fresh(t, d) // it has not asked yet
	fit := d.Unfit()
	req.StoragePolicy = "gold"
	l.refuses(t, p, req, platform.ErrUnsupported, "is not compatible with gold")
	fit()
	l.made(t, p, req)
	goes(t, p, req.Identity)
}

// keptTo counts the profiles that are a policy.
func keptTo(profiles []types.BaseVirtualMachineProfileSpec, policy string) int {
	n := 0
	for _, p := range profiles {
		if defined, is := p.(*types.VirtualMachineDefinedProfileSpec); is && defined.ProfileId == policy {
			n++
		}
	}
	return n
}

// Some devices and features need a newer virtual hardware than the image was built with. A clone cannot have it, so it is
// upgraded before its first start; a machine whose image is new enough costs nothing more.
func TestHardwareVersion(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.requestFrom(t, p, vcenter.Spec{HardwareVersion: "vmx-11"})
	if m := l.made(t, p, req); m.HardwareVersion != "vmx-11" {
		t.Errorf("a machine that asks for nothing has %s", m.HardwareVersion)
	}
	goes(t, p, req.Identity)
	for _, version := range []int32{10, 11, 13} {
		req.UUID, req.HardwareVersion = uuid.NewString(), version
		m := l.made(t, p, req)
		if want := fmt.Sprintf("vmx-%d", max(version, 11)); m.HardwareVersion != want || !m.Running || m.Extra["ingot.unfinished"] != "" {
			t.Errorf("version %d: got %+v, want %s", version, m, want)
		}
		if order := l.Orders()[req.UUID]; order.PowerOn != (version <= 11) {
			t.Errorf("version %d: started by the clone: %t", version, order.PowerOn)
		}
		goes(t, p, req.Identity)
	}
	req.UUID, req.HardwareVersion = uuid.NewString(), 98
	l.refuses(t, p, req, platform.ErrUnsupported, "spec.platform.vsphere.hardwareVersion 98")
}

// diesMaking has a manager that dies after n steps make a machine, and tells whether it died.
func (l *lab) diesMaking(t *testing.T, req platform.Request, n int, lost bool) (died bool) {
	t.Helper()
	session, fired := l.Faulty(t, n, lost)
	until(t, "the manager dies, or the machine runs", func() bool {
		o, err := session.Ensure(t.Context(), req)
		died = fired()
		return died && err != nil || o.Started
	})
	return died
}

// A machine that takes more than a clone can be left by a crash between any two of its steps. The next manager finishes it as
// it is, and whoever stops it after that has stopped it.
func TestUnfinishedInterrupted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.Session(t)
	image := l.everything(t, p)
	for _, lost := range []bool{false, true} {
		for n, more := 0, true; more; n++ {
			t.Run(fmt.Sprintf("after %d steps, the answer lost: %t", n, lost), func(t *testing.T) {
				req := image
				req.UUID = uuid.NewString()
				more = l.diesMaking(t, req, n, lost)
				successor := l.Session(t)
				seen, err := successor.Observe(t.Context(), req.Identity)
				if found := l.clones(t, req); len(found) == 1 && found[0].Extra["ingot.unfinished"] != "" && seen.Started {
					t.Errorf("an unfinished machine is told to be started: %+v, %v", seen, err)
				}
				if m := l.made(t, successor, req); m.HardwareVersion != "vmx-13" || m.Extra["ingot.unfinished"] != "" {
					t.Errorf("got %+v", m)
				}
				l.hasTags(t, req, "dmz")
				check(t, l.VCenter.PowerOff(t.Context(), req.UUID))
				until(t, "it is told to be off", func() bool {
					o, err := successor.Ensure(t.Context(), req)
					return err == nil && o.Started && o.Power == platform.PowerOff
				})
				goes(t, p, req.Identity)
			})
		}
	}
}

// A guest that switches itself off at its first start must not be started for ever.
func TestUnfinishedGuestSwitchesItselfOff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.requestFrom(t, p, vcenter.Spec{HardwareVersion: "vmx-11"})
	req.HardwareVersion = 13
	until(t, "it is started", func() bool {
		o, err := p.Ensure(t.Context(), req)
		check(t, err)
		return o.Detail == "being started"
	})
	until(t, "it runs", func() bool { found := l.clones(t, req); return len(found) == 1 && found[0].Running })
	check(t, l.VCenter.PowerOff(t.Context(), req.UUID))
	until(t, "it is told to have stopped", func() bool {
		o, err := p.Ensure(t.Context(), req)
		check(t, err)
		return o.Started && o.Power == platform.PowerOff
	})
	goes(t, p, req.Identity)
}

// A machine for a GPU without its GPU is of no use, and one with another GPU is worse.
func TestDevices(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.requestFrom(t, p, vcenter.Spec{HardwareVersion: "vmx-17"})
	l.Offer(0x10de, 0x20b0, "grid_a100-10c")
	req.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "20b0", Count: 2}}
	req.VirtualGPUs = []string{"grid_a100-10c"}
	m := l.made(t, p, req)
	if want := []string{"10de:20b0", "10de:20b0", "grid_a100-10c"}; !slices.Equal(m.Devices, want) {
		t.Errorf("the devices are %v, want %v", m.Devices, want)
	}
	if !m.MemoryLocked || m.ReservedMemoryMB != req.MemoryBytes>>20 {
		t.Errorf("a device writes to memory that the host does not keep: %+v", m)
	}
	goes(t, p, req.Identity)
	req.UUID = uuid.NewString()
	req.VirtualGPUs = []string{"grid_a100-10c", "grid_a100-20c"}
	l.refuses(t, p, req, platform.ErrUnsupported, "spec.platform.vsphere.virtualGPUs: no host of spec.platform.vsphere.resourcePool offers grid_a100-20c")
	req.VirtualGPUs = nil
	req.PCIDevices[0].DeviceID = "20b1"
	l.refuses(t, p, req, platform.ErrUnsupported, "offers 10de:20b1")
	req.PCIDevices = nil
	if m := l.made(t, p, req); m.MemoryLocked || len(m.Devices) > 0 {
		t.Errorf("a machine without devices has %+v", m)
	}
	goes(t, p, req.Identity)
	old := l.requestFrom(t, p, vcenter.Spec{HardwareVersion: "vmx-15"})
	old.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "20b0", Count: 1}}
	l.refuses(t, p, old, platform.ErrUnsupported, "hardware version 17 or later, and this one has 15")
}
