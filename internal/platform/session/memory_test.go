// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// place is an endpoint behind a registry, with one running instance that has an address.
type place struct {
	*testing.T

	fake     *fake.Platform
	looked   *looked
	events   func(platform.Event)
	clock    *testclock.FakePassiveClock
	registry *session.Registry
	p        platform.Platform
	id       platform.Identity
}

// looked is a session with the fake that can be held in the middle of a look, and whose events may tell of everything.
type looked struct {
	*fake.Platform

	during     func()
	tellsAll   bool
	hasData    bool // whether bootstrap data is there
	scrubFails bool
}

func (*looked) Check(context.Context) (string, error) { return "1", nil }

func (*looked) Close() {}

func (l *looked) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	o, err := l.Platform.Observe(ctx, id)
	if l.during != nil {
		l.during()
	}
	o.UntilEvent, o.BootstrapPresent = l.tellsAll, l.hasData
	return o, err
}

func (l *looked) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	if l.scrubFails {
		return platform.ErrUnreachable
	}
	return l.Platform.ScrubBootstrap(ctx, id)
}

func (l *looked) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	o, err := l.Platform.Ensure(ctx, req)
	o.UntilEvent = l.tellsAll
	return o, err
}

func newPlace(t *testing.T, during func(*fake.Platform, platform.Identity)) *place {
	t.Helper()
	image := platform.ImageIdentity{SHA256: "ab", Storage: "pool"}
	pl := &place{T: t, fake: fake.New(fake.Options{}), clock: testclock.NewFakePassiveClock(time.Now())}
	pl.id = platform.Identity{UUID: "6f0c9d2e-1111-4222-8333-444455556666", ManagementClusterID: "m", Storage: "pool"}
	registry := session.NewRegistry(func(_ session.Settings, events func(platform.Event)) (session.Session, error) {
		pl.fake.Listen(events)
		l := &looked{Platform: pl.fake}
		pl.looked, pl.events = l, events
		if during != nil {
			l.during = func() { during(pl.fake, pl.id) }
		}
		return l, nil
	}).WithClock(pl.clock)
	t.Cleanup(registry.Close)
	pl.registry = registry
	apply(t, registry, endpoint("a"))
	p, err := registry.Platform("host")
	if err != nil {
		t.Fatal(err)
	}
	pl.p = p
	pl.fake.PutImage(image)
	pl.ensure()
	pl.fake.SetAddresses(pl.id.UUID, "192.0.2.1")
	return pl
}

func (p *place) ensure() {
	p.Helper()
	if _, err := p.p.Ensure(p.Context(), platform.Request{Identity: p.id, ImageSHA256: "ab", CPUs: 1, MemoryBytes: 1 << 30, Firmware: platform.FirmwareUEFI}); err != nil {
		p.Fatal(err)
	}
}

// looks returns how many looks reached the platform while do ran.
func (p *place) looks(do func()) int {
	p.Helper()
	p.fake.ForgetCalls()
	do()
	n := 0
	for _, call := range p.fake.Calls() {
		if call.Method == "Observe" {
			n++
		}
	}
	return n
}

func (p *place) observe() platform.Observation {
	p.Helper()
	o, err := p.p.Observe(p.Context(), p.id)
	if err != nil {
		p.Fatal(err)
	}
	return o
}

// A stable machine is reconciled every few minutes for ever. None of that may reach the platform.
func TestAStableInstanceIsLookedAtOnce(t *testing.T) {
	p := newPlace(t, nil)
	if n := p.looks(func() {
		for range 100 {
			if o := p.observe(); o.Power != platform.PowerOn || len(o.Addresses) != 1 {
				t.Fatalf("remembered is %+v", o)
			}
		}
	}); n != 1 {
		t.Errorf("100 observations cost %d looks, want 1", n)
	}
}

// Memory that is believed after something happened is worse than none.
func TestWhateverHappensIsLookedAt(t *testing.T) {
	for name, happens := range map[string]func(*place){
		"the guest stops":           func(p *place) { p.fake.PowerOffGuest(p.id.UUID) },
		"the instance is destroyed": func(p *place) { p.fake.Vanish(p.id.UUID) },
		"the connection is lost":    func(p *place) { p.fake.SetReachable(false); p.fake.SetReachable(true) },
		"we release it":             func(p *place) { _, _ = p.p.Release(p.Context(), platform.ReleaseRequest{Identity: p.id}) },
		"removing its bootstrap data fails": func(p *place) {
			p.looked.scrubFails = true
			_ = must[platform.BootstrapScrubber](p).ScrubBootstrap(p.Context(), p.id)
		},
		"we switch it off":             func(p *place) { _, _ = must[platform.PowerCycler](p).SwitchOff(p.Context(), p.id) },
		"we switch it on, and it runs": func(p *place) { _, _ = must[platform.PowerCycler](p).SwitchOn(p.Context(), p.id) },
		"an hour passes":               func(p *place) { p.clock.SetTime(p.clock.Now().Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, nil)
			p.observe()
			happens(p)
			if n := p.looks(func() { p.observe() }); n != 1 {
				t.Errorf("the next observation cost %d looks, want 1", n)
			}
		})
	}
}

// Every machine has its bootstrap data removed once. That they are gone is known then, and nobody has to look.
func TestWhatWasScrubbedIsNotLookedAt(t *testing.T) {
	p := newPlace(t, nil)
	p.looked.hasData = true
	if o := p.observe(); !o.BootstrapPresent {
		t.Fatalf("seen is %+v", o)
	}
	if n := p.looks(func() {
		if err := must[platform.BootstrapScrubber](p).ScrubBootstrap(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		if o := p.observe(); o.BootstrapPresent || o.Power != platform.PowerOn {
			t.Errorf("remembered is %+v", o)
		}
	}); n != 0 {
		t.Errorf("it was looked at %d times", n)
	}
}

// An event about one instance says nothing about the others: at a thousand machines they would all be looked at.
func TestOnlyTheInstanceThatChangedIsLookedAt(t *testing.T) {
	p := newPlace(t, nil)
	p.observe()
	p.fake.PlantForeign("0f0c9d2e-1111-4222-8333-444455556666")
	if n := p.looks(func() { p.observe() }); n != 0 {
		t.Errorf("another instance's event cost %d looks", n)
	}
}

// What changes while it is being looked at was seen too early.
func TestAnEventDuringTheLookIsNotLost(t *testing.T) {
	var once sync.Once
	p := newPlace(t, func(f *fake.Platform, id platform.Identity) { once.Do(func() { f.PowerOffGuest(id.UUID) }) })
	p.observe() // saw it running; it stopped before the answer was remembered
	if o := p.observe(); o.Power != platform.PowerOff {
		t.Errorf("the guest has stopped, and %+v is remembered", o)
	}
}

// Leases come without an event, so a guest that has none yet is looked at each time; and "could not tell" is no memory.
func TestWhatIsNotSettledIsNotRemembered(t *testing.T) {
	p := newPlace(t, nil)
	p.fake.SetAddresses(p.id.UUID)
	if n := p.looks(func() { p.observe(); p.observe() }); n != 2 {
		t.Errorf("a guest without address was looked at %d times, want 2", n)
	}
	p.fake.SetReachable(false)
	if _, err := p.p.Observe(t.Context(), p.id); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("an endpoint that is cut off gives %v", err)
	}
}

// Where events tell of addresses too, a guest that boots for a minute costs nothing until it has one. One event that was lost
// must not hold it up for longer than another look takes.
func TestWhatIsToldIsNotAskedFor(t *testing.T) {
	p := newPlace(t, nil)
	p.looked.tellsAll = true
	p.fake.SetAddresses(p.id.UUID)
	p.ensure()
	wait := func() {
		for range 20 {
			if o := p.observe(); len(o.Addresses) > 0 {
				t.Fatalf("remembered is %+v", o)
			}
		}
	}
	if n := p.looks(func() { wait(); p.id.SeenIn = "/"; wait() }); n != 0 {
		t.Errorf("a guest that boots was looked at %d times, and what was seen when it was made is true until an event", n)
	}
	if n := p.looks(func() { p.clock.SetTime(p.clock.Now().Add(time.Minute)); wait() }); n != 1 {
		t.Errorf("after a minute without an event it was looked at %d times, want once", n)
	}
	p.fake.SetAddresses(p.id.UUID, "192.0.2.1")
	p.events(platform.Event{UUID: p.id.UUID})
	if o := p.observe(); len(o.Addresses) != 1 {
		t.Errorf("its address was told, and remembered is %+v", o)
	}
}

// Machines that were made together must not all be looked at in the same second, 45 minutes later.
func TestSweepsAreSpread(t *testing.T) {
	p := newPlace(t, nil)
	due := map[time.Duration]bool{}
	for i := range 200 {
		p.id.UUID = fmt.Sprintf("6f0c9d2e-1111-4222-8333-%012x", i)
		p.fake.PlantForeign(p.id.UUID)
		due[session.SweepAge(p.id)] = true
	}
	var least, most time.Duration
	for d := range due {
		if least == 0 || d < least {
			least = d
		}
		most = max(most, d)
	}
	if least < 30*time.Minute || most > time.Hour || most-least < 15*time.Minute || len(due) < 190 {
		t.Errorf("200 sweeps fall on %d instants between %s and %s", len(due), least, most)
	}
}

// must returns a capability behind the registry's wrappers.
func must[T any](p *place) T {
	p.Helper()
	capability, can := platform.As[T](p.p)
	if !can {
		p.Fatal("the capability is lost behind the wrapper")
	}
	return capability
}

// bare is a session without any capability.
type bare struct{ platform.Platform }

func (bare) Check(context.Context) (string, error) { return "1", nil }

func (bare) Close() {}

// A wrapper must not claim what the platform cannot do: bootstrap data would count as removed.
func TestTheWrapperClaimsNoCapability(t *testing.T) {
	registry := session.NewRegistry(func(session.Settings, func(platform.Event)) (session.Session, error) {
		return bare{}, nil
	})
	apply(t, registry, endpoint("a"))
	p, err := registry.Platform("host")
	if err != nil {
		t.Fatal(err)
	}
	if _, can := platform.As[platform.BootstrapScrubber](p); can {
		t.Error("a platform that cannot scrub seems to be able to")
	}
	if _, can := platform.As[platform.PowerCycler](p); can {
		t.Error("a platform that cannot switch seems to be able to")
	}
}

// Two management clusters may share a host: one removes a copy that it does not need, and the other believes for the better
// part of an hour that it is there.
func TestAnImageThatIsMissedIsTold(t *testing.T) {
	p := newPlace(t, nil)
	req := platform.Request{Identity: p.id, ImageSHA256: "gone", CPUs: 1, MemoryBytes: 1 << 30, Firmware: platform.FirmwareUEFI}
	req.UUID = "6f0c9d2e-1111-4222-8333-444455557777"
	var told []platform.Event
	p.registry.Listen(func(_ string, event platform.Event) { told = append(told, event) })
	if _, err := p.p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrImageNotReady) {
		t.Fatalf("got %v, want %q", err, platform.ErrImageNotReady)
	}
	if want := (platform.Event{ImageSHA256: "gone"}); !slices.Contains(told, want) {
		t.Errorf("told was %+v, want %+v among it", told, want)
	}
}
