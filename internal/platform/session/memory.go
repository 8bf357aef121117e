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
	// makingAge is the same for an instance in the making. An event that is lost there holds up a machine.
	makingAge = 45 * time.Second
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
	until    time.Time // zero before it was filled
}

// isOf is whether an identity is the one that was looked at. Where it is on record to have been matters to those alone who
// find nothing.
func (s *sight) isOf(id platform.Identity) bool {
	seen := s.of
	seen.SeenIn, id.SeenIn = "", ""
	return seen == id
}

// scrubbingMemory is memory around a session that can scrub.
type scrubbingMemory struct {
	*memory
	scrubber platform.BootstrapScrubber
}

// switchingMemory is memory around a session that can switch instances off and on.
type switchingMemory struct {
	Session
	memory *memory
	cycler platform.PowerCycler
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
	var outer Session = m
	if scrubber, can := platform.As[platform.BootstrapScrubber](inner); can {
		outer = scrubbingMemory{memory: m, scrubber: scrubber}
	}
	if cycler, can := platform.As[platform.PowerCycler](inner); can {
		outer = switchingMemory{Session: outer, memory: m, cycler: cycler}
	}
	return outer, nil
}

// Unwrap implements platform.Wrapper.
func (m *memory) Unwrap() platform.Platform { return m.Session }

// Observe implements platform.Platform.
func (m *memory) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	m.mu.Lock()
	if s := m.seen[id.UUID]; s != nil && s.isOf(id) && m.clock.Now().Before(s.until) {
		m.mu.Unlock()
		o := s.observed
		o.Addresses = slices.Clone(o.Addresses)
		return o, nil
	}
	m.mu.Unlock()
	see := m.looking(id)
	o, err := m.Session.Observe(ctx, id)
	see(o, believed(id, o, err))
	return o, err
}

// looking begins a look at an instance. The function that it returns takes what was seen, and for how long that is believed.
func (m *memory) looking(id platform.Identity) (see func(o platform.Observation, age time.Duration)) {
	s := &sight{of: id}
	m.mu.Lock()
	m.seen[id.UUID] = s
	m.mu.Unlock()
	return func(o platform.Observation, age time.Duration) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case m.seen[id.UUID] != s:
		case age == 0:
			delete(m.seen, id.UUID)
		default:
			s.observed, s.until = o, m.clock.Now().Add(age)
			s.observed.Addresses = slices.Clone(o.Addresses)
		}
	}
}

// believed is how long what was seen is taken from memory unless an event tells otherwise. Not every platform tells of
// addresses and of what it does by itself.
func believed(id platform.Identity, o platform.Observation, err error) time.Duration {
	switch {
	case err != nil || o.Existence != platform.Exists:
		return 0
	case o.Power == platform.PowerOff || o.Power == platform.PowerOn && len(o.Addresses) > 0:
		return sweepAge(id)
	case o.UntilEvent:
		return makingAge
	default:
		return 0
	}
}

// Ensure implements platform.Platform. That an image is not there any more, which another management cluster may have
// removed, comes to light here: whoever looks after it is told.
func (m *memory) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	see := m.looking(req.Identity)
	o, err := m.Session.Ensure(ctx, req)
	age := time.Duration(0)
	if o.UntilEvent {
		age = believed(req.Identity, o, err)
	}
	see(o, age)
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

// ScrubBootstrap implements platform.BootstrapScrubber. What was seen before stays true but for the data: they are gone, or, when
// it has failed, nobody knows.
func (m scrubbingMemory) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	err := m.scrubber.ScrubBootstrap(ctx, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.seen[id.UUID]; err != nil || s == nil || !s.isOf(id) || s.until.IsZero() {
		delete(m.seen, id.UUID)
	} else {
		s.observed.BootstrapPresent = false
	}
	return err
}

// Unwrap implements platform.Wrapper.
func (m switchingMemory) Unwrap() platform.Platform { return m.Session }

// SwitchOff implements platform.PowerCycler.
func (m switchingMemory) SwitchOff(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	defer m.memory.forget(id)
	return m.cycler.SwitchOff(ctx, id)
}

// SwitchOn implements platform.PowerCycler.
func (m switchingMemory) SwitchOn(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	defer m.memory.forget(id)
	return m.cycler.SwitchOn(ctx, id)
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
