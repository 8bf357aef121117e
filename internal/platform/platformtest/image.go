// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"errors"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

func testImageWrong(t *testing.T, lab Lab) {
	p := lab.Session(t)
	for _, c := range append(lab.WrongImages(),
		WrongImage{"unknown format", func(_ *testing.T, image *platform.ImageRequest) { image.Format = "floppy" }, platform.ErrUnsupported},
		WrongImage{"missing storage", func(_ *testing.T, image *platform.ImageRequest) { image.Storage = "no-such-storage" }, platform.ErrInvalid},
	) {
		t.Run(c.Name, func(t *testing.T) {
			before := lab.Inventory(t)
			good := newImage(t, lab)
			image := good
			c.Spoil(t, &image)
			for range 2 { // the second copy starts anew and fails alike
				wantError(t, "EnsureImage", copyImage(within(t), p, image), c.Want)
			}
			req := newRequest(lab, good)
			_, err := p.Ensure(within(t), req)
			wantError(t, "Ensure", err, platform.ErrImageNotReady)
			sameInventory(t, "after the failed copy", before, lab.Inventory(t))
		})
	}
}

func testImageInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	interruptions(t, func(t *testing.T, n int, lost bool) bool {
		image := newImage(t, lab)
		faulty, fired := lab.Faulty(t, n, lost)
		err := copyImage(within(t), faulty, image)
		switch {
		case !fired() && err != nil:
			t.Fatalf("EnsureImage: %v", err)
		case fired() && !errors.Is(err, platform.ErrUnreachable):
			t.Errorf("interrupted EnsureImage: got %v, want an error that wraps %q", err, platform.ErrUnreachable)
		}
		req := newRequest(lab, image)
		if _, err := p.Ensure(within(t), req); err != nil {
			wantError(t, "Ensure after the interrupted copy", err, platform.ErrImageNotReady)
		} else if fired() && !lost {
			t.Error("an instance was made from a copy whose last step never happened")
		}
		gone(t, p, req.Identity)
		store(t, p, image)
		dropImage(t, p, image)
		return fired()
	})
}

func testImageInUse(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	run(t, p, req)
	lab.PowerOff(t, req.UUID)
	before := lab.Inventory(t)
	wantError(t, "ReleaseImage", p.ReleaseImage(within(t), image.ImageIdentity), platform.ErrInUse)
	sameInventory(t, "after the refusal", before, lab.Inventory(t))
	store(t, p, image)
	gone(t, p, req.Identity)
	dropImage(t, p, image)
	_, err := p.Ensure(within(t), req)
	wantError(t, "Ensure after the image was removed", err, platform.ErrImageNotReady)
}

func testImageOnce(t *testing.T, lab Lab) {
	p := lab.Session(t)
	image := newImage(t, lab)
	empty := len(lab.Inventory(t))
	store(t, p, image)
	one := len(lab.Inventory(t)) - empty
	dropImage(t, p, image)
	for i, err := range together(4, func(int) error { return copyImage(within(t), p, image) }) {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := len(lab.Inventory(t)) - empty; got != one {
		t.Errorf("four calls left %d things at the endpoint, one call leaves %d", got, one)
	}
	dropImage(t, p, image)
}

func testImageTwoManagers(t *testing.T, lab Lab) {
	sessions := []platform.Platform{lab.Session(t), lab.Session(t)}
	image := newImage(t, lab)
	deadline := time.Now().Add(patience)
	for _, err := range together(2, func(i int) error { return copyImage(within(t), sessions[i], image) }) {
		if err != nil {
			t.Errorf("EnsureImage: %v", err)
		}
	}
	if time.Now().After(deadline) {
		t.Fatal("the copies took too long")
	}
	req := newRequest(lab, image)
	run(t, sessions[0], req)
	wantError(t, "ReleaseImage", sessions[1].ReleaseImage(within(t), image.ImageIdentity), platform.ErrInUse)
	gone(t, sessions[1], req.Identity)
	dropImage(t, sessions[0], image)
}
