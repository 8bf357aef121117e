// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// circuitFailures is how many calls in a row an endpoint may leave unanswered.
	circuitFailures = 5
	// circuitPause is how long an endpoint is left alone then, before one call tries it.
	circuitPause = 30 * time.Second
)

// circuit keeps calls away from an endpoint that does not answer, so that they neither wait for it nor add to its trouble. It
// opens when calls in a row were left unanswered. While it is open, only whether the endpoint answers is asked, and one call is
// let through to try it: after each pause, and as soon as the endpoint has answered that question or its session has changed.
// A call that was answered closes it. One that was not sent, because its turn did not come, does neither.
type circuit struct {
	endpoint string
	clock    clock.PassiveClock
	// turned is told that the circuit has opened or closed. It must not call back.
	turned func(open bool)

	mu       sync.Mutex
	open     bool
	failures int
	last     error
	// next is when an open circuit lets a call through.
	next time.Time
}

// enter is asked by every call before it is made. A check passes always.
func (c *circuit) enter(check bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	switch {
	case !c.open || check:
		return nil
	case !now.Before(c.next):
		c.next = now.Add(circuitPause)
		return nil
	}
	return fmt.Errorf("%w: PlatformEndpoint %s left %d calls in a row unanswered (the last: %w) and is not asked about machines until it answers",
		platform.ErrCircuitOpen, c.endpoint, circuitFailures, c.last)
}

// leave is told by every call how it ended.
func (c *circuit) leave(check bool, err error) {
	c.mu.Lock()
	was := c.open
	switch {
	case errors.Is(err, platform.ErrNoAnswer):
		if c.failures++; c.failures >= circuitFailures && !c.open {
			c.open, c.last, c.next = true, err, c.clock.Now().Add(circuitPause)
		}
	case errors.Is(err, platform.ErrNotAsked):
	case check:
		c.next = c.clock.Now()
	default:
		c.open, c.failures = false, 0
	}
	is := c.open
	c.mu.Unlock()
	if was != is {
		c.turned(is)
	}
}

// reconnected is told that the session was made anew, or ended: the next call finds out which.
func (c *circuit) reconnected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = c.clock.Now()
}

// isOpen is whether the endpoint is left alone.
func (c *circuit) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}
