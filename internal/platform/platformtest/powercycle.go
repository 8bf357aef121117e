// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"context"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// half is one half of a power cycle.
type half func(ctx context.Context, id platform.Identity) (platform.Observation, error)

// switched calls one half of a power cycle until it is done.
func switched(t *testing.T, half half, id platform.Identity, want platform.Power) platform.Observation {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		o, err := half(within(t), id)
		if err != nil {
			t.Fatalf("switching the instance: %v", err)
		}
		if o.Existence == platform.Exists && o.Started && o.Power == want {
			return o
		}
		if time.Now().After(deadline) {
			t.Fatalf("the instance is never switched: %+v", o)
		}
	}
}

func testPowerCycle(t *testing.T, lab Lab) {
	p := lab.Session(t)
	cycler := capability[platform.PowerCycler](t, p)
	image := storedImage(t, lab, p)
	req := withAddress(newRequest(lab, image), lab.Address())
	halves := []half{cycler.SwitchOff, cycler.SwitchOn}
	for _, half := range halves {
		if o, err := half(within(t), req.Identity); err != nil || o.Existence != platform.Absent {
			t.Errorf("switching what is not there: %+v, %v", o, err)
		}
	}
	run(t, p, req)
	for i, want := range []platform.Power{platform.PowerOff, platform.PowerOn} {
		o := switched(t, halves[i], req.Identity, want)
		if !o.BootstrapPresent {
			t.Errorf("bootstrap data is lost by switching: %+v", o)
		}
		once := lab.Inventory(t)
		switched(t, halves[i], req.Identity, want)
		sameInventory(t, "after it was switched twice", once, lab.Inventory(t))
		if o, err := p.Ensure(within(t), req); err != nil || o.Power != want {
			t.Errorf("Ensure of what was switched: %+v, %v", o, err)
		}
		other := req.Identity
		other.ManagementClusterID = "3f0c9d2e-0000-4000-8000-00000000000b"
		for _, half := range halves {
			_, err := half(within(t), other)
			wantError(t, "switching by another management cluster", err, platform.ErrForeign)
		}
		sameInventory(t, "after somebody else tried", once, lab.Inventory(t))
	}
	wantAddress(t, "after all", observe(t, p, req.Identity), lab.Address())
	restore := lab.Sever(t)
	for _, half := range halves {
		_, err := half(within(t), req.Identity)
		wantError(t, "switching while the endpoint is unreachable", err, platform.ErrUnreachable)
	}
	restore()
	awaitBack(t, p)
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

// testPowerCycleInterrupted: whoever remembers which half it was at goes on with that half.
func testPowerCycleInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	cycler := capability[platform.PowerCycler](t, p)
	image := storedImage(t, lab, p)
	interruptions(t, func(t *testing.T, n int, lost bool) bool {
		req := newRequest(lab, image)
		run(t, p, req)
		faulty, fired := lab.Faulty(t, n, lost)
		dying := capability[platform.PowerCycler](t, faulty)
		_, err := dying.SwitchOff(within(t), req.Identity)
		if err == nil {
			_, err = dying.SwitchOn(within(t), req.Identity)
		} else {
			switched(t, cycler.SwitchOff, req.Identity, platform.PowerOff)
		}
		if fired() {
			wantError(t, "interrupted switching", err, platform.ErrUnreachable)
		} else if err != nil {
			t.Fatal(err)
		}
		switched(t, cycler.SwitchOn, req.Identity, platform.PowerOn)
		gone(t, p, req.Identity)
		return fired()
	})
	dropImage(t, p, image)
}
