// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/test/wire"
)

// TestCrashes kills the manager at every write to the API and at every call of the platform, in creation, in deletion, and
// in a creation that is given up. Each time the next manager, which remembers nothing, ends with exactly one instance that
// was started once, or with nothing.
//
// Calls that only read and follow each other are the same to the world: whichever of them the manager dies at, it leaves
// the same behind. One of each such row is enough, unless -every-read is set.
func TestCrashes(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	creation, deletion := record(t)
	t.Logf("one life without a crash took %s", time.Since(begin).Round(100*time.Millisecond))
	creates, deletes := pointsOf(creation), pointsOf(deletion)
	t.Logf("create: %d points, delete: %d points (%s; %s)", len(creates), len(deletes), count(creation), count(deletion))
	for i := range max(len(creates), len(deletes)) {
		c, d := at(creates, i), at(deletes, i)
		t.Run(fmt.Sprintf("killed in creation %s, in deletion %s", c, d), func(t *testing.T) {
			t.Parallel()
			crash(newStory(t), c, d)
		})
	}
	given := 0
	for _, d := range creates {
		if d.reads > 0 || d.when == wire.CutBefore {
			continue // the same as after the change before
		}
		given++
		t.Run(fmt.Sprintf("killed in creation %s, then given up", d), func(t *testing.T) {
			t.Parallel()
			giveUp(newStory(t), d)
		})
	}
	t.Logf("given up: %d points", given)
}

// record goes through a life without a crash, and returns what the managers did in creation and in deletion.
func record(t *testing.T) (creation, deletion []act) {
	t.Helper()
	s := newStory(t)
	s.begin()
	s.live()
	creation = s.manager.done()
	uuid := s.uuid()
	s.expectOne()
	s.restart()
	s.delete(s.now())
	s.die()
	deletion = s.manager.done()
	s.expectNothing(uuid)
	s.end()
	return creation, deletion
}

// pointsOf are the ends that a manager can come to on its way.
func pointsOf(acts []act) (points []*death) {
	counts := map[string]int{}
	last, row := death{}, 0
	endRow := func() {
		if row > 0 && !*everyRead {
			points = append(points, &death{name: last.name, nth: last.nth, reads: (row + 1) / 2, when: wire.CutBefore})
		}
		row = 0
	}
	for _, a := range acts {
		if a.reads {
			row++
			if *everyRead {
				points = append(points,
					&death{name: last.name, nth: last.nth, reads: row, when: wire.CutBefore},
					&death{name: last.name, nth: last.nth, reads: row, when: wire.CutAfter})
			}
			continue
		}
		endRow()
		counts[a.name]++
		last = death{name: a.name, nth: counts[a.name]}
		whens := []wire.Verdict{wire.CutBefore, wire.CutAfter}
		if a.call {
			whens = append(whens, wire.CutDuring)
		}
		for _, when := range whens {
			points = append(points, &death{name: last.name, nth: last.nth, when: when})
		}
	}
	endRow()
	return points
}

// count says of how many acts a way consists.
func count(acts []act) string {
	writes, calls, changes := 0, 0, 0
	for _, a := range acts {
		switch {
		case !a.call:
			writes++
		case a.reads:
			calls++
		default:
			calls++
			changes++
		}
	}
	return fmt.Sprintf("%d API writes, %d platform calls, of which %d change something", writes, calls, changes)
}

func at(points []*death, i int) *death {
	if i < len(points) {
		return points[i]
	}
	return nil
}

// crash is a life in which the manager is killed once in creation and once in deletion.
func crash(s *story, creation, deletion *death) {
	s.death = creation
	s.begin()
	s.live()
	s.wantDeaths(creation)
	s.clock.step(time.Hour) // what a dead manager was copying is swept
	s.until("everything was looked at again", s.ready)
	s.expectOne()
	uuid := s.uuid()
	s.death, s.deaths = deletion, 0
	s.restart()
	s.delete(s.now())
	s.die()
	s.wantDeaths(deletion)
	s.expectNothing(uuid)
	s.end()
}

// giveUp is a life that ends before it begins: nobody goes on with what the killed manager has left.
func giveUp(s *story, d *death) {
	s.death = d
	s.begin()
	uuid := ""
	alive := func() bool {
		if uuid == "" {
			uuid = s.uuid()
		}
		return s.deaths == 1
	}
	for begin := time.Now(); !alive(); s.idle(0) {
		if _, err := s.round(); err == nil && s.provisioned() {
			s.join()
		}
		if s.manager.isDead() {
			s.awaitCut()
			s.deaths++
		}
		if time.Since(begin) > patience {
			s.Fatalf("it never came to %s: %s", d, s.describe())
		}
	}
	s.delete(s.now())
	s.restart()
	s.die()
	s.expectNothing(uuid)
	s.end()
}

// wantDeaths checks that the manager died as it was to.
func (s *story) wantDeaths(d *death) {
	s.Helper()
	want := 0
	if d != nil {
		want = 1
	}
	if s.deaths != want {
		s.Errorf("the manager died %d times, and was to die %s: the story proves nothing", s.deaths, d)
	}
}
