// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// bootLimit is long: guests are emulated, several at once, beside other tests.
	bootLimit = 8 * time.Minute
	// probeMemory is what the probe guest needs to boot with every firmware.
	probeMemory = 256 << 20
)

// probe is a machine that says what it sees from inside.
type probe struct {
	l   *lab
	p   platform.Platform
	req platform.Request
}

// probeImage stores the image of the probe guest. It is removed with the test.
func (l *lab) probeImage(t *testing.T, p platform.Platform) platform.ImageRequest {
	t.Helper()
	built, err := probeguest.Build(t.Context(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	image := platform.ImageRequest{
		ImageIdentity: platform.ImageIdentity{SHA256: built.SHA256, Storage: l.host.Pool},
		Source:        (&url.URL{Scheme: "file", Path: built.Path}).String(),
		Format:        built.Format,
		SizeBytes:     built.SizeBytes,
	}
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.ReleaseImage(context.WithoutCancel(t.Context()), image.ImageIdentity); err != nil {
			t.Errorf("ReleaseImage: %v", err)
		}
	})
	return image
}

// report is what the guest said so far.
func (b probe) report(t *testing.T) probeguest.Report {
	t.Helper()
	o, err := b.p.Observe(t.Context(), b.req.Identity)
	if err != nil {
		t.Fatal(err)
	}
	console, err := os.ReadFile(o.ConsoleLog)
	if err != nil {
		t.Fatal(err)
	}
	return probeguest.ParseConsole(console)
}

// await waits until the guest has said something.
func (b probe) await(t *testing.T, key string) probeguest.Report {
	t.Helper()
	for deadline := time.Now().Add(bootLimit); ; time.Sleep(200 * time.Millisecond) {
		report := b.report(t)
		if report.Has(key) {
			return report
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest never says %q, but %q", key, report)
		}
	}
}

// testProbe boots one guest for each channel and believes only what it says.
func testProbe(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	image := l.probeImage(t, p)
	const key = "opt/com.coreos/config"
	address := l.host.VIP
	guests := map[string]probe{}
	for _, c := range []struct {
		name     string
		kind     delivery.Kind
		firmware platform.Firmware
		data     string
	}{
		{"fw_cfg", delivery.FWCfg, platform.FirmwareUEFI, "a"},
		{"NoCloud", delivery.NoCloud, platform.FirmwareBIOS, probeguest.IgnoreACPI},
		{"ConfigDrive", delivery.ConfigDrive, platform.FirmwareUEFI, "c"},
		{"SMBIOS with BIOS", delivery.SMBIOS, platform.FirmwareBIOS, strings.Repeat("d", 44<<10)},
		{"SMBIOS with UEFI", delivery.SMBIOS, platform.FirmwareUEFI, strings.Repeat("e", 44<<10)},
	} {
		address = address.Next()
		req := l.oneOf(t, p, image)
		req.MemoryBytes, req.Firmware = probeMemory, c.firmware
		req.Bootstrap = platform.Bootstrap{Data: []byte(uuid.NewString() + c.data), Channels: []delivery.Channel{{Kind: c.kind, Key: key}}}
		req.Interfaces[0].Addresses = []platform.Address{{Prefix: netip.PrefixFrom(address, l.host.Subnet.Bits()), Gateway: l.host.Gateway}}
		run(t, p, req)
		guests[c.name] = probe{l: l, p: p, req: req}
	}
	for name, where := range map[string]string{
		"fw_cfg":           "fw_cfg:" + key,
		"NoCloud":          "iso:cidata:user-data",
		"ConfigDrive":      "iso:config-2:openstack/latest/user_data",
		"SMBIOS with BIOS": "smbios-oem-value:" + key,
		"SMBIOS with UEFI": "smbios-oem-value:" + key,
	} {
		t.Run(name, func(t *testing.T) {
			guest := guests[name]
			report := guest.await(t, probeguest.Done)
			if got, want := report.Value(where), probeguest.Digest(guest.req.Bootstrap.Data); got != want {
				t.Errorf("the guest read %q at %s, want %s: %q", got, where, want, report)
			}
			if got, want := report.Value("address"), guest.req.Interfaces[0].Addresses[0].Prefix.Addr().String(); got != want {
				t.Errorf("the guest was given the address %s, reserved is %s", got, want)
			}
			if got := report.Value("uuid"); got != guest.req.UUID {
				t.Errorf("the guest's uuid is %s, want %s", got, guest.req.UUID)
			}
			if report.Has(probeguest.Failed) {
				t.Errorf("the guest could not look everywhere: %q", report[probeguest.Failed])
			}
			if err := p.(platform.BootstrapScrubber).ScrubBootstrap(t.Context(), guest.req.Identity); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a guest that obeys", func(t *testing.T) { testObeys(t, guests["fw_cfg"]) })
	t.Run("a guest that does not", func(t *testing.T) { testIgnores(t, guests["NoCloud"]) })
	t.Run("the next guest with the address", func(t *testing.T) { testAddressOfTheDead(t, l, l.oneOf(t, p, image), guests["NoCloud"]) })
}

// testAddressOfTheDead wants an address whose guest was switched off and gave nothing back. Until dnsmasq takes it for free,
// a new guest would get another one without a word.
func testAddressOfTheDead(t *testing.T, l *lab, next platform.Request, dead probe) {
	t.Helper()
	next.Interfaces = dead.req.Interfaces
	_, err := dead.p.Ensure(t.Context(), next)
	if !errors.Is(err, platform.ErrCapacity) || !strings.Contains(err.Error(), "until") {
		t.Errorf("got %v, want %q with the time", err, platform.ErrCapacity)
	}
	n, err := l.admin.NetworkLookupByName(l.host.Network)
	if err != nil {
		t.Fatal(err)
	}
	leases, _, err := l.admin.NetworkGetDhcpLeases(n, nil, 1, 0)
	if err != nil || len(leases) == 0 {
		t.Fatalf("no leases: %v", err)
	}
	for _, lease := range leases {
		if left := time.Until(time.Unix(lease.Expirytime, 0)); left > 10*time.Minute {
			t.Errorf("address %s is held for %s more: a rollout would wait for it", lease.Ipaddr, left)
		}
	}
}

func testObeys(t *testing.T, guest probe) {
	t.Helper()
	release := platform.ReleaseRequest{Identity: guest.req.Identity, ForceAfter: time.Now().Add(time.Hour)}
	if o, err := guest.p.Release(t.Context(), release); err != nil || o.Power != platform.PowerOn {
		t.Fatalf("Release: %+v, %v", o, err)
	}
	eventually(t, "the guest is off", func() bool {
		o, err := guest.p.Observe(t.Context(), guest.req.Identity)
		return err == nil && o.Power == platform.PowerOff
	})
	if report := guest.report(t); !report.Has(probeguest.PowerOffRequested) {
		t.Errorf("the guest was not asked: %q", report)
	}
	if o, err := guest.p.Release(t.Context(), release); err != nil || o.Existence != platform.Absent {
		t.Errorf("Release of a guest that has obeyed: %+v, %v", o, err)
	}
}

func testIgnores(t *testing.T, guest probe) {
	t.Helper()
	release := platform.ReleaseRequest{Identity: guest.req.Identity, ForceAfter: time.Now().Add(time.Hour)}
	if o, err := guest.p.Release(t.Context(), release); err != nil || o.Power != platform.PowerOn {
		t.Fatalf("Release: %+v, %v", o, err)
	}
	guest.await(t, probeguest.PowerOffIgnored)
	if o, err := guest.p.Release(t.Context(), release); err != nil || o.Power != platform.PowerOn {
		t.Errorf("a guest that has time left: %+v, %v", o, err)
	}
	release.ForceAfter = time.Now().Add(-time.Second)
	if o, err := guest.p.Release(t.Context(), release); err != nil || o.Existence != platform.Absent {
		t.Errorf("a guest whose time is over: %+v, %v", o, err)
	}
}
