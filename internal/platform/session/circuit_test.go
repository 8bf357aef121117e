// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// mute is an endpoint that answers a check or not, and calls or not.
type mute struct {
	platform.Platform // nil: nothing else is called

	checks, calls error
	made          atomic.Int32
	events        func(platform.Event)
	exchanges     int // each call makes so many
}

func (m *mute) Check(context.Context) (string, error) { return "1", m.checks }
func (m *mute) Close()                                {}

func (m *mute) Ensure(ctx context.Context, _ platform.Request) (platform.Observation, error) {
	m.made.Add(1)
	return platform.Observation{}, errors.Join(m.exchange(ctx), m.calls)
}

func (m *mute) Release(ctx context.Context, _ platform.ReleaseRequest) (platform.Observation, error) {
	m.made.Add(1)
	return platform.Observation{}, errors.Join(m.exchange(ctx), m.calls)
}

func (m *mute) exchange(ctx context.Context) error {
	for range m.exchanges {
		if err := platform.Turn(ctx); err != nil {
			return err
		}
	}
	return nil
}

var errSilent = fmt.Errorf("%w: no answer within 30s", platform.ErrNoAnswer)

// breakable is a registry with one such endpoint.
type breakable struct {
	*testing.T

	endpoint *mute
	clock    *clocktesting.FakePassiveClock
	registry *session.Registry
	session  session.Session
	told     int
}

func newBreakable(t *testing.T) *breakable {
	t.Helper()
	b := &breakable{T: t, endpoint: &mute{}, clock: clocktesting.NewFakePassiveClock(time.Now())}
	b.registry = session.NewRegistry(func(_ session.Settings, events func(platform.Event)) (session.Session, error) {
		b.endpoint.events = events
		return b.endpoint, nil
	}).WithClock(b.clock)
	t.Cleanup(b.registry.Close)
	b.registry.Listen(func(string, platform.Event) { b.told++ })
	opened, err := b.registry.Apply(endpoint("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b.session = opened
	return b
}

// call makes a call, and returns whether the endpoint was asked.
func (b *breakable) call() (asked bool, err error) {
	before := b.endpoint.made.Load()
	_, err = b.session.Ensure(b.Context(), platform.Request{})
	return b.endpoint.made.Load() > before, err
}

// open opens the circuit.
func (b *breakable) open() {
	b.Helper()
	b.endpoint.calls, b.endpoint.checks = errSilent, errSilent
	for i := range 5 {
		if asked, _ := b.call(); !asked || b.registry.CircuitOpen("host") != (i == 4) {
			b.Fatalf("after %d calls without an answer the circuit is open: %t", i+1, b.registry.CircuitOpen("host"))
		}
	}
}

// Every call to an endpoint that hangs holds a worker for half a minute. After a few that is known, and nobody waits any more.
func TestTheCircuitOpens(t *testing.T) {
	b := newBreakable(t)
	b.open()
	asked, err := b.call()
	if asked || !errors.Is(err, platform.ErrCircuitOpen) || !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "PlatformEndpoint host left 5 calls") {
		t.Errorf("asked: %t, %v", asked, err)
	}
	if b.told != 1 {
		t.Errorf("it was told %d times, want once", b.told)
	}
}

// What is an answer, however unwelcome, proves that the endpoint is there. So does what could not be told about one machine.
func TestOnlySilenceOpensTheCircuit(t *testing.T) {
	for _, answer := range []error{nil, platform.ErrCapacity, platform.ErrForeign, platform.ErrUnreachable, errors.New("refused")} {
		b := newBreakable(t)
		b.endpoint.calls = errSilent
		for range 4 {
			_, _ = b.call()
		}
		b.endpoint.calls = answer
		_, _ = b.call()
		b.endpoint.calls = errSilent
		for range 4 {
			_, _ = b.call()
		}
		if b.registry.CircuitOpen("host") {
			t.Errorf("the circuit is open although %v was answered in between", answer)
		}
	}
}

// A budget that is used up is no word of the endpoint's. Taken for one, it would keep the circuit of a silent endpoint closed,
// or close one that is open, and everybody would wait again.
func TestWhoGotNoTurnHasNoAnswer(t *testing.T) {
	withoutTurn := func(b *breakable) {
		b.Helper()
		b.endpoint.exchanges = 5
		defer func() { b.endpoint.exchanges = 0 }()
		ctx, cancel := context.WithTimeout(b.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := b.session.Ensure(ctx, platform.Request{})
		if !errors.Is(err, platform.ErrNoTurn) || !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "spec.budget.requestsPerSecond") {
			b.Fatalf("without a turn the error is %v", err)
		}
	}
	b := newBreakable(t)
	budgeted := endpoint("a")
	budgeted.Spec.Budget = ingotv1.EndpointBudget{RequestsPerSecond: new(int32(1))}
	if _, err := b.registry.Apply(budgeted, nil); err != nil {
		t.Fatal(err)
	}
	b.endpoint.calls = errSilent
	for range 4 {
		_, _ = b.call()
	}
	b.endpoint.calls = nil
	withoutTurn(b)
	b.endpoint.calls = errSilent
	if _, _ = b.call(); !b.registry.CircuitOpen("host") {
		t.Fatal("one that got no turn kept the circuit of a silent endpoint closed")
	}
	b.clock.SetTime(b.clock.Now().Add(31 * time.Second))
	b.endpoint.calls = nil
	withoutTurn(b)
	if !b.registry.CircuitOpen("host") {
		t.Error("one that got no turn closed the circuit")
	}
}

// An open circuit must close by itself, and let no crowd through to find out whether it can.
func TestTheCircuitCloses(t *testing.T) {
	for name, chance := range map[string]func(*breakable){
		"after a while":        func(b *breakable) { b.clock.SetTime(b.clock.Now().Add(31 * time.Second)) },
		"a check is answered":  func(b *breakable) { b.endpoint.checks = nil; _, _ = b.session.Check(b.Context()) },
		"the session was anew": func(b *breakable) { b.endpoint.events(platform.Event{Session: true}) },
		"also the second time": func(b *breakable) {
			b.clock.SetTime(b.clock.Now().Add(31 * time.Second))
			_, _ = b.call()
			b.clock.SetTime(b.clock.Now().Add(31 * time.Second))
		},
		"a check passes always": func(b *breakable) {
			_, _ = b.session.Check(b.Context())
			b.endpoint.checks = nil
			_, _ = b.session.Check(b.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBreakable(t)
			b.open()
			chance(b)
			if asked, _ := b.call(); !asked {
				t.Error("nobody tries whether it answers again")
			}
			if asked, _ := b.call(); asked || !b.registry.CircuitOpen("host") {
				t.Error("one that has tried in vain lets a crowd through")
			}
			chance(b)
			b.endpoint.calls = nil
			if asked, err := b.call(); !asked || err != nil || b.registry.CircuitOpen("host") {
				t.Errorf("it answers, and the circuit is open: asked %t, %v", asked, err)
			}
		})
	}
}

// A budget that is used up must still let control planes and deletions through.
func TestTheBudgetKeepsAShare(t *testing.T) {
	b := newBreakable(t)
	budgeted := endpoint("a")
	budgeted.Spec.Budget = ingotv1.EndpointBudget{RequestsPerSecond: new(int32(100)), UrgentRequestsPercent: new(int32(50))}
	again, err := b.registry.Apply(budgeted, nil)
	if err != nil || again != b.session {
		t.Fatalf("a change of the budget makes a new session: %v", err)
	}
	b.endpoint.exchanges = 1
	stop, cancel := context.WithCancel(t.Context())
	var crowd sync.WaitGroup
	var ordinary atomic.Int32
	for range 20 {
		crowd.Go(func() {
			for stop.Err() == nil {
				if _, err := b.session.Ensure(stop, platform.Request{}); err == nil {
					ordinary.Add(1)
				}
			}
		})
	}
	begin, urgent := time.Now(), 0
	for ; time.Since(begin) < 2*time.Second; urgent++ {
		if _, err := b.session.Release(t.Context(), platform.ReleaseRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	crowd.Wait()
	t.Logf("in 2 s of 100 per second: %d ordinary and %d urgent", ordinary.Load(), urgent)
	if n := int(ordinary.Load()); n > 170 || urgent < 70 || n+urgent > 330 { // a second's worth may be asked at once in the beginning
		t.Error("the share is not kept, or the limit is not")
	}
}
