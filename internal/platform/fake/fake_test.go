// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
)

// TestConformance exists because reconcilers are tested against the fake: where it is kinder than the contract, their
// tests prove nothing.
func TestConformance(t *testing.T) {
	platformtest.Run(t, lab{p: fake.New(fake.Options{
		Storages: []string{"pool"}, Networks: []string{"net"}, ReadSources: true, ImageDiskBytes: 1 << 20,
		Subnets:  map[string]netip.Prefix{"net": netip.MustParsePrefix("192.0.2.0/24")},
		Hardware: fake.Hardware{CPUs: 4, HugePages: map[int64]int64{2 << 20: 64}, PCIDevices: []string{"10de:1eb8"}},
	})})
}

type lab struct {
	platformtest.Files

	p *fake.Platform
}

func (l lab) Session(*testing.T) platform.Platform { return l.p }

func (l lab) Faulty(_ *testing.T, n int, lost bool) (platform.Platform, func() bool) {
	fired := l.p.Inject(fake.Fault{Skip: n, Lost: lost})
	return l.p, func() bool {
		l.p.ForgetFaults()
		return fired()
	}
}

func (l lab) Storage() string { return "pool" }

func (l lab) Network() string { return "net" }

func (l lab) Sever(*testing.T) func() {
	l.p.SetReachable(false)
	return func() { l.p.SetReachable(true) }
}

func (l lab) PutForeign(t *testing.T, uuid string) {
	t.Helper()
	l.p.PlantForeign(uuid)
	t.Cleanup(func() { l.p.Vanish(uuid) })
}

func (l lab) Channels() []delivery.Kind {
	return []delivery.Kind{delivery.FWCfg, delivery.NoCloud, delivery.ConfigDrive, delivery.SMBIOS}
}

func (l lab) Address() platform.Address {
	return platform.Address{Prefix: netip.MustParsePrefix("192.0.2.20/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
}

func (l lab) TakeAddress(t *testing.T, address netip.Addr) {
	t.Helper()
	l.p.TakeAddress(address)
	t.Cleanup(func() { l.p.GiveAddress(address) })
}

func (l lab) Asked(_ *testing.T, uuid string) int { return l.p.AskedToShutDown(uuid) }

func (l lab) Rename(_ *testing.T, uuid, name string) { l.p.Rename(uuid, name) }

func (l lab) Built(_ *testing.T, uuid string) platformtest.Built {
	i, _ := l.p.Instance(uuid)
	built := platformtest.Built{Name: i.Name, Interfaces: i.Request.Interfaces}
	for _, name := range i.Disks {
		at := slices.IndexFunc(i.Request.Disks, func(d platform.Disk) bool { return d.Name == name })
		built.Disks = append(built.Disks, i.Request.Disks[at])
	}
	return built
}

func (l lab) PowerOff(_ *testing.T, uuid string) { l.p.PowerOffGuest(uuid) }

func (l lab) Inventory(*testing.T) []string {
	var lines []string
	for _, uuid := range l.p.Instances() {
		i, _ := l.p.Instance(uuid)
		lines = append(lines, fmt.Sprintf("%s %+v", uuid, i))
	}
	for _, image := range l.p.Images() {
		lines = append(lines, fmt.Sprintf("%+v", image))
	}
	for _, address := range l.p.Reserved() {
		lines = append(lines, "reserved "+address.String())
	}
	return lines
}

// Tests of reconcilers bound the hardware to see what their users are told when it is not enough, or not enough now.
func TestHardware(t *testing.T) {
	p := fake.New(fake.Options{Hardware: fake.Hardware{
		Lacks: []fake.Feature{fake.VirtualTPM}, CPUs: 4, NodeCPUs: 3, NodeBytes: 1 << 30,
		HugePages: map[int64]int64{2 << 20: 64}, PCIDevices: []string{"10de:1eb8", "10de:1eb8"},
	}})
	p.PutImage(platform.ImageIdentity{SHA256: "a", Storage: "s"})
	request := func(uuid string, change func(*platform.Request)) platform.Request {
		req := platform.Request{
			Identity:    platform.Identity{UUID: uuid, ManagementClusterID: "m", Storage: "s"},
			ImageSHA256: "a", CPUs: 1, MemoryBytes: 64 << 20, Firmware: platform.FirmwareUEFI,
		}
		change(&req)
		return req
	}
	cards := func(n int32) func(*platform.Request) {
		return func(r *platform.Request) {
			r.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb8", Count: n}}
		}
	}
	for what, c := range map[string]struct {
		takes, too, never func(*platform.Request)
	}{
		"CPUs": {
			func(r *platform.Request) { r.DedicatedCPUs, r.CPUs = true, 3 },
			func(r *platform.Request) { r.DedicatedCPUs, r.CPUs = true, 2 },
			func(r *platform.Request) { r.DedicatedCPUs, r.CPUs = true, 5 },
		},
		"huge pages": {
			func(r *platform.Request) { r.HugePageBytes = 2 << 20 },
			func(r *platform.Request) { r.HugePageBytes, r.MemoryBytes = 2<<20, 66<<20 },
			func(r *platform.Request) { r.HugePageBytes, r.MemoryBytes = 2<<20, 130<<20 },
		},
		"devices": {cards(1), cards(2), cards(3)},
	} {
		if _, err := p.Ensure(t.Context(), request("1", c.takes)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		second := request("2", c.too)
		if _, err := p.Ensure(t.Context(), second); !errors.Is(err, platform.ErrCapacity) {
			t.Errorf("%s: the second gets %v", what, err)
		}
		if _, err := p.Ensure(t.Context(), request("3", c.never)); !errors.Is(err, platform.ErrUnsupported) {
			t.Errorf("%s: the third gets %v", what, err)
		}
		release(t, p, "1")
		if _, err := p.Ensure(t.Context(), second); err != nil {
			t.Errorf("%s: after the first has gone: %v", what, err)
		}
		release(t, p, "2")
	}
	for what, change := range map[string]func(*platform.Request){
		"TPM":      func(r *platform.Request) { r.VirtualTPM = true },
		"node":     func(r *platform.Request) { r.SingleNUMANode, r.CPUs = true, 4 },
		"memory":   func(r *platform.Request) { r.SingleNUMANode, r.MemoryBytes = true, 2<<30 },
		"no pages": func(r *platform.Request) { r.HugePageBytes, r.MemoryBytes = 1<<30, 1<<30 },
	} {
		if _, err := p.Ensure(t.Context(), request("4", change)); !errors.Is(err, platform.ErrUnsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func release(t *testing.T, p *fake.Platform, uuid string) {
	t.Helper()
	id := platform.Identity{UUID: uuid, ManagementClusterID: "m", Storage: "s"}
	if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: id}); err != nil || o.Existence != platform.Absent {
		t.Errorf("Release: %+v, %v", o, err)
	}
}

// Tests of reconcilers step a clock and decide what guests do: the fake must keep to both.
func TestGuestHasItsTime(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	end := clock.Now().Add(time.Minute)
	for name, c := range map[string]struct {
		hand      func(p *fake.Platform, uuid string)
		after     time.Duration
		asked     int
		existence platform.Existence
	}{
		"a guest that does not hear":     {func(*fake.Platform, string) {}, time.Second, 1, platform.Exists},
		"it is asked again":              {func(*fake.Platform, string) {}, 10 * time.Second, 2, platform.Exists},
		"it is switched off":             {func(*fake.Platform, string) {}, time.Minute, 1, platform.Absent},
		"a guest that obeys":             {func(p *fake.Platform, uuid string) { p.ObeyShutdown(uuid) }, time.Second, 1, platform.Absent},
		"a guest that powers itself off": {func(p *fake.Platform, uuid string) { p.PowerOffGuest(uuid) }, 0, 1, platform.Absent},
	} {
		clock.SetTime(end.Add(-time.Minute))
		p := fake.New(fake.Options{Clock: clock})
		req := request("6f0c9d2e-1111-4222-8333-444455556666")
		p.PutImage(platform.ImageIdentity{SHA256: req.ImageSHA256, Storage: req.Storage})
		if _, err := p.Ensure(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		release := platform.ReleaseRequest{Identity: req.Identity, ForceAfter: end}
		if o, err := p.Release(t.Context(), release); err != nil || o.Power != platform.PowerOn {
			t.Errorf("%s: before anything: %+v, %v", name, o, err)
		}
		c.hand(p, req.UUID)
		clock.SetTime(clock.Now().Add(c.after))
		asked := p.AskedToShutDown(req.UUID)
		o, err := p.Release(t.Context(), release)
		if err != nil || o.Existence != c.existence {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
		if o.Existence == platform.Exists {
			asked = p.AskedToShutDown(req.UUID)
		}
		if asked != c.asked {
			t.Errorf("%s: asked %d times, want %d", name, asked, c.asked)
		}
	}
}

func request(uuid string) platform.Request {
	return platform.Request{
		Identity:    platform.Identity{UUID: uuid, ManagementClusterID: "mc", Storage: "pool"},
		ImageSHA256: "digest", CPUs: 1, MemoryBytes: 1, Firmware: platform.FirmwareBIOS,
	}
}
