// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// defaultSocket is where libvirtd of the system instance listens.
	defaultSocket = "/var/run/libvirt/libvirt-sock"
	// The ports that libvirtd and sshd listen on unless they are told otherwise.
	tcpPort, tlsPort, sshPort = "16509", "16514", "22"
	// transportBound is how long it may take until libvirtd can be spoken to: name, connection, handshakes.
	transportBound = 15 * time.Second
)

// dialer is the way to libvirtd: the RPC connection and every stream open a connection of their own with it.
type dialer interface {
	// dial returns a connection on which libvirtd waits for the first message. It gives up when ctx is done, whatever
	// the other side does or does not do.
	dial(ctx context.Context) (net.Conn, error)
}

// dialWithin dials within transportBound. Every failure is ErrUnreachable.
func dialWithin(ctx context.Context, d dialer) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, transportBound, fmt.Errorf("no answer within %s", transportBound))
	defer cancel()
	conn, err := d.dial(ctx)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w (%w)", platform.ErrNoAnswer, context.Cause(ctx), err)
	default:
		return nil, fmt.Errorf("%w: %w", platform.ErrNoAnswer, err)
	}
}

// during runs fn and closes conn when ctx is done before fn has ended, for what knows no context.
func during(ctx context.Context, conn io.Closer, fn func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := fn()
	if !stop() && err == nil {
		return context.Cause(ctx)
	}
	return err
}

// newDialer returns the way that a connection URI means, with the credentials that it needs. An error never repeats the
// URI or a credential, since there may be a secret in either.
func newDialer(uri string, credentials map[string][]byte) (dialer, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, uriError("cannot be read: it must look like qemu:///system or qemu+tls://host/system")
	}
	socket, err := checkURI(u)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "qemu", "qemu+unix":
		return unixDialer{socket: socket}, nil
	case "qemu+tcp":
		return tcpDialer{address: address(u, tcpPort)}, nil
	case "qemu+tls":
		return newTLSDialer(u, credentials)
	default:
		return newSSHDialer(u, socket, credentials)
	}
}

// uriError says what is wrong with a URI.
func uriError(format string, args ...any) error {
	return fmt.Errorf("%w: spec.libvirt.uri %s", platform.ErrInvalid, fmt.Sprintf(format, args...))
}

// scheme is what a URI of one scheme says beside the scheme.
type scheme struct{ host, user, socket bool }

func schemeOf(name string) (scheme, error) {
	switch name {
	case "qemu", "qemu+unix":
		return scheme{socket: true}, nil
	case "qemu+tcp", "qemu+tls":
		return scheme{host: true}, nil
	case "qemu+libssh":
		return scheme{host: true, user: true, socket: true}, nil
	default:
		return scheme{}, uriError("has the scheme %q: use qemu, qemu+unix, qemu+tcp, qemu+tls or qemu+libssh", name)
	}
}

// checkURI refuses everything in a URI that would have no effect, and returns the socket that it means.
func checkURI(u *url.URL) (socket string, err error) {
	if _, password := u.User.Password(); password {
		return "", uriError("holds a password: put credentials into the Secret of spec.credentialsRef, and change this password")
	}
	s, err := schemeOf(u.Scheme)
	if err != nil {
		return "", err
	}
	switch {
	case u.Opaque != "" || u.Path != "/system":
		return "", uriError("must end with /system: machines live in the system instance of libvirt")
	case u.Fragment != "":
		return "", uriError("has a part after #, which means nothing: remove it")
	case !s.host && (u.Host != "" || u.User != nil):
		return "", uriError("names a host, and %s is for the host of the manager: use qemu+tls or qemu+libssh", u.Scheme)
	case s.host && u.Hostname() == "":
		return "", uriError("names no host: write %s://host/system", u.Scheme)
	case !s.user && u.User != nil:
		return "", uriError("names a user, whom only qemu+libssh knows: remove it")
	case s.user && u.User.Username() == "":
		return "", uriError("names no user: write qemu+libssh://user@host/system")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", uriError("has the port %q: use 1 to 65535, or none for the usual one", port)
		}
	}
	return socketOf(u, s)
}

// socketOf returns the socket in the query of a URI, or the usual one.
func socketOf(u *url.URL, s scheme) (string, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", uriError("has a part after ? that cannot be read: remove it")
	}
	for key := range query {
		if key != "socket" || !s.socket {
			return "", uriError("has the parameter %q, which is not supported: credentials belong into the Secret of "+
				"spec.credentialsRef, and certificates and host keys are always verified", key)
		}
	}
	sockets := query["socket"]
	switch {
	case len(sockets) == 0:
		return defaultSocket, nil
	case len(sockets) > 1 || !path.IsAbs(sockets[0]):
		return "", uriError("must name one socket by its absolute path: ?socket=/run/libvirt/libvirt-sock")
	default:
		return sockets[0], nil
	}
}

// address is the host and port of a URI.
func address(u *url.URL, port string) string {
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// credential returns one key of the Secret.
func credential(credentials map[string][]byte, key, what string) ([]byte, error) {
	value := credentials[key]
	if len(value) == 0 {
		return nil, fmt.Errorf("%w: the Secret of spec.credentialsRef has no key %s: put %s there", platform.ErrInvalid, key, what)
	}
	return value, nil
}

// unixDialer reaches libvirtd on the host of the manager.
type unixDialer struct{ socket string }

func (d unixDialer) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
}

// tcpDialer reaches libvirtd over the network, without encryption.
type tcpDialer struct{ address string }

// dial asks the kernel to notice within a minute that the other side is gone. The session's ping is faster; streams
// rely on it.
func (d tcpDialer) dial(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	return dialer.DialContext(ctx, "tcp", d.address)
}
