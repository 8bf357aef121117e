// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// turns is a budget with what was woken.
type turns struct {
	*budget

	clock *testclock.FakePassiveClock
	woken []string
}

func newTurns() *turns {
	t := &turns{clock: testclock.NewFakePassiveClock(time.Now())}
	t.budget = newBudget(t.clock, func(key client.ObjectKey) { t.woken = append(t.woken, key.Name) })
	return t
}

func named(name string) client.ObjectKey { return client.ObjectKey{Namespace: "n", Name: name} }

// enters asks for turns and returns who got one.
func (t *turns) enters(limit int, controlPlane bool, names ...string) (granted []string) {
	for _, name := range names {
		if ok, _ := t.enter("e", named(name), limit, controlPlane); ok {
			granted = append(granted, name)
		}
	}
	return granted
}

func TestTurnsComeInOrder(t *testing.T) {
	b := newTurns()
	if got := b.enters(2, false, "a", "b", "c", "d", "a", "c"); !slices.Equal(got, []string{"a", "b", "a"}) {
		t.Fatalf("granted %v, want a, b and a again", got)
	}
	b.leave(named("a"))
	if !slices.Equal(b.woken, []string{"c"}) {
		t.Errorf("woken %v, want c", b.woken)
	}
	if got := b.enters(2, false, "d", "c"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("granted %v: who came first goes first, whoever asks first", got)
	}
}

// A worker that hangs for ever must not keep a control plane from being replaced.
func TestControlPlanesGoFirstAndHaveAPlaceOfTheirOwn(t *testing.T) {
	b := newTurns()
	b.enters(1, false, "w1", "w2")
	if got := b.enters(1, true, "c1", "c2"); !slices.Equal(got, []string{"c1"}) {
		t.Fatalf("granted %v, want c1 in the place that is kept", got)
	}
	b.leave(named("w1"))
	if got := b.enters(1, false, "w2"); len(got) != 0 {
		t.Errorf("granted %v before the control plane that waits", got)
	}
	if got := b.enters(1, true, "c2"); !slices.Equal(got, []string{"c2"}) {
		t.Errorf("granted %v, want c2", got)
	}
}

// A guest that never takes an address, and a machine that was refused or deleted, must not hold up the others for ever.
func TestTurnsEnd(t *testing.T) {
	b := newTurns()
	b.enters(1, false, "hangs", "next", "deleted")
	b.leave(named("deleted"))
	b.clock.SetTime(b.clock.Now().Add(turnBound))
	if got := b.enters(1, false, "next"); !slices.Equal(got, []string{"next"}) {
		t.Errorf("granted %v after the bound, want next", got)
	}
	b.leave(named("next"))
	b.leave(named("next"))
	if l := b.lane("e"); len(l.making)+len(l.waiting) != 0 {
		t.Errorf("left over: %v, %v", l.making, l.waiting)
	}
}

// After a restart the instances that are in the making count, whether there is room or not.
func TestWhoIsInTheMakingIsCounted(t *testing.T) {
	b := newTurns()
	b.occupy("e", named("a"))
	b.occupy("e", named("b"))
	if got := b.enters(1, false, "c"); len(got) != 0 {
		t.Errorf("granted %v beyond the budget", got)
	}
	b.leave(named("a"))
	if got := b.enters(1, false, "c"); len(got) != 0 {
		t.Errorf("granted %v beyond the budget", got)
	}
	b.leave(named("b"))
	if got := b.enters(1, false, "c"); len(got) != 1 {
		t.Error("the freed turn was lost")
	}
}

// Endpoints do not wait for each other.
func TestLanesAreSeparate(t *testing.T) {
	b := newTurns()
	b.enters(1, false, "a")
	if ok, _ := b.enter("other", named("b"), 1, false); !ok {
		t.Error("a busy endpoint holds up another one")
	}
}

// Whatever happens in whatever order: never more than the limit and one, and everybody gets a turn in the end.
func TestRandomTurns(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := newTurns()
		limit := 1 + rng.IntN(4)
		left := map[string]bool{}
		for i := range 30 {
			left[fmt.Sprint("m", i)] = i%5 == 0
		}
		for step := 0; len(left) > 0; step++ {
			if step > 20000 {
				t.Fatalf("seed %d: %v never got a turn", seed, left)
			}
			names := make([]string, 0, len(left))
			for name := range left {
				names = append(names, name)
			}
			slices.Sort(names)
			name := names[rng.IntN(len(names))]
			granted, _ := b.enter("e", named(name), limit, left[name])
			if n := len(b.lane("e").making); n > limit+1 {
				t.Fatalf("seed %d: %d at once, the limit is %d", seed, n, limit)
			}
			if granted && rng.IntN(2) == 0 {
				delete(left, name)
				b.leave(named(name))
			}
		}
	}
}
