// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Meter is told of everything that endpoints are asked. Its methods are called from many goroutines and must not block.
type Meter interface {
	// Call is told of a call of a session: the name of the method, how it ended and how long it took. What is answered from
	// memory is no call.
	Call(endpoint, verb string, err error, took time.Duration)
	// Exchange is told of an exchange with the endpoint, of which a call may have many, in the words of the adapter.
	Exchange(endpoint, verb string, err error, took time.Duration)
	// Forget is told that the endpoint is gone.
	Forget(endpoint string)
}

// call measures one call from now on and returns the function that ends it. It is made for a defer.
type call func(verb string) (end func(err *error))

// measure puts a meter around a session. Capabilities of the session stay what they are: those that are known here are
// measured, others pass. The wrappers are pointers, so that whoever holds a session can tell whether it is still the same.
func measure(inner Session, endpoint string, meter Meter, clk clock.PassiveClock) Session {
	measured := call(func(verb string) func(*error) {
		start := clk.Now()
		return func(err *error) { meter.Call(endpoint, verb, *err, clk.Since(start)) }
	})
	outer := inner
	if scrubber, can := platform.As[platform.BootstrapScrubber](inner); can {
		outer = &scrubMeter{wrapped: wrapped{outer}, scrubber: scrubber, call: measured}
	}
	if reader, can := platform.As[platform.ConsoleReader](inner); can {
		outer = &consoleMeter{wrapped: wrapped{outer}, reader: reader, call: measured}
	}
	if lister, can := platform.As[platform.Inventory](inner); can {
		outer = &inventoryMeter{wrapped: wrapped{outer}, lister: lister, call: measured}
	}
	if reporter, can := platform.As[platform.CapacityReporter](inner); can {
		outer = &capacityMeter{wrapped: wrapped{outer}, reporter: reporter, call: measured}
	}
	return &portMeter{wrapped: wrapped{outer}, call: measured}
}

// wrapped is the session behind a wrapper.
type wrapped struct{ Session }

// Unwrap implements platform.Wrapper.
func (w wrapped) Unwrap() platform.Platform { return w.Session }

// portMeter measures the port itself.
type portMeter struct {
	wrapped
	call call
}

// Check implements Session.
func (m *portMeter) Check(ctx context.Context) (version string, err error) {
	defer m.call("Check")(&err)
	return m.Session.Check(ctx)
}

// Ensure implements platform.Platform.
func (m *portMeter) Ensure(ctx context.Context, req platform.Request) (seen platform.Observation, err error) {
	defer m.call("Ensure")(&err)
	return m.Session.Ensure(ctx, req)
}

// Observe implements platform.Platform.
func (m *portMeter) Observe(ctx context.Context, id platform.Identity) (seen platform.Observation, err error) {
	defer m.call("Observe")(&err)
	return m.Session.Observe(ctx, id)
}

// Release implements platform.Platform.
func (m *portMeter) Release(ctx context.Context, req platform.ReleaseRequest) (seen platform.Observation, err error) {
	defer m.call("Release")(&err)
	return m.Session.Release(ctx, req)
}

// EnsureImage implements platform.Platform.
func (m *portMeter) EnsureImage(ctx context.Context, req platform.ImageRequest) (seen platform.ImageObservation, err error) {
	defer m.call("EnsureImage")(&err)
	return m.Session.EnsureImage(ctx, req)
}

// ReleaseImage implements platform.Platform.
func (m *portMeter) ReleaseImage(ctx context.Context, id platform.ImageIdentity) (err error) {
	defer m.call("ReleaseImage")(&err)
	return m.Session.ReleaseImage(ctx, id)
}

type scrubMeter struct {
	wrapped
	scrubber platform.BootstrapScrubber
	call     call
}

// ScrubBootstrap implements platform.BootstrapScrubber.
func (m *scrubMeter) ScrubBootstrap(ctx context.Context, id platform.Identity) (err error) {
	defer m.call("ScrubBootstrap")(&err)
	return m.scrubber.ScrubBootstrap(ctx, id)
}

type consoleMeter struct {
	wrapped
	reader platform.ConsoleReader
	call   call
}

// ReadConsole implements platform.ConsoleReader.
func (m *consoleMeter) ReadConsole(ctx context.Context, id platform.Identity, maxBytes int64) (log []byte, err error) {
	defer m.call("ReadConsole")(&err)
	return m.reader.ReadConsole(ctx, id, maxBytes)
}

type inventoryMeter struct {
	wrapped
	lister platform.Inventory
	call   call
}

// List implements platform.Inventory.
func (m *inventoryMeter) List(ctx context.Context, managementClusterID string) (owned []platform.Owned, err error) {
	defer m.call("List")(&err)
	return m.lister.List(ctx, managementClusterID)
}

type capacityMeter struct {
	wrapped
	reporter platform.CapacityReporter
	call     call
}

// Capacity implements platform.CapacityReporter.
func (m *capacityMeter) Capacity(ctx context.Context) (capacity platform.Capacity, err error) {
	defer m.call("Capacity")(&err)
	return m.reporter.Capacity(ctx)
}
