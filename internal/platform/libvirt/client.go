// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// systemInstance is the instance that all machines live in.
	systemInstance = "qemu:///system"
	// callBound is how long one call may take before the connection is given up. Starting QEMU on a busy host is the
	// slowest call.
	callBound = 90 * time.Second
	// maxCalls is how many calls run at once. libvirtd serves five per connection; one is left for the ping.
	maxCalls = 4
)

// Errors of libvirt that this package decides by. They never leave it.
var (
	errNotFound = errors.New("not found")
	errExists   = errors.New("exists already")
	errState    = errors.New("not possible in this state")
	errBusy     = errors.New("libvirt waits for the domain's QEMU; where this lasts for minutes, restart libvirtd on the host, which leaves guests running")
	errLost     = errors.New("the connection was lost")
)

// client is one connection to libvirtd. The files client*.go are the only ones that know go-libvirt, which has neither
// contexts nor deadlines: do adds both.
type client struct {
	rpc   *libvirt.Libvirt
	wire  *wire
	clock clock.WithDelayedExecution
	meter meter
	slots chan struct{}
}

// connect opens a connection and introduces it to libvirtd.
func connect(ctx context.Context, d dialer, clk clock.WithDelayedExecution, m meter) (c *client, err error) {
	defer m.begin("connect")(&err)
	conn, err := dialWithin(ctx, d)
	if err != nil {
		return nil, err
	}
	w := newWire(conn)
	c = &client{
		rpc:   libvirt.NewWithDialer(dialers.NewAlreadyConnected(w)),
		wire:  w,
		clock: clk,
		meter: m,
		slots: make(chan struct{}, maxCalls),
	}
	err = c.exchange(ctx, callBound, func(l *libvirt.Libvirt) error { return l.ConnectToURI(systemInstance) })
	if err != nil {
		c.drop()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// drop ends the connection at once. Every call under way returns ErrUnreachable.
func (c *client) drop() { _ = c.wire.Close() }

// lost is closed when the connection is gone.
func (c *client) lost() <-chan struct{} { return c.wire.lost }

// do runs fn, which may call libvirtd several times, and returns when it has ended or ctx is done, whichever is first.
// A call that was abandoned still ends, or takes the connection with it after callBound. The verb says what is done, in
// the same few words every time, and the subject to what.
func (c *client) do(ctx context.Context, verb, subject string, fn func(*libvirt.Libvirt) error) error {
	what := strings.TrimSpace(verb + " " + subject)
	if err := platform.Turn(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.lost():
		return fmt.Errorf("%s: %w: %w", what, platform.ErrNoAnswer, errLost)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, platform.ErrNoAnswer, ctx.Err())
	}
	err := c.bounded(ctx, verb, callBound, func(l *libvirt.Libvirt) error {
		defer func() { <-c.slots }()
		return fn(l)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// bounded is do without a slot and a subject, and with an own bound.
func (c *client) bounded(ctx context.Context, verb string, bound time.Duration, fn func(*libvirt.Libvirt) error) (err error) {
	defer c.meter.begin(verb)(&err)
	return c.exchange(ctx, bound, fn)
}

// exchange runs fn and returns after bound at the latest, also when go-libvirt does not.
func (c *client) exchange(ctx context.Context, bound time.Duration, fn func(*libvirt.Libvirt) error) error {
	late := make(chan struct{})
	guard := c.clock.AfterFunc(bound, func() {
		c.drop()
		close(late)
	})
	done := make(chan error, 1)
	go func() {
		defer guard.Stop()
		done <- fn(c.rpc)
	}()
	select {
	case err := <-done:
		return classify(err)
	case <-late:
		return fmt.Errorf("%w: libvirtd has not answered within %s", platform.ErrNoAnswer, bound)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", platform.ErrNoAnswer, ctx.Err())
	}
}

// classify turns what go-libvirt returned into an error that callers can judge. An error that libvirtd itself sent is
// an answer; everything else means that there was none.
func classify(err error) error {
	var answer libvirt.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &answer):
		return fmt.Errorf("%w: %w", platform.ErrNoAnswer, err)
	}
	switch libvirt.ErrorNumber(answer.Code) {
	case libvirt.ErrNoDomain, libvirt.ErrNoNetwork, libvirt.ErrNoStoragePool, libvirt.ErrNoStorageVol:
		return fmt.Errorf("%w: %s", errNotFound, answer.Message)
	case libvirt.ErrStorageVolExist:
		return fmt.Errorf("%w: %s", errExists, answer.Message)
	case libvirt.ErrOperationInvalid:
		return fmt.Errorf("%w: %s", errState, answer.Message)
	case libvirt.ErrOperationTimeout:
		return fmt.Errorf("%w: %s", errBusy, answer.Message)
	default:
		return fmt.Errorf("libvirt refused: %s", answer.Message)
	}
}

// isAnswer tells whether libvirtd itself sent the error.
func isAnswer(err error) bool {
	var answer libvirt.Error
	return errors.As(err, &answer)
}

// ping asks for the smallest answer there is.
func (c *client) ping(ctx context.Context, bound time.Duration) error {
	return c.bounded(ctx, "ping", bound, func(l *libvirt.Libvirt) error {
		_, err := l.ConnectGetLibVersion()
		return err
	})
}

// versions returns the versions of libvirt and QEMU, and the host's capabilities as XML.
func (c *client) versions(ctx context.Context) (lib, qemu uint64, capabilities string, err error) {
	err = c.do(ctx, "read versions", "", func(l *libvirt.Libvirt) (err error) {
		if lib, err = l.ConnectGetLibVersion(); err != nil {
			return err
		}
		if qemu, err = l.ConnectGetVersion(); err != nil {
			return err
		}
		capabilities, err = l.ConnectGetCapabilities()
		return err
	})
	return lib, qemu, capabilities, err
}

// subscribe calls changed with the UUID of each domain whose life cycle changes, until the connection is gone. The
// subscription ignores the context on purpose: go-libvirt would go on sending to a reader that is gone.
func (c *client) subscribe(ctx context.Context, changed func(uuid string)) error {
	var events <-chan any
	err := c.do(ctx, "subscribe", "", func(l *libvirt.Libvirt) (err error) {
		events, err = l.SubscribeEvents(context.WithoutCancel(ctx), libvirt.DomainEventIDLifecycle, nil)
		return err
	})
	if err != nil {
		return err
	}
	go func() {
		for event := range events {
			if msg, ok := event.(*libvirt.DomainEventCallbackLifecycleMsg); ok {
				changed(uuidString(msg.Msg.Dom.UUID))
			}
		}
	}()
	return nil
}
