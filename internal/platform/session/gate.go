// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// gate is what every call to an endpoint passes: it is refused while the circuit is open, its exchanges wait for their turns,
// and how it ended is told to the circuit and the meter.
type gate struct {
	endpoint string
	clock    clock.PassiveClock
	meter    Meter // nil where nothing is measured
	circuit  circuit
	turns    turnstile
}

// checkVerb is the call that asks whether an endpoint answers: it passes an open circuit.
const checkVerb = "Check"

// releaseVerb is the call that is urgent whoever makes it: what goes makes room.
const releaseVerb = "Release"

// call begins a call. It returns the context for what is inside, and the function that ends the call with its error, which is
// made for a defer; or why the call is not to be made.
type call func(ctx context.Context, verb string) (inside context.Context, end func(err *error), refused error)

func (g *gate) call(ctx context.Context, verb string) (inside context.Context, end func(err *error), refused error) {
	check := verb == checkVerb
	if err := g.circuit.enter(check); err != nil {
		return ctx, nil, err
	}
	if verb == releaseVerb {
		ctx = platform.Urgent(ctx)
	}
	start := g.clock.Now()
	return platform.WithTurnstile(ctx, g.turns.pass), func(err *error) {
		g.circuit.leave(check, *err)
		if g.meter != nil {
			g.meter.Call(g.endpoint, verb, *err, g.clock.Since(start))
		}
	}, nil
}

// guard puts a gate before a session. Capabilities of the session stay what they are: those that are known here pass the
// gate, others pass beside it. The wrappers are pointers, so that whoever holds a session can tell whether it is still the same.
func guard(inner Session, g *gate) Session {
	outer := inner
	if scrubber, can := platform.As[platform.BootstrapScrubber](inner); can {
		outer = &scrubGate{wrapped: wrapped{outer}, scrubber: scrubber, call: g.call}
	}
	if cycler, can := platform.As[platform.PowerCycler](inner); can {
		outer = &powerGate{wrapped: wrapped{outer}, cycler: cycler, call: g.call}
	}
	if separator, can := platform.As[platform.Separator](inner); can {
		outer = &separatorGate{wrapped: wrapped{outer}, separator: separator, call: g.call}
	}
	if chooser, can := platform.As[platform.StorageChooser](inner); can {
		outer = &storageGate{wrapped: wrapped{outer}, chooser: chooser, call: g.call}
	}
	if reader, can := platform.As[platform.ConsoleReader](inner); can {
		outer = &consoleGate{wrapped: wrapped{outer}, reader: reader, call: g.call}
	}
	if lister, can := platform.As[platform.Inventory](inner); can {
		outer = &inventoryGate{wrapped: wrapped{outer}, lister: lister, call: g.call}
	}
	if reporter, can := platform.As[platform.CapacityReporter](inner); can {
		outer = &capacityGate{wrapped: wrapped{outer}, reporter: reporter, call: g.call}
	}
	if reporter, can := platform.As[platform.PrivilegeReporter](inner); can {
		outer = &privilegeGate{wrapped: wrapped{outer}, reporter: reporter, call: g.call}
	}
	return &portGate{wrapped: wrapped{outer}, call: g.call}
}

// wrapped is the session behind a wrapper.
type wrapped struct{ Session }

// Unwrap implements platform.Wrapper.
func (w wrapped) Unwrap() platform.Platform { return w.Session }

// portGate stands before the port itself.
type portGate struct {
	wrapped
	call call
}

// Check implements Session.
func (m *portGate) Check(ctx context.Context) (version string, err error) {
	ctx, end, err := m.call(ctx, "Check")
	if err != nil {
		return version, err
	}
	defer end(&err)
	return m.Session.Check(ctx)
}

// Ensure implements platform.Platform.
func (m *portGate) Ensure(ctx context.Context, req platform.Request) (seen platform.Observation, err error) {
	ctx, end, err := m.call(ctx, "Ensure")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.Session.Ensure(ctx, req)
}

// Observe implements platform.Platform.
func (m *portGate) Observe(ctx context.Context, id platform.Identity) (seen platform.Observation, err error) {
	ctx, end, err := m.call(ctx, "Observe")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.Session.Observe(ctx, id)
}

// Release implements platform.Platform.
func (m *portGate) Release(ctx context.Context, req platform.ReleaseRequest) (seen platform.Observation, err error) {
	ctx, end, err := m.call(ctx, "Release")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.Session.Release(ctx, req)
}

// EnsureImage implements platform.Platform.
func (m *portGate) EnsureImage(ctx context.Context, req platform.ImageRequest) (seen platform.ImageObservation, err error) {
	ctx, end, err := m.call(ctx, "EnsureImage")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.Session.EnsureImage(ctx, req)
}

// ReleaseImage implements platform.Platform.
func (m *portGate) ReleaseImage(ctx context.Context, id platform.ImageIdentity) (err error) {
	ctx, end, err := m.call(ctx, "ReleaseImage")
	if err != nil {
		return err
	}
	defer end(&err)
	return m.Session.ReleaseImage(ctx, id)
}

type scrubGate struct {
	wrapped
	scrubber platform.BootstrapScrubber
	call     call
}

// ScrubBootstrap implements platform.BootstrapScrubber.
func (m *scrubGate) ScrubBootstrap(ctx context.Context, id platform.Identity) (err error) {
	ctx, end, err := m.call(ctx, "ScrubBootstrap")
	if err != nil {
		return err
	}
	defer end(&err)
	return m.scrubber.ScrubBootstrap(ctx, id)
}

type powerGate struct {
	wrapped
	cycler platform.PowerCycler
	call   call
}

// SwitchOff implements platform.PowerCycler.
func (m *powerGate) SwitchOff(ctx context.Context, id platform.Identity) (seen platform.Observation, err error) {
	ctx, end, err := m.call(ctx, "SwitchOff")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.cycler.SwitchOff(ctx, id)
}

// SwitchOn implements platform.PowerCycler.
func (m *powerGate) SwitchOn(ctx context.Context, id platform.Identity) (seen platform.Observation, err error) {
	ctx, end, err := m.call(ctx, "SwitchOn")
	if err != nil {
		return seen, err
	}
	defer end(&err)
	return m.cycler.SwitchOn(ctx, id)
}

type consoleGate struct {
	wrapped
	reader platform.ConsoleReader
	call   call
}

// ReadConsole implements platform.ConsoleReader.
func (m *consoleGate) ReadConsole(ctx context.Context, id platform.Identity, maxBytes int64) (log []byte, err error) {
	ctx, end, err := m.call(ctx, "ReadConsole")
	if err != nil {
		return log, err
	}
	defer end(&err)
	return m.reader.ReadConsole(ctx, id, maxBytes)
}

type inventoryGate struct {
	wrapped
	lister platform.Inventory
	call   call
}

// List implements platform.Inventory.
func (m *inventoryGate) List(ctx context.Context, managementClusterID string) (owned []platform.Owned, err error) {
	ctx, end, err := m.call(ctx, "List")
	if err != nil {
		return owned, err
	}
	defer end(&err)
	return m.lister.List(ctx, managementClusterID)
}

type capacityGate struct {
	wrapped
	reporter platform.CapacityReporter
	call     call
}

// Capacity implements platform.CapacityReporter.
func (m *capacityGate) Capacity(ctx context.Context) (capacity platform.Capacity, err error) {
	ctx, end, err := m.call(ctx, "Capacity")
	if err != nil {
		return capacity, err
	}
	defer end(&err)
	return m.reporter.Capacity(ctx)
}

type privilegeGate struct {
	wrapped
	reporter platform.PrivilegeReporter
	call     call
}

// Privileges implements platform.PrivilegeReporter.
func (m *privilegeGate) Privileges(ctx context.Context, used platform.Uses) (told platform.Privileges, err error) {
	ctx, end, err := m.call(ctx, "Privileges")
	if err != nil {
		return told, err
	}
	defer end(&err)
	return m.reporter.Privileges(ctx, used)
}
