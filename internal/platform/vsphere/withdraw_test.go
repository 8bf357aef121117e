// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// together are two managers in one vCenter that know nothing of each other: one removes the copy of an image, and the other makes a
// machine from it.
type together struct {
	*lab

	remover, maker         *vsphere.Session
	removerDoor, makerDoor *vcenter.Door
	full                   bool // whether whole clones are made
}

// image is an image that is there, as the maker knows, and a machine from it.
func (m *together) image(t *testing.T) (platform.ImageRequest, platform.Request) {
	t.Helper()
	image := m.onStorage(m.Image(t))
	stored(t, m.maker, image)
	req := m.requestOf(image)
	req.FullClone = m.full
	return image, req
}

// at has something done at the n-th call that comes through a door, the wait for changes apart, before the call is handed on. fired
// tells whether there was one.
func at(d *vcenter.Door, n int, do func()) (fired func() bool) {
	var mu sync.Mutex
	seen := 0
	d.Judge(func(method string) vcenter.Verdict {
		if method == "WaitForUpdatesEx" {
			return vcenter.Pass
		}
		mu.Lock()
		seen++
		now := seen == n
		mu.Unlock()
		if now {
			do()
		}
		return vcenter.Pass
	})
	return func() bool {
		d.Judge(func(string) vcenter.Verdict { return vcenter.Pass })
		mu.Lock()
		defer mu.Unlock()
		return seen >= n
	}
}

// tries makes a machine until it runs or is refused. It may be called beside the test.
func (m *together) tries(t *testing.T, req platform.Request) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if o, err := m.maker.Ensure(t.Context(), req); err != nil || o.Power == platform.PowerOn {
			return
		}
	}
	t.Error("the machine is neither made nor refused")
}

// seals makes the copy, as far as it comes in a few steps.
func (m *together) seals(t *testing.T, image platform.ImageRequest) {
	t.Helper()
	for range 10 {
		if o, err := m.maker.EnsureImage(t.Context(), image); err != nil || o.Ready {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settles has the machine made whatever came between, and looks whether it stands on something, once, and nothing is left when it goes.
func (m *together) settles(t *testing.T, image platform.ImageRequest, req platform.Request) {
	t.Helper()
	until(t, "the machine runs", func() bool {
		if there, err := m.maker.EnsureImage(t.Context(), image); err != nil || !there.Ready {
			return false // a copy may be new, and is read while it is being made
		}
		o, err := m.maker.Ensure(t.Context(), req)
		if err != nil && !errors.Is(err, platform.ErrImageNotReady) {
			t.Errorf("the machine fails with %v", err)
		}
		return o.Power == platform.PowerOn
	})
	m.stands(t, req)
	err := m.remover.ReleaseImage(t.Context(), image.ImageIdentity)
	if !m.full && !errors.Is(err, platform.ErrInUse) {
		t.Errorf("releasing the image of a machine ends with %v", err)
	}
	m.stands(t, req)
	check(t, m.Destroy(t.Context(), req.UUID))
	until(t, "the copy is gone", func() bool { return m.remover.ReleaseImage(t.Context(), image.ImageIdentity) == nil })
	if left := m.copies(t); len(left) != 0 {
		t.Errorf("left is %+v", left)
	}
}

// stands looks whether there is one virtual machine of a machine, whose disk is a layer over one that is there, or whole.
func (m *together) stands(t *testing.T, req platform.Request) {
	t.Helper()
	if made := m.clones(t, req); len(made) != 1 || !made[0].Running {
		t.Errorf("made was %+v", made)
	}
	layer, is := m.Layers()[req.UUID]
	if is == req.FullClone || is && !layer.Whole {
		t.Errorf("the disk is a layer over %+v", layer)
	}
}

// A manager removes a copy that nobody needs, as far as it knows, and another one makes a machine from it in that moment: at each
// call of the one, the other does all that it would do. However they meet, the machine's disk is a layer over something that stays.
func TestCopyRemovedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		full bool
		// meet has one of the two at work, and the other at its n-th call.
		meet func(t *testing.T, m *together, image platform.ImageRequest, req platform.Request, n int) (fired bool)
	}{
		"a machine is made at each call of a removal":       {false, madeDuringRemoval},
		"a whole machine is made at each call of a removal": {true, madeDuringRemoval},
		"the copy is sealed again and used at each call of a removal": {false, func(
			t *testing.T, m *together, image platform.ImageRequest, req platform.Request, n int,
		) bool {
			t.Helper()
			return m.removes(t, image, n, func() { m.seals(t, image); m.tries(t, req) })
		}},
		"a removal comes at each call of a machine's making": {false, func(
			t *testing.T, m *together, image platform.ImageRequest, req platform.Request, n int,
		) bool {
			t.Helper()
			fired := at(m.makerDoor, n, func() { _ = m.remover.ReleaseImage(t.Context(), image.ImageIdentity) })
			m.tries(t, req)
			return fired()
		}},
		"a removal comes at each call of the sealing": {false, func(
			t *testing.T, m *together, image platform.ImageRequest, req platform.Request, n int,
		) bool {
			t.Helper()
			until(t, "the copy is gone", func() bool { return m.remover.ReleaseImage(t.Context(), image.ImageIdentity) == nil })
			fired := at(m.makerDoor, n, func() { _ = m.remover.ReleaseImage(t.Context(), image.ImageIdentity) })
			m.seals(t, image)
			m.tries(t, req)
			return fired()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			m := &together{lab: l, full: c.full, removerDoor: l.door(t), makerDoor: l.door(t)}
			m.remover, m.maker = fresh(t, m.removerDoor), fresh(t, m.makerDoor)
			n := 1
			for fired := true; fired && !t.Failed(); n++ {
				image, req := m.image(t)
				fired = c.meet(t, m, image, req, n)
				m.settles(t, image, req)
			}
			if t.Logf("%d calls", n-2); n < 5 {
				t.Errorf("there were %d calls to come between", n-2)
			}
		})
	}
}

func madeDuringRemoval(t *testing.T, m *together, image platform.ImageRequest, req platform.Request, n int) bool {
	t.Helper()
	return m.removes(t, image, n, func() { m.tries(t, req) })
}

// removes has the copy removed, and something done at the n-th call of that.
func (m *together) removes(t *testing.T, image platform.ImageRequest, n int, do func()) (fired bool) {
	t.Helper()
	during := at(m.removerDoor, n, do)
	err := m.remover.ReleaseImage(t.Context(), image.ImageIdentity)
	fired = during()
	if err != nil {
		t.Logf("at call %d: %v", n, err)
	}
	return fired
}

// A manager dies, or does not hear the answer, at any effect of a removal. Another one makes the machine that it has promised, and
// whoever removes the copy after that leaves nothing.
func TestCopyHalfRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := &together{lab: l, removerDoor: l.door(t), makerDoor: l.door(t)}
	m.remover, m.maker = fresh(t, m.removerDoor), fresh(t, m.makerDoor)
	for _, lost := range []bool{false, true} {
		for n, died := 0, true; died; n++ {
			image, req := m.image(t)
			dying, dead := l.Faulty(t, n, lost)
			until(t, "the dying manager is connected", func() bool { _, err := dying.Observe(t.Context(), req.Identity); return err == nil })
			err := dying.ReleaseImage(t.Context(), image.ImageIdentity)
			if died = dead(); died != (err != nil) {
				t.Errorf("at effect %d (lost %t): died %t, and the release ends with %v", n, lost, died, err)
			}
			m.settles(t, image, req)
		}
	}
}
