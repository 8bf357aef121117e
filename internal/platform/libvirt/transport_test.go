// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/go-logr/logr/testr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

func (l *lab) tlsURI() string { return "qemu+tls://" + l.host.TLS.Addr().String() + "/system" }

// reach opens a session and waits until it is connected.
func (l *lab) reach(t *testing.T, uri string, credentials map[string][]byte) *libvirt.Session {
	t.Helper()
	s := attempt(t, uri, credentials)
	eventually(t, "the session is connected", func() bool { return s.Status().Connected })
	return s
}

// attempt opens a session.
func attempt(t *testing.T, uri string, credentials map[string][]byte) *libvirt.Session {
	t.Helper()
	s, err := libvirt.Open(t.Context(), libvirt.Config{URI: uri, Credentials: credentials, Acceleration: libvirt.Emulated, Log: testr.New(t)},
		func(platform.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// sshd starts a server for the lab's libvirtd and returns what an endpoint needs to use it.
func (l *lab) sshd(t *testing.T) (*sshd, map[string][]byte) {
	t.Helper()
	private, public := newSSHKey(t)
	server := newSSHD(t, l.host.Socket, public)
	return server, map[string][]byte{"ssh-privatekey": private, "known_hosts": server.knownHosts()}
}

func testTransports(t *testing.T, l *lab) {
	t.Helper()
	server, sshCredentials := l.sshd(t)
	for name, c := range map[string]struct {
		uri         string
		credentials map[string][]byte
	}{
		"unix":   {l.host.URI, nil},
		"tcp":    {"qemu+tcp://" + l.host.TCP.String() + "/system", nil},
		"tls":    {"qemu+tls://" + l.host.TLS.String() + "/system", l.ca.credentials(t)},
		"libssh": {server.uri(), sshCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			p := l.reach(t, c.uri, c.credentials)
			req := l.request(t, p) // copies an image over a stream
			run(t, p, req)
			console := bytes.Repeat([]byte("a line of the kernel\n"), 30_000)
			if err := os.WriteFile(l.consoleOf(req.Identity), console, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := p.ReadConsole(t.Context(), req.Identity, 1<<20)
			if err != nil || !bytes.Equal(got, console) {
				t.Errorf("console: %d bytes, want %d, %v", len(got), len(console), err)
			}
			if o, err := p.Observe(t.Context(), req.Identity); err != nil || o.Power != platform.PowerOn {
				t.Errorf("Observe: %+v, %v", o, err)
			}
			if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
				t.Errorf("Release: %+v, %v", o, err)
			}
		})
	}
	if n := server.forwarded.Load(); n < 4 { // the session's, and a stream each for image, bootstrap data and console
		t.Errorf("%d connections went through SSH", n)
	}
	eventually(t, "no SSH connection is left", func() bool { return server.open.Load() == 0 })
}

// What the other side refuses is told with the key of the Secret to look at, nothing of the Secret, and the session goes on
// trying: a person may put it right on either side.
func testRefusedCredentials(t *testing.T, l *lab) {
	t.Helper()
	stranger := newAuthority(t)
	server, good := l.sshd(t)
	other, _ := newSSHKey(t)
	_, otherHost := newSSHKey(t)
	with := func(credentials map[string][]byte, key string, value []byte) map[string][]byte {
		changed := maps.Clone(credentials)
		changed[key] = value
		return changed
	}
	for name, c := range map[string]struct {
		uri         string
		credentials map[string][]byte
		says        string
	}{
		"the host's certificate is of another authority": {l.tlsURI(), with(l.ca.credentials(t), "ca.crt", stranger.pem), "authority in key ca.crt"},
		"the client's certificate is of another authority": {
			l.tlsURI(), with(stranger.credentials(t), "ca.crt", l.ca.pem), "does not accept the client certificate in key tls.crt",
		},
		"no libvirtd listens there":       {"qemu+tcp://" + l.host.TCP.Addr().String() + ":9/system", nil, "refused"},
		"the host shows another key":      {server.uri(), with(good, "known_hosts", knownHosts(server.listener.Addr().String(), otherHost)), ""},
		"the user's key is not known":     {server.uri(), with(good, "ssh-privatekey", other), "key ssh-privatekey of the Secret"},
		"the user is not known":           {strings.Replace(server.uri(), sshUser, "nobody", 1), good, "as user nobody"},
		"the socket may not be forwarded": {server.uri() + "2", good, "AllowStreamLocalForwarding"},
	} {
		t.Run(name, func(t *testing.T) {
			s := attempt(t, c.uri, c.credentials)
			eventually(t, "the refusal is told", func() bool { return !strings.Contains(s.Status().Err.Error(), "being opened") })
			err := s.Status().Err
			if !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q with %q", err, platform.ErrUnreachable, c.says)
			}
			for key, value := range c.credentials {
				if secret := bytes.TrimSpace(value); strings.Contains(err.Error(), string(secret[len(secret)/2:])) {
					t.Errorf("the error shows what is in %s: %v", key, err)
				}
			}
		})
	}
}

// A client certificate is renewed while machines run: the Secret changes, nothing is restarted, and the old connection is
// closed. A bad one does not harm what runs.
func testRotation(t *testing.T, l *lab) {
	t.Helper()
	registry := session.NewRegistry(func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		return libvirt.Open(t.Context(), libvirt.Config{
			URI: settings.Spec.Libvirt.URI, Credentials: settings.Credentials, Acceleration: libvirt.Emulated, Log: testr.New(t),
		}, events)
	})
	t.Cleanup(registry.Close)
	endpoint := &ingotv1.PlatformEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "host"}, Spec: ingotv1.PlatformEndpointSpec{Libvirt: ingotv1.LibvirtEndpoint{URI: l.tlsURI()}},
	}
	apply := func(credentials map[string][]byte) session.Session {
		s, err := registry.Apply(endpoint, credentials)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	works := func(s session.Session) func() bool {
		return func() bool {
			_, err := s.Check(t.Context())
			return err == nil
		}
	}
	before := l.tlsConnections(t)
	first := l.ca.credentials(t)
	old := apply(first)
	eventually(t, "the session works", works(old))
	if again := apply(first); again != old {
		t.Error("the same credentials opened another session")
	}
	hand := l.reach(t, l.host.URI, nil) // whose session lives as long as the machine
	req := l.request(t, hand)
	run(t, old, req)
	running := l.domain(t, req.UUID)

	renewed := apply(l.ca.credentials(t))
	if _, err := old.Observe(t.Context(), req.Identity); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("the old session still answers: %v", err)
	}
	eventually(t, "the renewed session works", works(renewed))
	if o, err := renewed.Observe(t.Context(), req.Identity); err != nil || o.Power != platform.PowerOn {
		t.Errorf("Observe with the renewed certificate: %+v, %v", o, err)
	}
	eventually(t, "one connection is left", func() bool { return l.tlsConnections(t) == before+1 })

	bad := apply(newAuthority(t).credentials(t))
	if _, err := bad.Observe(t.Context(), req.Identity); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("with a certificate of nobody: %v", err)
	}
	if _, err := registry.Apply(endpoint, map[string][]byte{"ca.crt": l.ca.pem}); !errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("without a certificate: %v", err)
	}
	eventually(t, "the session works again", works(apply(l.ca.credentials(t))))
	if now := l.domain(t, req.UUID); now != running || l.state(t, now) != golibvirt.DomainRunning {
		t.Errorf("the machine is %+v, was %+v", now, running)
	}
}

func (l *lab) state(t *testing.T, d golibvirt.Domain) golibvirt.DomainState {
	t.Helper()
	state, _, err := l.admin.DomainGetState(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	return golibvirt.DomainState(state)
}

// tlsConnections counts the established connections to libvirtd's TLS port, as the kernel sees them.
func (l *lab) tlsConnections(t *testing.T) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	a := l.host.TLS.Addr().As4()
	slices.Reverse(a[:])
	remote := fmt.Sprintf("%X:%04X", a, l.host.TLS.Port())
	const established = "01"
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && fields[2] == remote && fields[3] == established {
			n++
		}
	}
	return n
}
