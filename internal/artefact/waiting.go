// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

const (
	// defaultStall is how long a source may send nothing.
	defaultStall = 2 * time.Minute
	// maxAttempts is how many connections in a row may bring nothing new.
	maxAttempts = 6
	// firstPause is the shortest pause before a new connection; each further one is twice as long, and up to half of it
	// is added by chance so that many readers of one server do not come back together. All of them fit into defaultStall.
	firstPause = time.Second
	// maxRetryAfter is the longest pause that a server may ask for. Who asks for more is better asked by another copy.
	maxRetryAfter = time.Minute
)

// pauses are those before the attempts that are left.
func pauses() wait.Backoff {
	return wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Steps: maxAttempts}
}

// pause waits on the clock, or until ctx ends.
func pause(ctx context.Context, clk clock.Clock, d time.Duration) error {
	timer := clk.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// guard ends what it guards when the source has sent nothing for a while. It runs only while the source is being
// waited for: a slow reader is not the source's fault.
type guard struct {
	timer clock.Timer
	limit time.Duration
}

// newGuard returns a guard that is armed.
func newGuard(clk clock.WithDelayedExecution, limit time.Duration, end context.CancelCauseFunc) *guard {
	return &guard{
		timer: clk.AfterFunc(limit, func() { end(fmt.Errorf("the source sent nothing for %s", limit)) }),
		limit: limit,
	}
}

func (g *guard) arm() { g.timer.Reset(g.limit) }

func (g *guard) disarm() { g.timer.Stop() }

func (o Opener) clock() clock.WithDelayedExecution {
	if o.Clock == nil {
		return clock.RealClock{}
	}
	return o.Clock
}

func (o Opener) stall() time.Duration {
	if o.Stall == 0 {
		return defaultStall
	}
	return o.Stall
}
