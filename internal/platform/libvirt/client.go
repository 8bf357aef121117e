// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// defaultSocket is where libvirtd of the system instance listens.
	defaultSocket = "/var/run/libvirt/libvirt-sock"
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
)

// client is one connection to libvirtd. The files client*.go are the only ones that know go-libvirt, which has neither
// contexts nor deadlines: do adds both.
type client struct {
	rpc   *libvirt.Libvirt
	wire  *wire
	clock clock.WithDelayedExecution
	slots chan struct{}
}

// wire is a connection that tells when it is gone, whoever ended it.
type wire struct {
	net.Conn
	lost chan struct{}
	once sync.Once
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.lost) })
	}
	return n, err
}

// socketOf returns the unix socket that a connection URI means.
func socketOf(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("%w: the libvirt URI cannot be read: %w", platform.ErrInvalid, err)
	}
	if (u.Scheme != "qemu" && u.Scheme != "qemu+unix") || u.Host != "" || u.Path != "/system" {
		return "", fmt.Errorf("%w: libvirt URI %s: only qemu:///system and qemu+unix:///system are supported by this version",
			platform.ErrInvalid, u.Redacted())
	}
	if socket := u.Query().Get("socket"); socket != "" {
		return socket, nil
	}
	return defaultSocket, nil
}

// dial connects to libvirtd.
func dial(ctx context.Context, socket string, clk clock.WithDelayedExecution) (*client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	w := &wire{Conn: conn, lost: make(chan struct{})}
	c := &client{
		rpc:   libvirt.NewWithDialer(dialers.NewAlreadyConnected(w)),
		wire:  w,
		clock: clk,
		slots: make(chan struct{}, maxCalls),
	}
	err = c.do(ctx, "connect", func(l *libvirt.Libvirt) error { return l.ConnectToURI(systemInstance) })
	if err != nil {
		c.drop()
		return nil, err
	}
	return c, nil
}

// drop ends the connection at once. Every call under way returns ErrUnreachable.
func (c *client) drop() { _ = c.wire.Close() }

// lost is closed when the connection is gone.
func (c *client) lost() <-chan struct{} { return c.wire.lost }

// do runs fn, which may call libvirtd several times, and returns when it has ended or ctx is done, whichever is first.
// A call that was abandoned still ends, or takes the connection with it after callBound.
func (c *client) do(ctx context.Context, what string, fn func(*libvirt.Libvirt) error) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, platform.ErrUnreachable, ctx.Err())
	}
	return c.bounded(ctx, what, callBound, func(l *libvirt.Libvirt) error {
		defer func() { <-c.slots }()
		return fn(l)
	})
}

// bounded is do without a slot and with an own bound.
func (c *client) bounded(ctx context.Context, what string, bound time.Duration, fn func(*libvirt.Libvirt) error) error {
	guard := c.clock.AfterFunc(bound, c.drop)
	done := make(chan error, 1)
	go func() {
		defer guard.Stop()
		done <- fn(c.rpc)
	}()
	select {
	case err := <-done:
		return classify(what, err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, platform.ErrUnreachable, ctx.Err())
	}
}

// classify turns what go-libvirt returned into an error that callers can judge. An error that libvirtd itself sent is
// an answer; everything else means that there was none.
func classify(what string, err error) error {
	var answer libvirt.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &answer):
		return fmt.Errorf("%s: %w: %w", what, platform.ErrUnreachable, err)
	}
	switch libvirt.ErrorNumber(answer.Code) {
	case libvirt.ErrNoDomain, libvirt.ErrNoNetwork, libvirt.ErrNoStoragePool, libvirt.ErrNoStorageVol:
		return fmt.Errorf("%s: %w: %s", what, errNotFound, answer.Message)
	case libvirt.ErrStorageVolExist:
		return fmt.Errorf("%s: %w: %s", what, errExists, answer.Message)
	case libvirt.ErrOperationInvalid:
		return fmt.Errorf("%s: %w: %s", what, errState, answer.Message)
	default:
		return fmt.Errorf("%s: libvirt refused: %s", what, answer.Message)
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
	err = c.do(ctx, "read versions", func(l *libvirt.Libvirt) error {
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
	err := c.do(ctx, "subscribe", func(l *libvirt.Libvirt) (err error) {
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
