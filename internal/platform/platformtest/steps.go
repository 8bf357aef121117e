// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// diskBytes is the size of the disks in the suite's images: more than one packet of a protocol.
	diskBytes = 1 << 20
	// patience is how long anything may take on a busy machine.
	patience = 2 * time.Minute
	// pause is how long to wait before asking again.
	pause = 20 * time.Millisecond

	managementCluster = "3f0c9d2e-0000-4000-8000-00000000000a"
)

// within returns a context for one step.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newIdentity returns an identity that was never used.
func newIdentity(lab Lab) platform.Identity {
	return platform.Identity{UUID: uuid.NewString(), ManagementClusterID: managementCluster, Storage: lab.Storage()}
}

// newRequest returns a request for a small instance without an operating system.
func newRequest(lab Lab, image platform.ImageRequest) platform.Request {
	req := platform.Request{
		Identity:    newIdentity(lab),
		Name:        "conformance",
		ImageSHA256: image.SHA256,
		CPUs:        1,
		MemoryBytes: 64 << 20,
		Interfaces:  []platform.Interface{{Network: lab.Network()}},
		Firmware:    platform.FirmwareBIOS,
		Bootstrap:   platform.Bootstrap{Data: []byte("{\"secret\":\"" + uuid.NewString() + "\"}")},
	}
	lab.Complete(&req)
	return through(req, lab.Channels()[0])
}

// newImage returns an artefact that was never used.
func newImage(t *testing.T, lab Lab) platform.ImageRequest {
	t.Helper()
	image := lab.Image(t)
	image.Storage = lab.Storage()
	return image
}

// storedImage returns an image that is on the storage until the test ends.
func storedImage(t *testing.T, lab Lab, p platform.Platform) platform.ImageRequest {
	t.Helper()
	image := newImage(t, lab)
	store(t, p, image)
	return image
}

// store copies an image.
func store(t *testing.T, p platform.Platform, image platform.ImageRequest) {
	t.Helper()
	if err := copyImage(within(t), p, image); err != nil {
		t.Fatalf("copying the image: %v", err)
	}
}

// copyImage calls EnsureImage until the copy has ended.
func copyImage(ctx context.Context, p platform.Platform, image platform.ImageRequest) error {
	for {
		o, err := p.EnsureImage(ctx, image)
		if err != nil {
			return err
		}
		if o.BytesDone < 0 || o.BytesDone > image.SizeBytes+1 {
			return fmt.Errorf("%d bytes of %d were read", o.BytesDone, image.SizeBytes)
		}
		if o.Ready {
			if o.ExternalID == "" {
				return errors.New("a copy that is ready has no external id")
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// dropImage removes an image.
func dropImage(t *testing.T, p platform.Platform, image platform.ImageRequest) {
	t.Helper()
	unlessUnreachable(t, "removing the image", func(ctx context.Context) error { return p.ReleaseImage(ctx, image.ImageIdentity) })
}

// unlessUnreachable does something, again while the endpoint does not answer. A session that was cut off may notice that only
// after it has answered once more.
func unlessUnreachable(t *testing.T, what string, do func(context.Context) error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		err := do(within(t))
		if err == nil {
			return
		}
		if !errors.Is(err, platform.ErrUnreachable) || time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// run makes an instance run.
func run(t *testing.T, p platform.Platform, req platform.Request) platform.Observation {
	t.Helper()
	o, err := start(t, p, req)
	if err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	return o
}

// start calls Ensure until the instance runs, or until it fails.
func start(t *testing.T, p platform.Platform, req platform.Request) (platform.Observation, error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		o, err := p.Ensure(within(t), req)
		if err != nil {
			return o, err
		}
		if o.Existence == platform.Exists && o.Power == platform.PowerOn && o.Started {
			return o, nil
		}
		if o.Existence == platform.Absent || o.Power == platform.PowerOff && o.Started || time.Now().After(deadline) {
			t.Fatalf("Ensure returned %+v, want an instance that runs or is on its way", o)
		}
	}
}

// gone takes an instance away and looks twice.
func gone(t *testing.T, p platform.Platform, id platform.Identity) {
	t.Helper()
	if _, err := finish(t, p, id); err != nil {
		t.Fatalf("Release: %v", err)
	}
	if o := observe(t, p, id); o.Existence != platform.Absent {
		t.Fatalf("after Release there is %+v", o)
	}
}

// finish calls Release until nothing is left, or until it fails.
func finish(t *testing.T, p platform.Platform, id platform.Identity) (platform.Observation, error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		o, err := p.Release(within(t), platform.ReleaseRequest{Identity: id})
		if err != nil || o.Existence == platform.Absent {
			return o, err
		}
		if time.Now().After(deadline) {
			t.Fatalf("Release never ends: %+v", o)
		}
	}
}

func observe(t *testing.T, p platform.Platform, id platform.Identity) platform.Observation {
	t.Helper()
	o, err := p.Observe(within(t), id)
	if err != nil {
		t.Fatalf("Observe: %v", err)
	}
	return o
}

// awaitBack waits until a session that was cut off sees the endpoint again.
func awaitBack(t *testing.T, p platform.Platform) {
	t.Helper()
	nobody := platform.Identity{UUID: uuid.NewString(), ManagementClusterID: managementCluster, Storage: "no-such-storage"}
	unlessUnreachable(t, "the session does not come back", func(ctx context.Context) error {
		_, err := p.Observe(ctx, nobody)
		return err
	})
}

// wantError fails unless err wraps want.
func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want an error that wraps %q", what, err, want)
	}
}

// sameInventory fails when anything at the endpoint differs.
func sameInventory(t *testing.T, when string, before, after []string) {
	t.Helper()
	if slices.Equal(before, after) {
		return
	}
	t.Errorf("%s the endpoint has changed\nbefore:\n  %s\nafter:\n  %s", when, strings.Join(before, "\n  "), strings.Join(after, "\n  "))
}

// interruptions calls attempt for every effect at which a session can die, before and after the effect, until a session
// does not die any more. attempt returns whether the session died.
func interruptions(t *testing.T, attempt func(t *testing.T, n int, lost bool) (died bool)) {
	t.Helper()
	for n := 0; ; n++ {
		died := false
		for _, lost := range []bool{false, true} {
			name := fmt.Sprintf("effect %d never happens", n)
			if lost {
				name = fmt.Sprintf("effect %d happens and its answer is lost", n)
			}
			t.Run(name, func(t *testing.T) { died = attempt(t, n, lost) || died })
		}
		if t.Failed() || !died {
			if n == 0 && !t.Failed() {
				t.Fatal("the faulty session never died: the lab counts no effects")
			}
			return
		}
	}
}
