// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/locks"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/reminder"
)

// Acceleration says how guests run.
type Acceleration string

const (
	// KVM runs guests on the host's CPUs.
	KVM Acceleration = "KVM"
	// Emulated runs guests on QEMU's emulated CPUs.
	Emulated Acceleration = "Emulated"
)

const (
	// architecture is what guests are built for. Other architectures need a field in the request first.
	architecture = "x86_64"

	pingInterval = 10 * time.Second
	// pingBound is how long libvirtd may be silent. Together with pingInterval it is how long a host that freezes can hold
	// a call.
	pingBound = 15 * time.Second
	// dialBound is how long it may take to be ready for calls. The first question for the capabilities makes libvirtd start
	// every QEMU that it finds.
	dialBound = 60 * time.Second
	// firstBound is how long after Open calls wait for the first connection. A host that accepts and never answers would
	// hold every worker otherwise.
	firstBound = 2 * time.Second
	// closeBound is how long Close lets copies clean up behind themselves.
	closeBound = 5 * time.Second
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// Config is what a session needs to know.
type Config struct {
	// URI is the libvirt connection URI, for example qemu+tls://host/system.
	URI string
	// Credentials are what the URI needs beside itself: ca.crt, tls.crt and tls.key for qemu+tls, ssh-privatekey and
	// known_hosts for qemu+libssh.
	Credentials map[string][]byte
	// Acceleration says how guests run. There is no fallback from KVM to Emulated.
	Acceleration Acceleration
	// Clock is the time; nil means the real one.
	Clock clock.WithDelayedExecution
	// Log receives one line per change of the session.
	Log logr.Logger
	// Calls is told of every exchange with libvirtd: what was done in a few fixed words, the error if there was no answer
	// or a refusal, and how long it took. It is called from many goroutines and must not block. Nil tells nobody.
	Calls func(verb string, err error, took time.Duration)
}

// Status is what is known about the endpoint without asking it.
type Status struct {
	// Connected is whether there is a connection now.
	Connected bool
	// Version names libvirt and QEMU with their versions; empty before the first connection.
	Version string
	// Err says why there is no connection; nil while connected.
	Err error
}

// Session is the one connection to one endpoint, kept up until Close. It implements platform.Platform and all of the
// port's capabilities.
type Session struct {
	config Config
	dialer dialer
	meter  meter
	events func(platform.Event)
	// disconnect ends the connection for good; done is closed after that, first after the first attempt to connect or
	// firstBound.
	disconnect  context.CancelFunc
	done, first chan struct{}
	// copying is the life of all image copies, which Close ends first so that they can clean up.
	copying     context.Context //nolint:containedctx // copies outlive the calls that start them
	stopCopying context.CancelFunc

	locks  locks.Keyed
	images copying.Jobs

	shutdowns reminder.Shutdowns

	mu     sync.Mutex
	client *client
	status Status
	types  []string // the domain types that the host offers
}

var (
	_ platform.Platform          = (*Session)(nil)
	_ platform.BootstrapScrubber = (*Session)(nil)
	_ platform.PowerCycler       = (*Session)(nil)
	_ platform.ConsoleReader     = (*Session)(nil)
	_ platform.Inventory         = (*Session)(nil)
	_ platform.CapacityReporter  = (*Session)(nil)
)

// Open starts a session. It connects in the background and again whenever the connection is lost; events is called
// from other goroutines and must not block. The context only carries values: the session lives until Close. Open
// fails only when the configuration can never work as it is (platform.ErrInvalid).
func Open(ctx context.Context, config Config, events func(platform.Event)) (*Session, error) {
	dialer, err := newDialer(config.URI, config.Credentials)
	if err != nil {
		return nil, err
	}
	if config.Acceleration != KVM && config.Acceleration != Emulated {
		return nil, fmt.Errorf("%w: acceleration %q is neither KVM nor Emulated", platform.ErrInvalid, config.Acceleration)
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	config.Log = config.Log.WithValues("uri", config.URI) // which holds no secret: newDialer has seen to that
	s := &Session{
		config: config,
		dialer: dialer,
		meter:  meter{clock: config.Clock, calls: config.Calls},
		events: events,
		done:   make(chan struct{}),
		first:  make(chan struct{}),
		status: Status{Err: fmt.Errorf("%w: the session with it is being opened", platform.ErrNotAsked)},
	}
	ctx = context.WithoutCancel(ctx)
	s.copying, s.stopCopying = context.WithCancel(ctx)
	ctx, s.disconnect = context.WithCancel(ctx)
	go s.run(ctx)
	return s, nil
}

// Close ends the session: running copies are abandoned and removed, the connection is dropped. Instances are left as
// they are. A host that does not answer keeps what it has of a copy; the next session sweeps it.
func (s *Session) Close() {
	s.stopCopying()
	late := s.config.Clock.AfterFunc(closeBound, s.disconnect)
	s.images.Wait()
	late.Stop()
	s.disconnect()
	<-s.done
}

// Status returns what is known without asking the endpoint.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Check asks the endpoint whether it answers and can run machines as configured, and returns its version.
// Errors: platform.ErrUnreachable, platform.ErrUnsupported.
func (s *Session) Check(ctx context.Context) (version string, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return "", err
	}
	if err := c.ping(ctx, pingBound); err != nil {
		return "", fmt.Errorf("ping: %w", err)
	}
	return s.Status().Version, s.checkHostRuns()
}

// checkHostRuns refuses to run guests otherwise than configured.
func (s *Session) checkHostRuns() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return checkAcceleration(s.config.Acceleration, s.types)
}

func checkAcceleration(want Acceleration, offered []string) error {
	if want == KVM && !slices.Contains(offered, "kvm") {
		return fmt.Errorf("%w: the host has no usable /dev/kvm; switch on virtualization in its firmware, "+
			"or set spec.libvirt.acceleration: Emulated on the PlatformEndpoint for slow trials", platform.ErrUnsupported)
	}
	return nil
}

// acquire returns the connection. It waits for the first attempt to connect, for at most firstBound after Open, and for
// no other.
func (s *Session) acquire(ctx context.Context) (*client, error) {
	select {
	case <-s.first:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", platform.ErrNotAsked, ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil, s.status.Err
	}
	return s.client, nil
}

// run keeps the connection up.
func (s *Session) run(ctx context.Context) {
	defer close(s.done)
	backoff := minBackoff
	attempted := sync.OnceFunc(func() { close(s.first) })
	defer attempted()
	defer s.config.Clock.AfterFunc(firstBound, attempted).Stop()
	for ctx.Err() == nil {
		c, err := s.connect(ctx)
		if err == nil {
			backoff = minBackoff
			attempted()
			s.events(platform.Event{Session: true})
			err = s.watch(ctx, c)
		}
		s.disconnected(err)
		attempted()
		if c != nil {
			s.events(platform.Event{Session: true})
		}
		timer := s.config.Clock.NewTimer(backoff)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// connect dials, subscribes and only then lets callers use the connection, so that no change between their first look
// and the subscription is missed.
func (s *Session) connect(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialBound)
	defer cancel()
	c, err := connect(ctx, s.dialer, s.config.Clock, s.meter)
	if err != nil {
		return nil, err
	}
	lib, qemu, capabilities, err := c.versions(ctx)
	if err == nil {
		err = c.subscribe(ctx, func(uuid string) { s.events(platform.Event{UUID: uuid}) })
	}
	var types []string
	if err == nil {
		types, err = domainTypes(capabilities)
	}
	if err != nil {
		c.drop()
		return nil, err
	}
	version := fmt.Sprintf("libvirt %s, QEMU %s", versionString(lib), versionString(qemu))
	s.mu.Lock()
	s.client, s.types, s.status = c, types, Status{Connected: true, Version: version}
	s.mu.Unlock()
	s.config.Log.Info("Connected to libvirt", "version", version)
	return c, nil
}

// watch returns when the connection is gone or does not answer any more. go-libvirt notices neither a frozen libvirtd
// nor a half-open connection.
func (s *Session) watch(ctx context.Context, c *client) error {
	defer c.drop()
	for {
		timer := s.config.Clock.NewTimer(pingInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: the session was closed", platform.ErrUnreachable)
		case <-c.lost():
			timer.Stop()
			return fmt.Errorf("%w: %w", platform.ErrNoAnswer, errLost)
		case <-timer.C():
			if err := c.ping(ctx, pingBound); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
	}
}

func (s *Session) disconnected(err error) {
	if !errors.Is(err, platform.ErrUnreachable) {
		err = fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	s.mu.Lock()
	was := s.status.Connected
	s.client, s.status.Connected, s.status.Err = nil, false, err
	s.mu.Unlock()
	if was {
		s.config.Log.Info("Connection to libvirt ended", "reason", err.Error())
	}
}

// domainTypes returns how the host can run guests of our architecture: qemu, kvm.
func domainTypes(capabilities string) ([]string, error) {
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(capabilities); err != nil {
		return nil, fmt.Errorf("capabilities of the host: %w", err)
	}
	var types []string
	for _, g := range caps.Guests {
		if g.Arch.Name != architecture {
			continue
		}
		for _, d := range g.Arch.Domains {
			types = append(types, d.Type)
		}
	}
	return types, nil
}

// versionString turns libvirt's way of writing versions into the usual one.
func versionString(v uint64) string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}
