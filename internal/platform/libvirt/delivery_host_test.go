// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// testScrub looks into every file of the host for the secret, in every form in which a channel writes it.
func testScrub(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	for _, kind := range l.Channels() {
		t.Run(string(kind), func(t *testing.T) {
			req := l.request(t, p)
			req.Bootstrap.Channels = []delivery.Channel{{Kind: kind, Key: "opt/com.coreos/config"}}
			secret := req.Bootstrap.Data
			if kind == delivery.SMBIOS {
				secret = []byte(base64.StdEncoding.EncodeToString(secret))
			}
			o := run(t, p, req)
			carrier := libvirt.VolumeNames(req.Identity)[1]
			if len(l.holding(t, secret)) == 0 {
				t.Fatal("the guest has no bootstrap data to begin with")
			}
			if _, err := os.Stat(o.ConsoleLog); err != nil {
				t.Errorf("the console log: %v", err)
			}
			if err := p.(platform.BootstrapScrubber).ScrubBootstrap(t.Context(), req.Identity); err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"fwcfg", "smbios", "oemStrings", carrier} {
				if doc := l.definition(t, req.UUID); strings.Contains(doc, word) || !strings.Contains(doc, req.ManagementClusterID) {
					t.Errorf("the definition still has %s, or has lost its owner token:\n%s", word, doc)
				}
			}
			if live := l.live(t, req.UUID); kind == delivery.NoCloud && (strings.Contains(live, carrier) || !strings.Contains(live, "cdrom")) {
				t.Errorf("the running guest has the CD-ROM still in its drive, or no drive:\n%s", live)
			}
			for _, file := range l.holding(t, secret) {
				// What libvirt says in its own log and keeps of a running QEMU is beyond reach: doc.go says so.
				if kind != delivery.SMBIOS || !strings.Contains(file, "/log/libvirt/qemu/") && !strings.Contains(file, "/run/libvirt/qemu/") {
					t.Errorf("the secret is still in %s", file)
				}
			}
			// The cleaned definition is a good one: a person can start the machine again.
			l.PowerOff(t, req.UUID)
			if err := l.admin.DomainCreate(l.domain(t, req.UUID)); err != nil {
				t.Errorf("starting the scrubbed machine by hand: %v", err)
			}
		})
	}
}

// live returns what virsh dumpxml shows of a running guest.
func (l *lab) live(t *testing.T, id string) string {
	t.Helper()
	doc, err := l.admin.DomainGetXMLDesc(l.domain(t, id), 0)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// testEjectedByHand is a person who has taken the CD-ROM out of the definition, which the running guest does not notice.
func testEjectedByHand(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	req.Bootstrap.Channels = []delivery.Channel{{Kind: delivery.NoCloud}}
	run(t, p, req)
	err := l.admin.DomainUpdateDeviceFlags(l.domain(t, req.UUID), `<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>
<target dev='sda' bus='scsi'/><readonly/></disk>`, golibvirt.DomainDeviceModifyConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.(platform.BootstrapScrubber).ScrubBootstrap(t.Context(), req.Identity); err != nil {
		t.Fatal(err)
	}
	if live := l.live(t, req.UUID); strings.Contains(live, libvirt.VolumeNames(req.Identity)[1]) {
		t.Errorf("the running guest has the CD-ROM still in its drive:\n%s", live)
	}
}

// testSMBIOSRoom starts machines with as much data as is let through, so that the limit is QEMU's and not a guess.
func testSMBIOSRoom(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	for _, cpus := range []int32{1, 32} {
		req := l.request(t, p)
		req.Bootstrap.Channels = []delivery.Channel{{Kind: delivery.SMBIOS, Key: "io.systemd.credential.binary:x"}}
		req.CPUs = cpus
		size := 0
		for step := 32 << 10; step > 0; step /= 2 {
			req.Bootstrap.Data = make([]byte, size+step)
			if libvirt.CheckBootstrap(req) == nil {
				size += step
			}
		}
		req.Bootstrap.Data = make([]byte, size+1)
		if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), "CD-ROM") {
			t.Errorf("%d bytes: %v", size+1, err)
		}
		req.Bootstrap.Data = make([]byte, size)
		t.Logf("%d CPUs: %d bytes", cpus, size)
		run(t, p, req)
	}
}

// network starts a network beside the one that is there. It is removed with the test if it is still there.
func (l *lab) network(t *testing.T, name, content string) golibvirt.Network {
	t.Helper()
	n, err := l.admin.NetworkDefineXML("<network><name>" + name + "</name>" + content + "</network>")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.admin.NetworkDestroy(n), l.admin.NetworkUndefine(n) })
	if err := l.admin.NetworkCreate(n); err != nil {
		t.Fatal(err)
	}
	return n
}

// extraNetwork is the content of a network with DHCP in both families. libvirt lists the subnets in the order in which they
// were written, and means the first one unless it is told which.
const extraNetwork = `<forward mode='open'/><bridge name='virbr7' stp='off' delay='0'/>
<ip family='ipv6' address='2001:db8:7::1' prefix='64'><dhcp><range start='2001:db8:7::100' end='2001:db8:7::1ff'/></dhcp></ip>
<ip address='198.51.100.1' prefix='24'><dhcp><range start='198.51.100.100' end='198.51.100.200'/></dhcp></ip>`

func static(network string, prefixes ...string) platform.Interface {
	i := platform.Interface{Network: network}
	for _, p := range prefixes {
		i.Addresses = append(i.Addresses, platform.Address{Prefix: netip.MustParsePrefix(p)})
	}
	return i
}

// testCarriedAddress has addresses that no network can reserve.
func testCarriedAddress(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	l.network(t, "bridged", "<forward mode='bridge'/><bridge name='virbr0'/>")
	l.network(t, "extra", extraNetwork)
	for name, nic := range map[string]platform.Interface{
		"bridge": static("bridged", "203.0.113.10/24"),
		"IPv6":   static("extra", "2001:db8:7::10/64"),
	} {
		t.Run(name, func(t *testing.T) {
			req := l.request(t, p)
			address := nic.Addresses[0].Prefix
			req.Interfaces = []platform.Interface{nic}
			before := l.Inventory(t)
			if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), "NoCloud") {
				t.Errorf("through a firmware file: got %v, want %q with the remedy", err, platform.ErrUnsupported)
			}
			if after := l.Inventory(t); !slices.Equal(before, after) {
				t.Errorf("the refusal has left %v, was %v", after, before)
			}
			for _, kind := range []delivery.Kind{delivery.NoCloud, delivery.ConfigDrive} {
				req := l.request(t, p)
				req.Interfaces = []platform.Interface{nic}
				req.Bootstrap.Channels = []delivery.Channel{{Kind: kind}}
				if o := run(t, p, req); !slices.Equal(o.Addresses, []string{address.Addr().String()}) {
					t.Errorf("%s: the addresses are %v, want %s", kind, o.Addresses, address.Addr())
				}
				carrier, err := os.ReadFile(filepath.Join(l.host.PoolPath, libvirt.VolumeNames(req.Identity)[1]))
				if err != nil {
					t.Fatal(err)
				}
				if text := string(carrier); !strings.Contains(text, address.Addr().String()) || !strings.Contains(text, libvirt.MAC(req.Identity, 0)) {
					t.Errorf("%s: the carrier does not tell the address", kind)
				}
				if lines := l.reservations(t); len(lines) > 0 {
					t.Errorf("something is reserved: %v", lines)
				}
			}
		})
	}
}

// testReservedElsewhere has an address and an interface that somebody else has made arrangements for.
func testReservedElsewhere(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	l.network(t, "extra", extraNetwork)
	const both = golibvirt.NetworkUpdateAffectLive | golibvirt.NetworkUpdateAffectConfig
	refuses := func(t *testing.T, req platform.Request, want error, says ...string) {
		t.Helper()
		before := l.Inventory(t)
		_, err := p.Ensure(t.Context(), req)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %q", err, want)
		}
		for _, word := range says {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not name %s", err, word)
			}
		}
		if _, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil {
			t.Error(err)
		}
		if after := l.Inventory(t); !slices.Equal(before, after) {
			t.Errorf("something was changed: %v, was %v", after, before)
		}
	}
	request := func(t *testing.T) platform.Request {
		t.Helper()
		req := l.request(t, p)
		req.Interfaces = []platform.Interface{static("extra", "198.51.100.10/24")}
		return req
	}
	for name, where := range map[string]golibvirt.NetworkUpdateFlags{
		"now and later": both, "now": golibvirt.NetworkUpdateAffectLive, "later": golibvirt.NetworkUpdateAffectConfig,
	} {
		t.Run("the address "+name, func(t *testing.T) {
			req := request(t)
			l.reserve(t, "extra", "02:00:00:00:00:98", netip.MustParseAddr("198.51.100.10"), where)
			refuses(t, req, platform.ErrCapacity, "198.51.100.10", libvirt.MAC(req.Identity, 0), "02:00:00:00:00:98")
		})
		t.Run("the interface "+name, func(t *testing.T) {
			req := request(t)
			l.reserve(t, "extra", libvirt.MAC(req.Identity, 0), netip.MustParseAddr("198.51.100.11"), where)
			refuses(t, req, platform.ErrForeign, "198.51.100.10", "198.51.100.11", libvirt.MAC(req.Identity, 0))
		})
	}
	t.Run("the address is lent", func(t *testing.T) {
		req := request(t)
		l.lend(t, "virbr7", "02:00:00:00:00:97", "198.51.100.10")
		refuses(t, req, platform.ErrCapacity, "198.51.100.10", "02:00:00:00:00:97", "until 20")
	})
	t.Run("the address is lent to the machine itself", func(t *testing.T) {
		req := request(t)
		l.lend(t, "virbr7", libvirt.MAC(req.Identity, 0), "198.51.100.10")
		run(t, p, req)
	})
	t.Run("the network will be another one", func(t *testing.T) {
		req := request(t)
		if _, err := l.admin.NetworkDefineXML("<network><name>extra</name><uuid>" + l.networkUUID(t, "extra") + "</uuid><bridge name='virbr7'/></network>"); err != nil {
			t.Fatal(err)
		}
		refuses(t, req, platform.ErrInvalid, "198.51.100.10", "--inactive")
		if _, err := l.admin.NetworkDefineXML("<network><name>extra</name><uuid>" + l.networkUUID(t, "extra") + "</uuid>" + extraNetwork + "</network>"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("half of it is there", func(t *testing.T) {
		req := request(t)
		n, err := l.admin.NetworkLookupByName("extra")
		if err != nil {
			t.Fatal(err)
		}
		host := fmt.Sprintf("<host mac='%s' ip='198.51.100.10'/>", libvirt.MAC(req.Identity, 0))
		if err := l.admin.NetworkUpdateCompat(n, golibvirt.NetworkUpdateCommandAddLast, golibvirt.NetworkSectionIPDhcpHost, l.subnet(t, n), host,
			golibvirt.NetworkUpdateAffectLive); err != nil {
			t.Fatal(err)
		}
		run(t, p, req)
		if lines := l.reservations(t); len(lines) != 2 {
			t.Errorf("want it now and later, have %v", lines)
		}
	})
}

func (l *lab) networkUUID(t *testing.T, name string) string {
	t.Helper()
	n, err := l.admin.NetworkLookupByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return uuid.UUID(n.UUID).String()
}

// subnet is the number of the subnet with IPv4 addresses.
func (l *lab) subnet(t *testing.T, n golibvirt.Network) int32 {
	t.Helper()
	doc, err := l.admin.NetworkGetXMLDesc(n, 0)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(doc, "<ip address=")
	return int32(strings.Count(before, "<ip family="))
}

// lend writes the status file that dnsmasq's helper writes for libvirt when a network gives out an address.
func (l *lab) lend(t *testing.T, bridge, mac, address string) {
	t.Helper()
	path := l.leaseFile(t, bridge)
	lease := fmt.Sprintf(`[{"ip-address":"%s","mac-address":"%s","expiry-time":%d}]`, address, mac, time.Now().Add(time.Hour).Unix())
	if err := os.WriteFile(path, []byte(lease), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, nil, 0o600) })
}

// leaseFile finds the folder of dnsmasq in the private /var of libvirtd.
func (l *lab) leaseFile(t *testing.T, bridge string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(l.options.StateDir, "private", "var", "lib", "libvirt", "dnsmasq"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the folder of dnsmasq: %v, %v", found, err)
	}
	return filepath.Join(found[0], bridge+".status")
}

// testReservationGoes releases machines whose networks have changed under them.
func testReservationGoes(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	for name, change := range map[string]func(*testing.T, golibvirt.Network){
		"the network runs":        func(*testing.T, golibvirt.Network) {},
		"the network was stopped": func(t *testing.T, n golibvirt.Network) { t.Helper(); must(t, l.admin.NetworkDestroy(n)) },
		"the network is gone": func(t *testing.T, n golibvirt.Network) {
			t.Helper()
			must(t, errors.Join(l.admin.NetworkDestroy(n), l.admin.NetworkUndefine(n)))
		},
		"the network goes when it stops": func(t *testing.T, n golibvirt.Network) { t.Helper(); must(t, l.admin.NetworkUndefine(n)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := l.network(t, "extra", extraNetwork)
			l.reserve(t, l.host.Network, "02:00:00:00:00:96", l.host.VIP, golibvirt.NetworkUpdateAffectConfig)
			before := l.reservations(t)
			req := l.request(t, p)
			req.Interfaces = []platform.Interface{static("extra", "198.51.100.10/24"), {Network: l.host.Network, Addresses: []platform.Address{l.Address()}}}
			run(t, p, req)
			if got := len(l.reservations(t)) - len(before); got != 4 {
				t.Errorf("%d lines for two addresses that are reserved now and later", got)
			}
			l.PowerOff(t, req.UUID)
			change(t, n)
			if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
				t.Fatalf("Release: %+v, %v", o, err)
			}
			if after := l.reservations(t); !slices.Equal(before, after) {
				t.Errorf("reserved are %v, want only what somebody else has: %v", after, before)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testShutDownInTime follows a guest that does not obey from the first question to the end of its time.
func testShutDownInTime(t *testing.T, l *lab) {
	t.Helper()
	wire := newProxy(t, l.host.Socket)
	clock := clocktesting.NewFakeClock(time.Now())
	p := l.open(t, wire, func(c *libvirt.Config) { c.Clock = clock })
	req := l.request(t, p)
	l.mu.Lock()
	l.proxies = append(l.proxies, wire)
	l.mu.Unlock()
	run(t, p, req)
	end := clock.Now().Add(time.Minute)
	var details []string
	for _, c := range []struct {
		wait time.Duration
		asks int
	}{{0, 1}, {5 * time.Second, 1}, {5 * time.Second, 2}, {49 * time.Second, 3}} {
		clock.Step(c.wait)
		o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity, ForceAfter: end})
		if err != nil || o.Power != platform.PowerOn {
			t.Fatalf("Release: %+v, %v", o, err)
		}
		details = append(details, o.Detail)
		if got := l.Asked(t, req.UUID); got != c.asks {
			t.Errorf("after %s more the guest was asked %d times, want %d", c.wait, got, c.asks)
		}
	}
	if details = slices.Compact(details); len(details) != 1 || !strings.Contains(details[0], end.UTC().Format(time.RFC3339)) {
		t.Errorf("what is told changes although nothing does, or does not say how long: %q", details)
	}
	if live := l.live(t, req.UUID); !strings.Contains(live, "<on_reboot>destroy</on_reboot>") {
		t.Error("a guest that reboots instead would come back")
	}
	clock.Step(time.Second)
	if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity, ForceAfter: end}); err != nil || o.Existence != platform.Absent {
		t.Errorf("when its time is over: %+v, %v", o, err)
	}
}

// testHeld releases a guest that cannot hear: it is stopped by a person, or by QEMU.
func testHeld(t *testing.T, l *lab) {
	t.Helper()
	p := l.Session(t)
	req := l.request(t, p)
	run(t, p, req)
	must(t, l.admin.DomainSuspend(l.domain(t, req.UUID)))
	o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity, ForceAfter: time.Now().Add(time.Hour)})
	if err != nil || o.Existence != platform.Absent {
		t.Errorf("Release: %+v, %v", o, err)
	}
	if n := l.Asked(t, req.UUID); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}
