// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// An address that nobody gives back is lost to its pool: the instances that are interrupted have one.
func testEnsureInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	for _, c := range []struct {
		name  string
		after func(*testing.T, platform.Request)
	}{
		{"then ensured", func(t *testing.T, req platform.Request) {
			wantAddress(t, "after all", run(t, p, req), lab.Address())
			gone(t, p, req.Identity)
		}},
		{"then released", func(t *testing.T, req platform.Request) { gone(t, p, req.Identity) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			interruptions(t, func(t *testing.T, n int, lost bool) bool {
				req := withAddress(newRequest(lab, image), lab.Address())
				req.Disks = []platform.Disk{{Name: "data", Bytes: 1 << 20}}
				faulty, fired := lab.Faulty(t, n, lost)
				_, err := start(t, faulty, req)
				if fired() {
					wantError(t, "interrupted Ensure", err, platform.ErrUnreachable)
				} else if err != nil {
					t.Fatalf("Ensure: %v", err)
				}
				observe(t, p, req.Identity)
				c.after(t, req)
				sameInventory(t, "at the end", before, lab.Inventory(t))
				return fired()
			})
		})
	}
	dropImage(t, p, image)
}

func testReleaseInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	interruptions(t, func(t *testing.T, n int, lost bool) bool {
		req := withAddress(newRequest(lab, image), lab.Address())
		req.Disks = []platform.Disk{{Name: "data", Bytes: 1 << 20}}
		run(t, p, req)
		faulty, fired := lab.Faulty(t, n, lost)
		o, err := finish(t, faulty, req.Identity)
		if fired() {
			wantError(t, "interrupted Release", err, platform.ErrUnreachable)
			if o.Existence != platform.Unknown {
				t.Errorf("an interrupted Release claims to know %+v", o)
			}
		}
		gone(t, p, req.Identity)
		sameInventory(t, "at the end", before, lab.Inventory(t))
		return fired()
	})
	dropImage(t, p, image)
}

func testScrubInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	scrubber, ok := p.(platform.BootstrapScrubber)
	if !ok {
		t.Log("this platform keeps bootstrap data")
		return
	}
	image := storedImage(t, lab, p)
	for _, kind := range lab.Channels() {
		t.Run(string(kind), func(t *testing.T) {
			interruptions(t, func(t *testing.T, n int, lost bool) bool {
				req := through(newRequest(lab, image), kind)
				run(t, p, req)
				faulty, fired := lab.Faulty(t, n, lost)
				err := faulty.(platform.BootstrapScrubber).ScrubBootstrap(within(t), req.Identity)
				if fired() {
					wantError(t, "interrupted ScrubBootstrap", err, platform.ErrUnreachable)
				}
				if err := scrubber.ScrubBootstrap(within(t), req.Identity); err != nil {
					t.Errorf("ScrubBootstrap: %v", err)
				}
				if o := observe(t, p, req.Identity); o.BootstrapPresent || o.Power != platform.PowerOn {
					t.Errorf("after the scrub: %+v, want a running instance without bootstrap data", o)
				}
				gone(t, p, req.Identity)
				return fired()
			})
		})
	}
	dropImage(t, p, image)
}
