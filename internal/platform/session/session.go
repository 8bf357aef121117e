// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session keeps exactly one session per PlatformEndpoint and hands out its events. It decides nothing about
// machines or images, and it knows no concrete platform: setup gives it the function that opens one.
package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/clock"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Session is one open session with an endpoint. It connects and reconnects by itself.
type Session interface {
	platform.Platform

	// Check asks the endpoint for its version. Errors: platform.ErrUnreachable, platform.ErrUnsupported.
	Check(ctx context.Context) (version string, err error)

	// Close ends the session. Calls that are under way end with platform.ErrUnreachable.
	Close()
}

// Settings are everything that a session is opened with.
type Settings struct {
	// Spec is the spec of the endpoint, without what is not the session's business.
	Spec ingotv1.PlatformEndpointSpec
	// Credentials are the content of the Secret that spec.credentialsRef names; nil without one.
	Credentials map[string][]byte
	// Calls is to be told of every exchange with the endpoint: its verb, the error if there was no answer or a refusal, and
	// how long it took. Nil means that nobody wants to know.
	Calls func(verb string, err error, took time.Duration)
}

// Opener opens a session. It does not wait for a connection; an error means that the settings can never work as they are.
type Opener func(settings Settings, events func(platform.Event)) (Session, error)

// Listener is told what may have changed on an endpoint. It must not block.
type Listener func(endpoint string, event platform.Event)

// Registry holds the sessions of all endpoints. It is safe for concurrent use.
type Registry struct {
	open  Opener
	clock clock.PassiveClock
	meter Meter // nil where nothing is measured

	mu       sync.Mutex
	sessions map[string]entry
	// changing has a lock for each endpoint that there ever was, which is held while its session is opened or closed. mu is
	// not: an endpoint that does not take its logout holds up nobody who asks for another one.
	changing map[string]*sync.Mutex

	// listening guards listeners alone: a session tells of its end while whoever ends it waits.
	listening sync.RWMutex
	listeners []Listener
}

type entry struct {
	settings Settings
	session  Session
	gate     *gate
}

// NewRegistry returns an empty registry that opens sessions with open.
func NewRegistry(open Opener) *Registry {
	return &Registry{open: open, clock: clock.RealClock{}, sessions: map[string]entry{}, changing: map[string]*sync.Mutex{}}
}

// WithClock replaces the clock, by which the registry tells how old an observation is.
func (r *Registry) WithClock(clk clock.PassiveClock) *Registry {
	r.clock = clk
	return r
}

// WithMeter has everything measured that endpoints are asked.
func (r *Registry) WithMeter(meter Meter) *Registry {
	r.meter = meter
	return r
}

// Apply makes the session of an endpoint match its spec and credentials: it opens one, or replaces one that was opened
// with others. Who may use the endpoint, and how much of it, is not the session's business, and a change of that leaves it
// alone.
func (r *Registry) Apply(endpoint *ingotv1.PlatformEndpoint, credentials map[string][]byte) (Session, error) {
	name := endpoint.Name
	defer r.change(name)()
	wanted := Settings{
		Spec:        ingotv1.PlatformEndpointSpec{Libvirt: endpoint.Spec.Libvirt, VSphere: endpoint.Spec.VSphere, ManagementClusterID: endpoint.Spec.ManagementClusterID},
		Credentials: credentials,
	}
	current, found := r.find(name)
	if found && equality.Semantic.DeepEqual(current.settings, wanted) {
		current.gate.turns.limit(endpoint.Spec.Budget)
		return current.session, nil
	}
	r.end(name)
	early := false // whether something was told of it while nobody could have it yet
	publish := func(event platform.Event) {
		r.mu.Lock()
		_, there := r.sessions[name]
		early = early || !there
		r.mu.Unlock()
		r.publish(name, event)
	}
	g := r.newGate(endpoint)
	opened, err := remember(r.clock, publish, func(events func(platform.Event)) (Session, error) { return r.openThrough(g, wanted, events) })
	if err != nil {
		return nil, fmt.Errorf("PlatformEndpoint %s: %w", name, err)
	}
	r.mu.Lock()
	r.sessions[name] = entry{settings: wanted, session: opened, gate: g}
	again := early
	r.mu.Unlock()
	if again {
		r.publish(name, platform.Event{Session: true})
	}
	return opened, nil
}

// newGate returns what calls to an endpoint pass. Those who listen are told when its circuit opens or closes, as when its
// session does: what was seen is as true as before, and whoever waits says why.
func (r *Registry) newGate(endpoint *ingotv1.PlatformEndpoint) *gate {
	name := endpoint.Name
	g := &gate{endpoint: name, clock: r.clock, meter: r.meter, circuit: circuit{endpoint: name, clock: r.clock}}
	g.circuit.turned = func(open bool) {
		if r.meter != nil {
			r.meter.Circuit(name, open)
		}
		r.publish(name, platform.Event{Session: true})
	}
	g.turns.limit(endpoint.Spec.Budget)
	return g
}

// openThrough opens a session behind a gate, and has its exchanges measured where there is a meter.
func (r *Registry) openThrough(g *gate, settings Settings, events func(platform.Event)) (Session, error) {
	if r.meter != nil {
		settings.Calls = func(verb string, err error, took time.Duration) { r.meter.Exchange(g.endpoint, verb, err, took) }
	}
	opened, err := r.open(settings, func(event platform.Event) {
		if event.Session {
			g.circuit.reconnected()
		}
		events(event)
	})
	if err != nil {
		return nil, err
	}
	return guard(opened, g), nil
}

// Forget closes the session of an endpoint that is gone, if there is one.
func (r *Registry) Forget(name string) {
	defer r.change(name)()
	r.end(name)
	if r.meter != nil {
		r.meter.Forget(name)
	}
}

// change waits until nobody else opens or closes the session of an endpoint, and returns the function that ends one's own turn.
func (r *Registry) change(name string) (changed func()) {
	r.mu.Lock()
	turn := r.changing[name]
	if turn == nil {
		turn = &sync.Mutex{}
		r.changing[name] = turn
	}
	r.mu.Unlock()
	turn.Lock()
	return turn.Unlock
}

// end takes the session of an endpoint out, if there is one, and closes it. From then on there is none.
func (r *Registry) end(name string) {
	r.mu.Lock()
	current, found := r.sessions[name]
	delete(r.sessions, name)
	r.mu.Unlock()
	if found {
		current.session.Close()
	}
}

func (r *Registry) find(name string) (entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	current, found := r.sessions[name]
	return current, found
}

// Platform returns the session of an endpoint. Where there is none yet the error wraps platform.ErrUnreachable: nothing
// can be told about the endpoint.
func (r *Registry) Platform(name string) (platform.Platform, error) {
	current, found := r.find(name)
	if !found {
		return nil, fmt.Errorf("PlatformEndpoint %s has no session yet: %w", name, platform.ErrUnreachable)
	}
	return current.session, nil
}

// CircuitOpen is whether an endpoint has left so much unanswered that it is not asked about machines.
func (r *Registry) CircuitOpen(name string) bool {
	current, found := r.find(name)
	return found && current.gate.circuit.isOpen()
}

// Listen adds a listener for the events of all endpoints, present and future.
func (r *Registry) Listen(l Listener) {
	r.listening.Lock()
	defer r.listening.Unlock()
	r.listeners = append(r.listeners, l)
}

// Close ends all sessions, all at once: what an endpoint takes that does not answer is not paid for each.
func (r *Registry) Close() {
	r.mu.Lock()
	ending := r.sessions
	r.sessions = map[string]entry{}
	r.mu.Unlock()
	var all sync.WaitGroup
	for _, current := range ending {
		all.Go(current.session.Close)
	}
	all.Wait()
}

func (r *Registry) publish(endpoint string, event platform.Event) {
	r.listening.RLock()
	listeners := r.listeners
	r.listening.RUnlock()
	for _, l := range listeners {
		l(endpoint, event)
	}
}
