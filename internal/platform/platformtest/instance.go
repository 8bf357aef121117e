// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

func testLife(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := newImage(t, lab)
	req := newRequest(lab, image)

	if o := observe(t, p, req.Identity); o.Existence != platform.Absent {
		t.Fatalf("before anything there is %+v", o)
	}
	_, err := p.Ensure(within(t), req)
	wantError(t, "Ensure without the image", err, platform.ErrImageNotReady)
	if o := observe(t, p, req.Identity); o.Existence != platform.Absent {
		t.Errorf("the refused Ensure left %+v", o)
	}

	store(t, p, image)
	if o := run(t, p, req); !o.BootstrapPresent {
		t.Error("the instance was started without its bootstrap data on the platform")
	}
	running := lab.Inventory(t)
	run(t, p, req)
	run(t, lab.Session(t), req)
	sameInventory(t, "after Ensure was repeated", running, lab.Inventory(t))

	if scrubber, ok := p.(platform.BootstrapScrubber); ok {
		for range 2 {
			if err := scrubber.ScrubBootstrap(within(t), req.Identity); err != nil {
				t.Fatalf("ScrubBootstrap: %v", err)
			}
			if o := observe(t, p, req.Identity); o.BootstrapPresent || o.Power != platform.PowerOn {
				t.Errorf("after the scrub: %+v, want a running instance without bootstrap data", o)
			}
		}
		if o := run(t, p, req); o.BootstrapPresent {
			t.Error("Ensure brought the bootstrap data back")
		}
	}

	gone(t, p, req.Identity)
	gone(t, p, req.Identity)
	store(t, p, image) // Release has not touched it: this returns at once
	dropImage(t, p, image)
	dropImage(t, p, image)
}

func testStartedOnce(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	run(t, p, req)
	lab.PowerOff(t, req.UUID)
	stopped := lab.Inventory(t)
	for _, session := range []platform.Platform{p, lab.Session(t)} {
		o, err := session.Ensure(within(t), req)
		if err != nil {
			t.Fatalf("Ensure: %v", err)
		}
		if o.Power != platform.PowerOff || !o.Started || o.Existence != platform.Exists {
			t.Errorf("Ensure on a stopped instance returned %+v, want it stopped and started once", o)
		}
	}
	sameInventory(t, "after Ensure on a stopped instance", stopped, lab.Inventory(t))
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testSeparateOwners(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	run(t, p, req)
	other := req
	other.ManagementClusterID = "3f0c9d2e-0000-4000-8000-00000000000b"
	refusesForeign(t, lab, p, other)
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testForeign(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	t.Run("planted", func(t *testing.T) {
		lab.PutForeign(t, req.UUID)
		refusesForeign(t, lab, p, req)
	})
	dropImage(t, p, image)
}

// refusesForeign fails unless every method refuses the instance and nothing changes.
func refusesForeign(t *testing.T, lab Lab, p platform.Platform, req platform.Request) {
	t.Helper()
	before := lab.Inventory(t)
	_, err := p.Ensure(within(t), req)
	wantError(t, "Ensure", err, platform.ErrForeign)
	_, err = p.Observe(within(t), req.Identity)
	wantError(t, "Observe", err, platform.ErrForeign)
	o, err := p.Release(within(t), platform.ReleaseRequest{Identity: req.Identity})
	wantError(t, "Release", err, platform.ErrForeign)
	if o.Existence != platform.Unknown {
		t.Errorf("a refused Release claims to know %+v", o)
	}
	if scrubber, ok := p.(platform.BootstrapScrubber); ok {
		wantError(t, "ScrubBootstrap", scrubber.ScrubBootstrap(within(t), req.Identity), platform.ErrForeign)
	}
	sameInventory(t, "after all methods refused", before, lab.Inventory(t))
}

func testRefusals(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	for name, c := range map[string]struct {
		change func(*platform.Request)
		want   error
	}{
		"missing storage": {func(r *platform.Request) { r.Storage = "no-such-storage" }, platform.ErrInvalid},
		"missing network": {func(r *platform.Request) {
			r.Interfaces = append(r.Interfaces, platform.Interface{Network: "no-such-network"})
		}, platform.ErrInvalid},
		"no CPU":               {func(r *platform.Request) { r.CPUs = 0 }, platform.ErrInvalid},
		"no memory":            {func(r *platform.Request) { r.MemoryBytes = 0 }, platform.ErrInvalid},
		"unknown firmware":     {func(r *platform.Request) { r.Firmware = "Coreboot" }, platform.ErrInvalid},
		"disk below the image": {func(r *platform.Request) { r.RootDiskBytes = diskBytes / 2 }, platform.ErrInvalid},
		"no usable channel":    {func(r *platform.Request) { r.Bootstrap.Channels = r.Bootstrap.Channels[:1] }, platform.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			req := newRequest(lab, image)
			c.change(&req)
			_, err := p.Ensure(within(t), req)
			wantError(t, "Ensure", err, c.want)
			gone(t, p, req.Identity) // whoever deletes the machine of a refused request must get rid of it
		})
	}
	dropImage(t, p, image)
}

func testUnreachable(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	run(t, p, req)
	before := lab.Inventory(t)
	restore := lab.Sever(t)
	for name, call := range map[string]func() (platform.Observation, error){
		"Ensure":  func() (platform.Observation, error) { return p.Ensure(within(t), req) },
		"Observe": func() (platform.Observation, error) { return p.Observe(within(t), req.Identity) },
		"Release": func() (platform.Observation, error) {
			return p.Release(within(t), platform.ReleaseRequest{Identity: req.Identity})
		},
	} {
		o, err := call()
		wantError(t, name, err, platform.ErrUnreachable)
		if o.Existence != platform.Unknown || o.Power != platform.PowerUnknown {
			t.Errorf("%s of an unreachable endpoint claims to know %+v", name, o)
		}
	}
	if o, err := p.EnsureImage(within(t), image); !errors.Is(err, platform.ErrUnreachable) || o.Ready {
		t.Errorf("EnsureImage: got %+v, %v", o, err)
	}
	wantError(t, "ReleaseImage", p.ReleaseImage(within(t), image.ImageIdentity), platform.ErrUnreachable)
	restore()
	sameInventory(t, "after the endpoint came back", before, lab.Inventory(t))

	awaitBack(t, p)
	if o := observe(t, p, req.Identity); o.Power != platform.PowerOn {
		t.Errorf("after the endpoint came back: %+v", o)
	}
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testDeadline(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Ensure(ctx, req)
	wantError(t, "Ensure", err, platform.ErrUnreachable)
	_, err = p.Observe(ctx, req.Identity)
	wantError(t, "Observe", err, platform.ErrUnreachable)
	o, err := p.Release(ctx, platform.ReleaseRequest{Identity: req.Identity})
	wantError(t, "Release", err, platform.ErrUnreachable)
	if o.Existence != platform.Unknown {
		t.Errorf("Release without time claims to know %+v", o)
	}
	run(t, p, req) // the session has survived
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testConcurrent(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	for i, err := range together(4, func(int) error { _, err := p.Ensure(within(t), req); return err }) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	run(t, p, req)
	for i, err := range together(4, func(int) error {
		_, err := p.Release(within(t), platform.ReleaseRequest{Identity: req.Identity})
		return err
	}) {
		if err != nil {
			t.Errorf("release %d: %v", i, err)
		}
	}
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testTwoManagers(t *testing.T, lab Lab) {
	sessions := []platform.Platform{lab.Session(t), lab.Session(t)}
	image := storedImage(t, lab, sessions[0])
	req := newRequest(lab, image)
	// What they hinder each other in is reported and tried again; what counts is where it ends.
	for i, err := range together(2, func(i int) error { _, err := sessions[i].Ensure(within(t), req); return err }) {
		t.Logf("manager %d: %v", i, err)
	}
	run(t, sessions[0], req)
	run(t, sessions[1], req)
	for i, err := range together(2, func(i int) error {
		_, err := sessions[i].Release(within(t), platform.ReleaseRequest{Identity: req.Identity})
		return err
	}) {
		t.Logf("manager %d: %v", i, err)
	}
	gone(t, sessions[1], req.Identity)
	dropImage(t, sessions[0], image)
}

// together runs fn n times at once.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = fn(i) })
	}
	all.Wait()
	return errs
}
