// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// failed ensures a machine until that fails for want of room, and returns what is said.
func failed(t *testing.T, p platform.Platform, req platform.Request) (said string) {
	t.Helper()
	until(t, "the start fails", func() bool {
		o, err := p.Ensure(t.Context(), req)
		if o.Power == platform.PowerOn || err != nil && !errors.Is(err, platform.ErrCapacity) {
			t.Fatalf("%+v, %v", o, err)
		}
		if err != nil {
			said = err.Error()
		}
		return err != nil
	})
	return said
}

// A host that has no room any more lets a clone be made and not be started. The machine says why, nothing is made a second time, and
// it is started when there is room: a cluster that waits for room for an hour must not be full of what it has given up.
func TestStartThatFailsInsideTheClone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	clonesBefore := d.Calls()["CloneVM_Task"]
	room := l.NoRoom()
	off := func() {
		t.Helper()
		if made := l.clones(t, req); len(made) != 1 || made[0].Running {
			t.Errorf("made was %+v, want one that is off", made)
		}
	}
	if said := failed(t, p, req); !strings.Contains(said, "could not be started") || !strings.Contains(said, "no host has room") {
		t.Errorf("what is said is %q", said)
	}
	off()
	for range 3 {
		failed(t, p, req)
		off()
	}
	if o, err := p.Observe(t.Context(), req.Identity); err != nil || o.Existence != platform.Exists || o.Power != platform.PowerOff {
		t.Errorf("%+v, %v", o, err)
	}
	room()
	runs(t, p, req)
	if n := d.Calls()["CloneVM_Task"] - clonesBefore; n != 1 || len(l.clones(t, req)) != 1 {
		t.Errorf("%d clones were asked for, and made was %+v", n, l.clones(t, req))
	}

	// What was started once is not started again, whatever failed before.
	l.PowerOff(t, req.UUID)
	until(t, "it is seen to be off", func() bool {
		o, err := p.Ensure(t.Context(), req)
		check(t, err)
		return o.Power == platform.PowerOff
	})
	for range 3 {
		if o, err := p.Ensure(t.Context(), req); err != nil || o.Power != platform.PowerOff {
			t.Errorf("%+v, %v", o, err)
		}
	}
	off()
	goes(t, p, req.Identity)
}

// A manager that was not there when the start failed cannot tell that the guest has never run. It starts nothing and makes nothing,
// says that the instance is off, and removes it when it is to go.
func TestStartThatFailedBeforeARestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	before := fresh(t, l.door(t))
	req := l.request(t, before)
	room := l.NoRoom()
	failed(t, before, req)
	before.Close()
	room()
	after := fresh(t, l.door(t))
	for range 3 {
		if o, err := after.Ensure(t.Context(), req); err != nil || !o.Started || o.Power != platform.PowerOff {
			t.Errorf("%+v, %v", o, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if made := l.clones(t, req); len(made) != 1 || made[0].Running {
		t.Errorf("made was %+v, want one that is off", made)
	}
	goes(t, after, req.Identity)
}

// The answer to a clone whose start failed may be lost too. Whoever finds the virtual machine makes no second one.
func TestStartThatFailsAndIsNotHeardOf(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	room := l.NoRoom()
	dying, died := l.Faulty(t, 0, true)
	until(t, "the clone is asked for", func() bool { _, _ = dying.Ensure(t.Context(), req); return died() })
	room()
	if o, err := p.Ensure(t.Context(), req); err != nil || o.Existence != platform.Exists || o.Power != platform.PowerOff {
		t.Errorf("%+v, %v", o, err)
	}
	if made := l.clones(t, req); len(made) != 1 || made[0].Running {
		t.Errorf("made was %+v, want one that is off", made)
	}
	goes(t, p, req.Identity)
}

// A linked clone shares the image's disk with all others, and a whole one has its own: which of them it is decides how much room a
// hundred machines take, and what the copy of the image must outlive.
func TestDisksAreLayersWhereTheyAreLinked(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	image := l.onStorage(l.Image(t))
	stored(t, p, image)
	linked, another, whole := l.requestOf(image), l.requestOf(image), l.requestOf(image)
	whole.FullClone = true
	for _, req := range []platform.Request{linked, another, whole} {
		runs(t, p, req)
	}
	layers := l.Layers()
	over := layers[linked.UUID]
	if !over.Whole || !strings.Contains(over.Over, l.onlyCopy(t).Name) || layers[another.UUID] != over || len(layers) != 2 {
		t.Errorf("layers are %+v, want those of the two linked machines, over the disk of the copy", layers)
	}
	goes(t, p, linked.Identity)
	if layers := l.Layers(); len(layers) != 1 || !layers[another.UUID].Whole {
		t.Errorf("after one of them went layers are %+v", layers)
	}
	if err := p.ReleaseImage(t.Context(), image.ImageIdentity); !errors.Is(err, platform.ErrInUse) {
		t.Errorf("releasing the image of a linked machine ends with %v", err)
	}
	goes(t, p, another.Identity)
	released(t, p, image)
	if made := l.clones(t, whole); len(made) != 1 || !made[0].Running {
		t.Errorf("without the copy, the whole machine is %+v", made)
	}
}
