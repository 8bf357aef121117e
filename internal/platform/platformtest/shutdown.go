// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// releaseBy releases an instance whose guest has time until a moment.
func releaseBy(t *testing.T, p platform.Platform, req platform.Request, forceAfter time.Time) platform.Observation {
	t.Helper()
	o, err := p.Release(within(t), platform.ReleaseRequest{Identity: req.Identity, ForceAfter: forceAfter})
	if err != nil {
		t.Fatalf("Release: %v", err)
	}
	return o
}

// released fails unless repeated calls come to an end.
func released(t *testing.T, p platform.Platform, req platform.Request, forceAfter time.Time) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if o := releaseBy(t, p, req, forceAfter); o.Existence == platform.Absent {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("Release never ends: %+v", o)
		}
		time.Sleep(pause)
	}
	if o := observe(t, p, req.Identity); o.Existence != platform.Absent {
		t.Errorf("after Release there is %+v", o)
	}
}

// asked fails unless the guest was asked to shut down, and not with every call.
func asked(t *testing.T, lab Lab, req platform.Request, since time.Time) {
	t.Helper()
	most := 1 + int(time.Since(since)/(5*time.Second))
	if n := lab.Asked(t, req.UUID); n < 1 || n > most {
		t.Errorf("the guest was asked to shut down %d times, want once, and again only after a while", n)
	}
}

func testShutDown(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := withAddress(newRequest(lab, image), lab.Address())
	run(t, p, req)
	start := time.Now()
	running := lab.Inventory(t)
	for range 3 {
		o := releaseBy(t, p, req, time.Now().Add(time.Hour))
		if o.Existence != platform.Exists || o.Power != platform.PowerOn || o.Detail == "" {
			t.Errorf("a guest that has an hour: %+v", o)
		}
		wantAddress(t, "while it shuts down", o, lab.Address())
	}
	asked(t, lab, req, start)
	sameInventory(t, "after the guest was asked", running, lab.Inventory(t))
	released(t, p, req, time.Now().Add(-time.Second))

	other := newRequest(lab, image)
	run(t, p, other)
	gone(t, p, other.Identity)
	if n := lab.Asked(t, other.UUID); n != 0 {
		t.Errorf("a guest that has no time was asked %d times", n)
	}
	dropImage(t, p, image)
}

func testShutDownObeyed(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	run(t, p, req)
	start := time.Now()
	releaseBy(t, p, req, time.Now().Add(time.Hour))
	asked(t, lab, req, start)
	lab.PowerOff(t, req.UUID)
	released(t, p, req, time.Now().Add(time.Hour))

	stopped := newRequest(lab, image)
	run(t, p, stopped)
	lab.PowerOff(t, stopped.UUID)
	released(t, p, stopped, time.Now().Add(time.Hour))
	if n := lab.Asked(t, stopped.UUID); n != 0 {
		t.Errorf("a stopped guest was asked %d times", n)
	}
	dropImage(t, p, image)
}

func testShutDownInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	before := lab.Inventory(t)
	interruptions(t, func(t *testing.T, n int, lost bool) bool {
		req := newRequest(lab, image)
		run(t, p, req)
		faulty, fired := lab.Faulty(t, n, lost)
		o, err := faulty.Release(within(t), platform.ReleaseRequest{Identity: req.Identity, ForceAfter: time.Now().Add(time.Hour)})
		if fired() {
			wantError(t, "interrupted Release", err, platform.ErrUnreachable)
			if o.Existence != platform.Unknown {
				t.Errorf("an interrupted Release claims to know %+v", o)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if o := observe(t, p, req.Identity); o.Power != platform.PowerOn {
			t.Errorf("a guest that was asked and did not obey: %+v", o)
		}
		releaseBy(t, p, req, time.Now().Add(time.Hour))
		if lab.Asked(t, req.UUID) < 1 {
			t.Error("the next session did not ask the guest")
		}
		gone(t, p, req.Identity)
		sameInventory(t, "at the end", before, lab.Inventory(t))
		return fired()
	})
	dropImage(t, p, image)
}
