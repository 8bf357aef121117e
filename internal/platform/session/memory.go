// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// An observation is taken from memory for at most sweepAfter, less or more by a quarter: the safety net for an event
// that was lost. The spread keeps machines that were made together from being looked at together.
const (
	sweepAfter  = 45 * time.Minute
	sweepSpread = sweepAfter / 2
)

// memory is a session that is asked about an instance once and answers from memory until something happens to it. The
// port's law makes that sound: whatever changes is told by an event. It is what makes a stable machine cost no call.
type memory struct {
	Session
	clock clock.PassiveClock
	tell  func(platform.Event)

	mu   sync.Mutex
	seen map[string]*sight // by uuid, as events are
}

// sight is what was seen of one instance. It is filled while it is still the one in the map: an event that comes during
// the look takes it out.
type sight struct {
	of       platform.Identity
	observed platform.Observation
	at       time.Time
}

// scrubbingMemory is memory around a session that can scrub.
type scrubbingMemory struct {
	*memory
	scrubber platform.BootstrapScrubber
}

// remember puts memory around a session. tell is told of every event, once memory has taken it.
func remember(clk clock.PassiveClock, tell func(platform.Event), open func(events func(platform.Event)) (Session, error)) (Session, error) {
	m := &memory{clock: clk, tell: tell, seen: map[string]*sight{}}
	inner, err := open(func(event platform.Event) {
		m.hear(event)
		tell(event)
	})
	if err != nil {
		return nil, err
	}
	m.Session = inner
	if scrubber, can := platform.As[platform.BootstrapScrubber](inner); can {
		return scrubbingMemory{memory: m, scrubber: scrubber}, nil
	}
	return m, nil
}

// Unwrap implements platform.Wrapper.
func (m *memory) Unwrap() platform.Platform { return m.Session }

// Observe implements platform.Platform.
func (m *memory) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	m.mu.Lock()
	if s := m.seen[id.UUID]; s != nil && s.of == id && !s.at.IsZero() && m.clock.Since(s.at) < sweepAge(id) {
		m.mu.Unlock()
		o := s.observed
		o.Addresses = slices.Clone(o.Addresses)
		return o, nil
	}
	s := &sight{of: id}
	m.seen[id.UUID] = s
	m.mu.Unlock()

	o, err := m.Session.Observe(ctx, id)

	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.seen[id.UUID] != s:
	case err != nil || !settled(o):
		delete(m.seen, id.UUID)
	default:
		s.observed, s.at = o, m.clock.Now()
		s.observed.Addresses = slices.Clone(o.Addresses)
	}
	return o, err
}

// settled is whether an instance stays as it was seen until an event tells otherwise. Addresses come without an event.
func settled(o platform.Observation) bool {
	return o.Existence == platform.Exists && (o.Power == platform.PowerOff || o.Power == platform.PowerOn && len(o.Addresses) > 0)
}

// Ensure implements platform.Platform. That an image is not there any more, which another management cluster may have
// removed, comes to light here: whoever looks after it is told.
func (m *memory) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	defer m.forget(req.Identity)
	o, err := m.Session.Ensure(ctx, req)
	if errors.Is(err, platform.ErrImageNotReady) {
		m.tell(platform.Event{ImageSHA256: req.ImageSHA256})
	}
	return o, err
}

// Release implements platform.Platform.
func (m *memory) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	defer m.forget(req.Identity)
	return m.Session.Release(ctx, req)
}

// ScrubBootstrap implements platform.BootstrapScrubber.
func (m scrubbingMemory) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	defer m.forget(id)
	return m.scrubber.ScrubBootstrap(ctx, id)
}

func (m *memory) forget(id platform.Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, id.UUID)
}

// hear forgets what an event makes doubtful.
func (m *memory) hear(event platform.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if event.Session {
		clear(m.seen)
		return
	}
	delete(m.seen, event.UUID)
}

// sweepAge is how long the instance's observation is believed.
func sweepAge(id platform.Identity) time.Duration {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(id.UUID))
	return sweepAfter - sweepSpread/2 + time.Duration(sum.Sum64()%uint64(sweepSpread))
}
