// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Who looks at an endpoint that is slow wants to know how long machines wait for it, those that still wait included.
func TestWaitsForATurnAreMeasured(t *testing.T) {
	b := newTurns()
	var waits []time.Duration
	b.waited = func(endpoint string, wait time.Duration) {
		if endpoint != "e" {
			t.Errorf("a wait on %q was told, want e", endpoint)
		}
		waits = append(waits, wait)
	}
	look := func() string {
		seen := ""
		b.visit(func(endpoint string, making, waiting int, longest time.Duration) {
			seen += fmt.Sprintf("%s: %d made, %d wait, %s", endpoint, making, waiting, longest)
		})
		return seen
	}
	step := func(d time.Duration) { b.clock.SetTime(b.clock.Now().Add(d)) }

	b.enters(1, false, "a", "b")
	step(time.Minute)
	b.enters(1, false, "c", "a", "b") // asking again is no new wait
	step(time.Minute)
	if got := look(); got != "e: 1 made, 2 wait, 2m0s" {
		t.Errorf("told %q", got)
	}
	b.leave(named("a"))
	b.enters(1, false, "b")
	if want := []time.Duration{0, 2 * time.Minute}; !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v: a got its turn at once, and b after two minutes", waits, want)
	}
	if got := look(); got != "e: 1 made, 1 wait, 1m0s" {
		t.Errorf("told %q after b had its turn", got)
	}
	step(turnBound)
	if got := look(); got != "e: 0 made, 1 wait, 11m0s" {
		t.Errorf("told %q: a turn that is over is not one", got)
	}
}
