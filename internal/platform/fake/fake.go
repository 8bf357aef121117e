// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fake is a platform in memory. It keeps the port's contract (it passes platformtest like every adapter), has
// state that tests can look at and change from outside, and fails where a script says so: before an effect, after an
// effect with the answer lost, or altogether.
//
// It is for tests of the port's users. It imitates no vendor, knows no API object, and is never linked into a binary.
package fake

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Effect is one change that the platform makes in the outside world.
type Effect string

// The effects, in the order in which Ensure and Release make them.
const (
	CreateDisk     Effect = "CreateDisk"
	Reserve        Effect = "Reserve"
	WriteBootstrap Effect = "WriteBootstrap"
	Define         Effect = "Define"
	Start          Effect = "Start"

	AskToShutDown   Effect = "AskToShutDown"
	PowerOff        Effect = "PowerOff"
	FreeAddresses   Effect = "FreeAddresses"
	Undefine        Effect = "Undefine"
	DeleteDisk      Effect = "DeleteDisk"
	DeleteBootstrap Effect = "DeleteBootstrap"

	StoreImage  Effect = "StoreImage"
	DeleteImage Effect = "DeleteImage"
)

// Fault makes one effect fail.
type Fault struct {
	// Effect is which effect fails; empty means any.
	Effect Effect
	// Skip is how many such effects pass before.
	Skip int
	// Lost is whether the effect happens and only its answer is lost. Otherwise it does not happen.
	Lost bool
	// Err is what the caller gets; nil means platform.ErrUnreachable.
	Err error
}

// Options say what the endpoint has. The zero value has every storage and network and never reads sources.
type Options struct {
	// Storages and Networks are the names that exist; nil means all.
	Storages, Networks []string
	// Subnets are what a network has addresses of, by its name. A network that is not named has all.
	Subnets map[string]netip.Prefix
	// Clock tells when guests that were asked to shut down have had their time; nil means the real one.
	Clock clock.PassiveClock
	// ReadSources is whether copies are read from their sources and verified. Otherwise each copy succeeds.
	ReadSources bool
	// ImageDiskBytes is the size of the disk in every image: smaller root disks are refused.
	ImageDiskBytes int64
	// Hardware is what the host has.
	Hardware Hardware
	// Capacity is how much the host tells that it has; the zero value is far more than any test needs.
	Capacity platform.Capacity
}

// Platform is one endpoint with a session that is always there. It implements platform.Platform and
// platform.BootstrapScrubber.
type Platform struct {
	options Options

	mu          sync.Mutex
	unreachable bool
	instances   map[string]*instance
	images      map[platform.ImageIdentity]*image
	reserved    map[netip.Addr]string // the uuid of the instance that has the address; empty for somebody else
	faults      []*fault
	calls       []Call
	listeners   []func(platform.Event)
}

// Call is one call of a method of the port.
type Call struct {
	// Method is the name of the method.
	Method string
	// UUID is set for calls about an instance, ImageSHA256 for calls about an image.
	UUID, ImageSHA256 string
}

type fault struct {
	Fault
	fired bool
}

var (
	_ platform.Platform          = (*Platform)(nil)
	_ platform.BootstrapScrubber = (*Platform)(nil)
	_ platform.PowerCycler       = (*Platform)(nil)
)

// New returns an empty endpoint.
func New(options Options) *Platform {
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	return &Platform{
		options:   options,
		instances: map[string]*instance{},
		images:    map[platform.ImageIdentity]*image{},
		reserved:  map[netip.Addr]string{},
	}
}

// Inject makes an effect fail once. The function that it returns tells whether that has happened.
func (p *Platform) Inject(f Fault) (fired func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := &fault{Fault: f}
	p.faults = append(p.faults, one)
	return func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return one.fired
	}
}

// ForgetFaults drops what Inject has set up and has not happened yet.
func (p *Platform) ForgetFaults() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = nil
}

// SetReachable cuts the endpoint off, or brings it back. While it is cut off nothing can be told.
func (p *Platform) SetReachable(reachable bool) {
	p.mu.Lock()
	p.unreachable = !reachable
	p.mu.Unlock()
	p.emit(platform.Event{Session: true})
}

// Listen adds a receiver of events. Events are sent from the goroutine that causes them.
func (p *Platform) Listen(listener func(platform.Event)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(p.listeners, listener)
}

// Calls returns every call of the port so far.
func (p *Platform) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// ForgetCalls empties what Calls returns.
func (p *Platform) ForgetCalls() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = nil
}

// begin records a call and refuses it when the endpoint is cut off. The caller holds the lock.
func (p *Platform) begin(call Call) error {
	p.calls = append(p.calls, call)
	if p.unreachable {
		return fmt.Errorf("%w: cut off by the test", platform.ErrUnreachable)
	}
	return nil
}

// effect makes a change unless a script says otherwise. The caller holds the lock.
func (p *Platform) effect(kind Effect, change func()) error {
	for _, f := range p.faults {
		if f.fired || (f.Effect != "" && f.Effect != kind) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.fired = true
		if f.Lost {
			change()
		}
		if f.Err != nil {
			return f.Err
		}
		return fmt.Errorf("%w: %s failed as scripted", platform.ErrUnreachable, kind)
	}
	change()
	return nil
}

func (p *Platform) emit(e platform.Event) {
	p.mu.Lock()
	listeners := slices.Clone(p.listeners)
	p.mu.Unlock()
	for _, l := range listeners {
		l(e)
	}
}

func (p *Platform) hasStorage(name string) bool {
	return p.options.Storages == nil || slices.Contains(p.options.Storages, name)
}
