// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
)

// journey is a way of a machine that the manager is killed on.
type journey struct {
	// prepare brings the world to where the way begins.
	prepare func(*story)
	// travel goes all the way, over every crash.
	travel func(*story)
	// prove checks how the world must look at the end, whatever happened on the way.
	prove func(*story)
	// effects are the changes that the platform makes on the way.
	effects []fake.Effect
}

// point is one instant at which something ends the manager, or the platform's answer.
type point struct {
	name string
	arm  func(*story)
	// reached is whether it came to that.
	reached func(*story) bool
}

// TestCrashes kills the manager at every instant of a machine's life at which something was done outside it: before and
// after each write to the API, and before and after each effect on the platform. Whatever was left behind, the next
// manager ends with exactly one instance, or with none after deletion.
func TestCrashes(t *testing.T) {
	t.Parallel()
	journeys := map[string]journey{
		"creation": {
			prepare: func(s *story) { s.begin() },
			travel:  (*story).live,
			prove: func(s *story) {
				s.expectRunning()
				s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
				if n := len(s.replicas()); n != 1 {
					s.Errorf("there are %d replicas", n)
				}
				if len(s.instance().Bootstrap) != 0 {
					s.Error("bootstrap secrets are left on the platform")
				}
				s.expectQuiet()
			},
			effects: []fake.Effect{fake.StoreImage, fake.CreateDisk, fake.WriteBootstrap, fake.Define, fake.Start, fake.DeleteBootstrap},
		},
		"deletion": {
			prepare: func(s *story) {
				s.begin()
				s.settle() // not joined, so that the bootstrap data is still there
				s.delete(s.now())
				s.restart()
			},
			travel:  func(s *story) { s.settle() },
			prove:   (*story).expectGone,
			effects: []fake.Effect{fake.PowerOff, fake.Undefine, fake.DeleteDisk, fake.DeleteBootstrap},
		},
		"power cycle": switches(),
	}
	for name, j := range journeys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := append(writePoints(measure(t, j)), effectPoints(j.effects)...)
			t.Logf("%s: %d crash points", name, len(points))
			for _, p := range points {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					s := newStory(t)
					j.prepare(s)
					p.arm(s)
					j.travel(s)
					if !p.reached(s) {
						t.Error("it never came to that: the story proves nothing")
					}
					j.prove(s)
				})
			}
		})
	}
}

// measure goes a journey without a crash and returns its writes.
func measure(t *testing.T, j journey) []string {
	t.Helper()
	s := newStory(t)
	j.prepare(s)
	j.travel(s)
	j.prove(s)
	t.Logf("writes: %q", s.writes.Done())
	return s.writes.Done()
}

// writePoints are the instants around every write.
func writePoints(writes []string) []point {
	died := func(s *story) bool { return s.deaths == 1 }
	var points []point
	for i, write := range writes {
		points = append(points,
			point{fmt.Sprintf("killed before write %d (%s)", i+1, write), func(s *story) { s.writes.KillAt = i + 1 }, died},
			point{fmt.Sprintf("killed after write %d (%s)", i+1, write), func(s *story) { s.writes.KillAt, s.writes.Lost = i+1, true }, died},
		)
	}
	return points
}

// effectPoints are the instants around every effect on the platform: the manager dies there, or lives and gets no answer.
func effectPoints(effects []fake.Effect) []point {
	var points []point
	for _, effect := range effects {
		for _, lost := range []bool{false, true} {
			when := "before"
			if lost {
				when = "after"
			}
			for what, err := range map[string]error{"killed": errDies, "no answer": nil} {
				var fired func() bool
				points = append(points, point{
					name:    fmt.Sprintf("%s %s %s", what, when, effect),
					arm:     func(s *story) { fired = s.platform.Inject(fake.Fault{Effect: effect, Lost: lost, Err: err}) },
					reached: func(*story) bool { return fired() },
				})
			}
		}
	}
	return points
}
