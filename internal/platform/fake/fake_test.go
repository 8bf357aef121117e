// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/platformtest"
)

// TestConformance exists because reconcilers are tested against the fake: where it is kinder than the contract, their
// tests prove nothing.
func TestConformance(t *testing.T) {
	platformtest.Run(t, lab{fake.New(fake.Options{
		Storages: []string{"pool"}, Networks: []string{"net"}, ReadSources: true, ImageDiskBytes: 1 << 20,
		Subnets: map[string]netip.Prefix{"net": netip.MustParsePrefix("192.0.2.0/24")},
	})})
}

type lab struct{ p *fake.Platform }

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
