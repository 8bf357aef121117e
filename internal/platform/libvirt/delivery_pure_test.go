// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// networks are the kinds of network that differ in how an address gets to a guest.
func networks() map[string]string {
	const dhcp = `<dhcp><range start='192.0.2.100' end='192.0.2.200'/></dhcp>`
	return map[string]string{
		"nat":      `<network><name>nat</name><forward mode='nat'/><ip address='192.0.2.1' prefix='24'>` + dhcp + `</ip></network>`,
		"netmask":  `<network><name>netmask</name><forward/><ip address='192.0.2.1' netmask='255.255.255.0'>` + dhcp + `</ip></network>`,
		"classful": `<network><name>classful</name><forward/><ip address='192.0.2.1'>` + dhcp + `</ip></network>`,
		"isolated": `<network><name>isolated</name><ip address='192.0.2.1' prefix='24'>` + dhcp + `</ip></network>`,
		"routed":   `<network><name>routed</name><forward mode='route'/><ip address='192.0.2.1' prefix='24'/></network>`,
		"bridge":   `<network><name>bridge</name><forward mode='bridge'/><bridge name='br0'/></network>`,
		"dual": `<network><name>dual</name><forward mode='nat'/><ip address='192.0.2.1' prefix='24'>` + dhcp + `</ip>
<ip family='ipv6' address='2001:db8::1' prefix='64'><dhcp><range start='2001:db8::100' end='2001:db8::1ff'/></dhcp></ip></network>`,
	}
}

// with returns a request for one interface per network, each with its addresses: prefix and gateway, if any, separated by a
// slash more.
func with(kind delivery.Kind, interfaces ...[]string) platform.Request {
	req := exampleRequest()
	req.Interfaces = nil
	req.Bootstrap.Channels = []delivery.Channel{{Kind: kind, Key: "opt/key"}}
	for _, nic := range interfaces {
		i := platform.Interface{Network: nic[0]}
		for _, text := range nic[1:] {
			prefix, gateway, _ := strings.Cut(text, " via ")
			a := platform.Address{Prefix: netip.MustParsePrefix(prefix)}
			if gateway != "" {
				a.Gateway = netip.MustParseAddr(gateway)
			}
			i.Addresses = append(i.Addresses, a)
		}
		req.Interfaces = append(req.Interfaces, i)
	}
	return req
}

// An address that a pool has given is the machine's, or the machine is not made. Each case is one network and what is asked
// of it.
func TestPlanAddresses(t *testing.T) {
	id := exampleRequest().Identity
	mac0 := libvirt.MAC(id, 0)
	carried := func(dhcp bool, addresses ...string) []delivery.Interface {
		i := delivery.Interface{MAC: mac0, DHCP: dhcp}
		for _, a := range with(delivery.NoCloud, append([]string{""}, addresses...)).Interfaces[0].Addresses {
			i.Addresses = append(i.Addresses, delivery.Address(a))
		}
		return []delivery.Interface{i}
	}
	for name, c := range map[string]struct {
		req      platform.Request
		reserved []string
		carried  []delivery.Interface
		err      error
		says     string
	}{
		"a network with DHCP reserves":                    {req: with(delivery.FWCfg, []string{"nat", "192.0.2.10/24 via 192.0.2.1"}), reserved: []string{"nat " + mac0 + " 192.0.2.10"}},
		"also inside its range":                           {req: with(delivery.FWCfg, []string{"nat", "192.0.2.150/24"}), reserved: []string{"nat " + mac0 + " 192.0.2.150"}},
		"also when the channel could carry":               {req: with(delivery.NoCloud, []string{"nat", "192.0.2.10/24"}), reserved: []string{"nat " + mac0 + " 192.0.2.10"}},
		"a netmask is a prefix":                           {req: with(delivery.FWCfg, []string{"netmask", "192.0.2.10/24"}), reserved: []string{"netmask " + mac0 + " 192.0.2.10"}},
		"a class is a prefix":                             {req: with(delivery.FWCfg, []string{"classful", "192.0.2.10/24"}), reserved: []string{"classful " + mac0 + " 192.0.2.10"}},
		"no address needs no place":                       {req: with(delivery.SMBIOS, []string{"bridge"})},
		"a bridge knows nothing":                          {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24 via 198.51.100.1"}), carried: carried(false, "198.51.100.10/24 via 198.51.100.1")},
		"a config drive carries as well":                  {req: with(delivery.ConfigDrive, []string{"bridge", "198.51.100.10/24"}), carried: carried(false, "198.51.100.10/24")},
		"a network without DHCP has a subnet":             {req: with(delivery.NoCloud, []string{"routed", "192.0.2.10/24"}), carried: carried(false, "192.0.2.10/24")},
		"IPv6 is carried beside a reservation":            {req: with(delivery.NoCloud, []string{"dual", "192.0.2.10/24", "2001:db8::10/64"}), reserved: []string{"dual " + mac0 + " 192.0.2.10"}, carried: carried(true, "2001:db8::10/64")},
		"a firmware file has no place on a bridge":        {req: with(delivery.FWCfg, []string{"bridge", "198.51.100.10/24"}), err: platform.ErrUnsupported, says: "NoCloud or ConfigDrive"},
		"nor has SMBIOS":                                  {req: with(delivery.SMBIOS, []string{"bridge", "198.51.100.10/24"}), err: platform.ErrUnsupported, says: "channel SMBIOS"},
		"IPv6 cannot be reserved":                         {req: with(delivery.FWCfg, []string{"dual", "2001:db8::10/64"}), err: platform.ErrUnsupported, says: "cannot reserve IPv6"},
		"IPv6 that anybody may get is refused":            {req: with(delivery.NoCloud, []string{"dual", "2001:db8::110/64"}), err: platform.ErrInvalid, says: "2001:db8::100-2001:db8::1ff"},
		"two addresses for one reservation":               {req: with(delivery.NoCloud, []string{"nat", "192.0.2.10/24", "192.0.2.11/24"}), err: platform.ErrUnsupported, says: "one IPv4 address per interface"},
		"an address of another network":                   {req: with(delivery.NoCloud, []string{"nat"}, []string{"nat", "198.51.100.10/24"}), err: platform.ErrInvalid, says: "spec.networks[1].addressesFromPools: address 198.51.100.10/24"},
		"the network names its subnet":                    {req: with(delivery.FWCfg, []string{"nat", "198.51.100.10/24"}), err: platform.ErrInvalid, says: "network nat, which has 192.0.2.0/24"},
		"another prefix would reach other machines":       {req: with(delivery.FWCfg, []string{"nat", "192.0.2.10/25"}), err: platform.ErrInvalid, says: "prefix 24"},
		"the host's own address":                          {req: with(delivery.FWCfg, []string{"nat", "192.0.2.1/24"}), err: platform.ErrInvalid, says: "host's own"},
		"another gateway than is handed out":              {req: with(delivery.FWCfg, []string{"nat", "192.0.2.10/24 via 192.0.2.254"}), err: platform.ErrInvalid, says: "hands out the gateway 192.0.2.1"},
		"a gateway where there is none":                   {req: with(delivery.FWCfg, []string{"isolated", "192.0.2.10/24 via 192.0.2.1"}), err: platform.ErrInvalid, says: "isolated"},
		"a gateway in another network":                    {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24 via 192.0.2.1"}), err: platform.ErrInvalid, says: "gateway 192.0.2.1"},
		"a machine is not its own gateway":                {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24 via 198.51.100.10"}), err: platform.ErrInvalid, says: "gateway"},
		"the network itself":                              {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.0/24"}), err: platform.ErrInvalid, says: "whole network"},
		"everybody in it":                                 {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.255/24"}), err: platform.ErrInvalid, says: "whole network"},
		"a link of two has no such addresses":             {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.0/31"}), carried: carried(false, "198.51.100.0/31")},
		"many machines":                                   {req: with(delivery.NoCloud, []string{"bridge", "224.0.0.1/24"}), err: platform.ErrInvalid, says: "one machine"},
		"one address twice":                               {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24"}, []string{"bridge", "198.51.100.10/24"}), err: platform.ErrInvalid, says: "asked for twice"},
		"an IPv4 address in IPv6":                         {req: with(delivery.NoCloud, []string{"bridge", "::ffff:198.51.100.10/120"}), err: platform.ErrInvalid, says: "not an address"},
		"interfaces without an address are told the rest": {req: with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24"}, []string{"nat"}), carried: append(carried(false, "198.51.100.10/24"), delivery.Interface{MAC: libvirt.MAC(id, 1), DHCP: true})},
	} {
		t.Run(name, func(t *testing.T) {
			reserved, carried, err := libvirt.PlanAddresses(c.req, networks())
			if !errors.Is(err, c.err) || c.err == nil && err != nil || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.err, c.says)
			}
			if diff := cmp.Diff(c.reserved, reserved); diff != "" {
				t.Errorf("reserved: %s", diff)
			}
			if diff := cmp.Diff(c.carried, carried, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("carried: %s", diff)
			}
		})
	}
}

// The Node's address is the first one: it must be the first interface's, and must not wait for a lease.
func TestAddressesInOrder(t *testing.T) {
	req := with(delivery.NoCloud, []string{"nat"}, []string{"bridge", "198.51.100.10/24", "2001:db8::10/64"}, []string{"nat", "192.0.2.30/24"})
	id := req.Identity
	lent := [][2]string{
		{"52:54:00:00:00:01", "203.0.113.1"}, // an interface that a person has added
		{strings.ToUpper(libvirt.MAC(id, 2)), "192.0.2.30"},
		{libvirt.MAC(id, 0), "192.0.2.110"},
		{libvirt.MAC(id, 0), "fe80::1"},
		{libvirt.MAC(id, 0), "no address"},
	}
	if got, want := libvirt.Addresses(req, lent...), []string{"192.0.2.110", "198.51.100.10", "2001:db8::10", "192.0.2.30", "203.0.113.1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := libvirt.Addresses(req), []string{"198.51.100.10", "2001:db8::10", "192.0.2.30"}; !slices.Equal(got, want) {
		t.Errorf("without leases: got %v, want %v", got, want)
	}
}

// Data that does not fit must be refused before anything is made, with what to do.
func TestCheckBootstrap(t *testing.T) {
	for name, c := range map[string]struct {
		channels []delivery.Channel
		size     int
		cpus     int32
		err      error
	}{
		"nothing to deliver":               {nil, 0, 1, nil},
		"no channel":                       {nil, 1, 1, platform.ErrUnsupported},
		"unknown channel":                  {[]delivery.Channel{{Kind: "guestinfo"}}, 1, 1, platform.ErrUnsupported},
		"firmware file without name":       {[]delivery.Channel{{Kind: delivery.FWCfg}}, 1, 1, platform.ErrInvalid},
		"string without name":              {[]delivery.Channel{{Kind: delivery.SMBIOS}}, 1, 1, platform.ErrInvalid},
		"a lot in a firmware file":         {[]delivery.Channel{{Kind: delivery.FWCfg, Key: "k"}}, 1 << 20, 1, nil},
		"a lot on a CD-ROM":                {[]delivery.Channel{{Kind: delivery.NoCloud}}, 1 << 20, 1, nil},
		"a little in SMBIOS":               {[]delivery.Channel{{Kind: delivery.SMBIOS, Key: "k"}}, 44 << 10, 1, nil},
		"too much for SMBIOS":              {[]delivery.Channel{{Kind: delivery.SMBIOS, Key: "k"}}, 46 << 10, 1, platform.ErrUnsupported},
		"CPUs take room in SMBIOS":         {[]delivery.Channel{{Kind: delivery.SMBIOS, Key: "k"}}, 44 << 10, 64, platform.ErrUnsupported},
		"no room at all":                   {[]delivery.Channel{{Kind: delivery.SMBIOS, Key: "k"}}, 1, 1000, platform.ErrUnsupported},
		"the family's best channel counts": {[]delivery.Channel{{Kind: "guestinfo"}, {Kind: delivery.SMBIOS, Key: "k"}, {Kind: delivery.NoCloud}}, 1 << 20, 1, platform.ErrUnsupported},
	} {
		req := exampleRequest()
		req.CPUs = c.cpus
		req.Bootstrap = platform.Bootstrap{Data: make([]byte, c.size), Channels: c.channels}
		if err := libvirt.CheckBootstrap(req); !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s: got %v, want %v", name, err, c.err)
		}
	}
}

// What only the carrier or the networks are told is input as well.
func TestRevisionCoversDelivery(t *testing.T) {
	base := with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24 via 198.51.100.1"})
	_, want, err := libvirt.Render(base, false)
	if err != nil {
		t.Fatal(err)
	}
	renamed := base
	renamed.Name = strings.Repeat("n", 100) + "-1"
	for name, req := range map[string]platform.Request{
		"channel": with(delivery.ConfigDrive, []string{"bridge", "198.51.100.10/24 via 198.51.100.1"}),
		"address": with(delivery.NoCloud, []string{"bridge", "198.51.100.11/24 via 198.51.100.1"}),
		"prefix":  with(delivery.NoCloud, []string{"bridge", "198.51.100.10/25 via 198.51.100.1"}),
		"gateway": with(delivery.NoCloud, []string{"bridge", "198.51.100.10/24"}),
		"name":    renamed,
	} {
		if _, revision, err := libvirt.Render(req, false); err != nil || revision == want {
			t.Errorf("another %s gives the same revision (%v)", name, err)
		}
	}
}
