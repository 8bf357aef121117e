// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"net/netip"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// withAddress returns the request with a static address on its first interface.
func withAddress(req platform.Request, a platform.Address) platform.Request {
	req.Interfaces[0].Addresses = []platform.Address{a}
	return req
}

// wantAddress fails unless the observation has the address before any other.
func wantAddress(t *testing.T, when string, o platform.Observation, a platform.Address) {
	t.Helper()
	if len(o.Addresses) == 0 || o.Addresses[0] != a.Prefix.Addr().String() {
		t.Errorf("%s the addresses are %v, want %s first", when, o.Addresses, a.Prefix.Addr())
	}
}

func testStaticAddress(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	req := withAddress(newRequest(lab, image), lab.Address())
	wantAddress(t, "as soon as it runs", run(t, p, req), lab.Address())
	running := lab.Inventory(t)
	for _, session := range []platform.Platform{p, lab.Session(t)} {
		wantAddress(t, "when it is looked at", observe(t, session, req.Identity), lab.Address())
		wantAddress(t, "when it is ensured again", run(t, session, req), lab.Address())
	}
	sameInventory(t, "after Ensure was repeated", running, lab.Inventory(t))
	lab.PowerOff(t, req.UUID)
	if o := observe(t, p, req.Identity); len(o.Addresses) != 0 {
		t.Errorf("a stopped instance has the addresses %v", o.Addresses)
	}
	gone(t, p, req.Identity)
	sameInventory(t, "after Release", before, lab.Inventory(t))

	next := withAddress(newRequest(lab, image), lab.Address())
	wantAddress(t, "for the next instance", run(t, p, next), lab.Address())
	gone(t, p, next.Identity)
	dropImage(t, p, image)
}

func testAddressTwice(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := withAddress(newRequest(lab, image), lab.Address())
	req.Interfaces = append(req.Interfaces, req.Interfaces[0])
	_, err := p.Ensure(within(t), req)
	wantError(t, "Ensure", err, platform.ErrInvalid)
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testAddressTaken(t *testing.T, lab Lab) {
	if !lab.KnowsAddresses() {
		t.Log("nothing on this platform knows who has an address: whoever gives addresses out must see to it")
		return
	}
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	outside := platform.Address{Prefix: netip.MustParsePrefix("203.0.113.10/24")}
	refused := func(t *testing.T, a platform.Address, want error) {
		t.Helper()
		req := withAddress(newRequest(lab, image), a)
		before := lab.Inventory(t)
		_, err := p.Ensure(within(t), req)
		wantError(t, "Ensure", err, want)
		sameInventory(t, "after the refusal", before, lab.Inventory(t))
		gone(t, p, req.Identity)
		sameInventory(t, "after the refused instance was released", before, lab.Inventory(t))
	}
	t.Run("by an instance", func(t *testing.T) {
		first := withAddress(newRequest(lab, image), lab.Address())
		run(t, p, first)
		refused(t, lab.Address(), platform.ErrCapacity)
		wantAddress(t, "after another was refused", observe(t, p, first.Identity), lab.Address())
		gone(t, p, first.Identity)
	})
	t.Run("by somebody else", func(t *testing.T) {
		lab.TakeAddress(t, lab.Address().Prefix.Addr())
		refused(t, lab.Address(), platform.ErrCapacity)
	})
	t.Run("by no network", func(t *testing.T) { refused(t, outside, platform.ErrInvalid) })
	dropImage(t, p, image)
}
