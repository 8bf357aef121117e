// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// ahead is the real clock, which a story puts forward instead of waiting. Its timers run in real time: what they guard is
// really under way.
type ahead struct {
	clock.RealClock
	by atomic.Int64
}

// Now implements clock.PassiveClock.
func (a *ahead) Now() time.Time { return a.RealClock.Now().Add(time.Duration(a.by.Load())) }

// Since implements clock.PassiveClock.
func (a *ahead) Since(t time.Time) time.Duration { return a.Now().Sub(t) }

// step puts the clock forward.
func (a *ahead) step(d time.Duration) { a.by.Add(int64(d)) }
