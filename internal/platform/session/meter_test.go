// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// stopwatch is an endpoint where everything takes a second and the first call of a verb fails.
type stopwatch struct {
	clock  *clocktesting.FakePassiveClock
	failed map[string]bool
	events func(platform.Event)
}

func (s *stopwatch) take(verb string) error {
	s.clock.SetTime(s.clock.Now().Add(time.Second))
	if s.failed[verb] {
		return nil
	}
	s.failed[verb] = true
	return platform.ErrForeign
}

func (s *stopwatch) Check(context.Context) (string, error) { return "1", s.take("Check") }
func (s *stopwatch) Close()                                {}

func (s *stopwatch) Ensure(context.Context, platform.Request) (platform.Observation, error) {
	return platform.Observation{Detail: "made"}, s.take("Ensure")
}

func (s *stopwatch) Observe(context.Context, platform.Identity) (platform.Observation, error) {
	return platform.Observation{Existence: platform.Exists, Power: platform.PowerOff}, s.take("Observe")
}

func (s *stopwatch) Release(context.Context, platform.ReleaseRequest) (platform.Observation, error) {
	return platform.Observation{Detail: "released"}, s.take("Release")
}

func (s *stopwatch) EnsureImage(context.Context, platform.ImageRequest) (platform.ImageObservation, error) {
	return platform.ImageObservation{ExternalID: "x"}, s.take("EnsureImage")
}

func (s *stopwatch) ReleaseImage(context.Context, platform.ImageIdentity) error {
	return s.take("ReleaseImage")
}

// able is a stopwatch that can do everything that a platform can.
type able struct{ *stopwatch }

func (a able) ScrubBootstrap(context.Context, platform.Identity) error {
	return a.take("ScrubBootstrap")
}

func (a able) KeepApart(context.Context, platform.Identity, []platform.Identity) error {
	return a.take("KeepApart")
}

func (a able) ChooseStorage(context.Context, platform.StorageWish) (string, error) {
	return "fast", a.take("ChooseStorage")
}

func (a able) ReadConsole(context.Context, platform.Identity, int64) ([]byte, error) {
	return []byte("log"), a.take("ReadConsole")
}

func (a able) List(context.Context, string) ([]platform.Owned, error) {
	return []platform.Owned{{Name: "one"}}, a.take("List")
}

func (a able) Capacity(context.Context) (platform.Capacity, error) {
	return platform.Capacity{CPUs: 4}, a.take("Capacity")
}

// tape is a meter that writes down what it is told.
type tape []string

func (told *tape) Call(endpoint, verb string, err error, took time.Duration) {
	*told = append(*told, fmt.Sprint(endpoint, " ", verb, " ", took, " ", err))
}

func (told *tape) Exchange(endpoint, verb string, err error, took time.Duration) {
	*told = append(*told, fmt.Sprint(endpoint, "/", verb, " ", took, " ", err))
}

func (told *tape) Circuit(endpoint string, open bool) {
	*told = append(*told, fmt.Sprint(endpoint, " open: ", open))
}

func (told *tape) Forget(endpoint string) { *told = append(*told, "forget "+endpoint) }

func (told *tape) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	if !slices.Equal(*told, want) {
		t.Errorf("%s: the meter was told %q, want %q", what, *told, want)
	}
	*told = nil
}

func measuredSession(t *testing.T, capable bool) (session.Session, *tape) {
	t.Helper()
	s := &stopwatch{clock: clocktesting.NewFakePassiveClock(time.Unix(0, 0)), failed: map[string]bool{}}
	told := &tape{}
	registry := session.NewRegistry(func(_ session.Settings, events func(platform.Event)) (session.Session, error) {
		s.events = events
		if capable {
			return able{s}, nil
		}
		return s, nil
	}).WithClock(s.clock).WithMeter(told)
	opened, err := registry.Apply(endpoint("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return opened, told
}

// Every method is measured under its own name, with its answer and its error as they are: a meter that mixes two up, or
// swallows an error, would lie to whoever looks for what is slow.
func TestEveryCallIsMeasured(t *testing.T) {
	opened, told := measuredSession(t, true)
	ctx, id := t.Context(), platform.Identity{UUID: "u"}
	for verb, call := range map[string]func() (answer string, err error){
		"Check": func() (string, error) { return opened.Check(ctx) },
		"Ensure": func() (string, error) {
			seen, err := opened.Ensure(ctx, platform.Request{Identity: id})
			return seen.Detail, err
		},
		"Observe": func() (string, error) {
			seen, err := opened.Observe(ctx, id)
			return seen.Existence.String(), err
		},
		"Release": func() (string, error) {
			seen, err := opened.Release(ctx, platform.ReleaseRequest{Identity: id})
			return seen.Detail, err
		},
		"EnsureImage": func() (string, error) {
			seen, err := opened.EnsureImage(ctx, platform.ImageRequest{})
			return seen.ExternalID, err
		},
		"ReleaseImage":   func() (string, error) { return "", opened.ReleaseImage(ctx, platform.ImageIdentity{}) },
		"ScrubBootstrap": func() (string, error) { return "", as[platform.BootstrapScrubber](t, opened).ScrubBootstrap(ctx, id) },
		"KeepApart":      func() (string, error) { return "", as[platform.Separator](t, opened).KeepApart(ctx, id, nil) },
		"ChooseStorage": func() (string, error) {
			return as[platform.StorageChooser](t, opened).ChooseStorage(ctx, platform.StorageWish{})
		},
		"ReadConsole": func() (string, error) {
			log, err := as[platform.ConsoleReader](t, opened).ReadConsole(ctx, id, 1)
			return string(log), err
		},
		"List": func() (string, error) {
			owned, err := as[platform.Inventory](t, opened).List(ctx, "m")
			return owned[0].Name, err
		},
		"Capacity": func() (string, error) {
			capacity, err := as[platform.CapacityReporter](t, opened).Capacity(ctx)
			return strconv.Itoa(int(capacity.CPUs)), err
		},
	} {
		wanted := map[string]string{
			"Check": "1", "Ensure": "made", "Observe": "Exists", "Release": "released", "EnsureImage": "x",
			"ChooseStorage": "fast", "ReadConsole": "log", "List": "one", "Capacity": "4",
		}[verb]
		if _, err := call(); !errors.Is(err, platform.ErrForeign) {
			t.Errorf("%s: the error of the platform is lost: %v", verb, err)
		}
		told.expect(t, verb+" that fails", "host "+verb+" 1s not ours")
		if answer, err := call(); err != nil || answer != wanted {
			t.Errorf("%s: got %q and %v, want %q", verb, answer, err, wanted)
		}
		told.expect(t, verb, "host "+verb+" 1s <nil>")
	}
}

func as[T any](t *testing.T, p platform.Platform) T {
	t.Helper()
	capability, can := platform.As[T](p)
	if !can {
		t.Fatalf("the measured session has lost the capability %T", capability)
	}
	return capability
}

// A meter must not make a platform look as if it could do what it cannot: callers would rely on it.
func TestAMeterAddsNoCapability(t *testing.T) {
	opened, _ := measuredSession(t, false)
	if _, can := platform.As[platform.BootstrapScrubber](opened); can {
		t.Error("it can scrub")
	}
	if _, can := platform.As[platform.Separator](opened); can {
		t.Error("it can keep apart")
	}
	if _, can := platform.As[platform.StorageChooser](opened); can {
		t.Error("it can choose storage")
	}
	if _, can := platform.As[platform.ConsoleReader](opened); can {
		t.Error("it can read the console")
	}
	if _, can := platform.As[platform.Inventory](opened); can {
		t.Error("it can list")
	}
	if _, can := platform.As[platform.CapacityReporter](opened); can {
		t.Error("it can tell its capacity")
	}
}

// What is answered from memory costs the endpoint nothing, and is counted as nothing.
func TestMemoryIsNoCall(t *testing.T) {
	opened, told := measuredSession(t, true)
	id := platform.Identity{UUID: "u"}
	for range 4 { // the first fails, the second is remembered
		_, _ = opened.Observe(t.Context(), id)
	}
	told.expect(t, "four looks", "host Observe 1s not ours", "host Observe 1s <nil>")
}

// Exchanges are the adapter's to tell; the registry tells it whom, and keeps that apart from what a session is opened
// with: a session that is measured is not opened anew by every pass.
func TestExchangesAreMeasured(t *testing.T) {
	told := &tape{}
	opened := 0
	registry := session.NewRegistry(func(settings session.Settings, _ func(platform.Event)) (session.Session, error) {
		opened++
		settings.Calls("list domains", platform.ErrUnreachable, time.Minute)
		return &stopwatch{}, nil
	}).WithMeter(told)
	apply(t, registry, endpoint("a"))
	apply(t, registry, endpoint("a"))
	if opened != 1 {
		t.Errorf("%d sessions for one unchanged endpoint, want 1", opened)
	}
	told.expect(t, "the adapter's exchange", "host/list domains 1m0s endpoint unreachable")
	registry.Forget("host")
	told.expect(t, "an endpoint that is gone", "forget host")
}

// A session is compared with the one of the last pass to see whether it was replaced. What is around it must not make
// that impossible, nor make all sessions look alike.
func TestMeasuredSessionsCanBeCompared(t *testing.T) {
	for _, capable := range []bool{true, false} {
		one, _ := measuredSession(t, capable)
		other, _ := measuredSession(t, capable)
		if same := one; one != same || one == other {
			t.Errorf("capable %t: a session is itself, and is no other one", capable)
		}
	}
}
