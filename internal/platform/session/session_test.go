// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// recorder is a session that only remembers whether it was closed.
type recorder struct {
	platform.Platform
	closed bool
	emit   func(platform.Event)
}

func (r *recorder) Check(context.Context) (string, error) { return "1", nil }

// Close tells of its end as adapters do, and waits until that was heard.
func (r *recorder) Close() {
	told := make(chan struct{})
	go func() {
		r.emit(platform.Event{Session: true})
		close(told)
	}()
	<-told
	r.closed = true
}

// opened is an opener that keeps every session it opened.
type opened []*recorder

func (o *opened) open(settings session.Settings, events func(platform.Event)) (session.Session, error) {
	if settings.Spec.Libvirt.URI == "" {
		return nil, errors.New("no uri")
	}
	r := &recorder{emit: events}
	*o = append(*o, r)
	return r, nil
}

func endpoint(uri string) *ingotv1.PlatformEndpoint {
	return &ingotv1.PlatformEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "host"},
		Spec:       ingotv1.PlatformEndpointSpec{Libvirt: ingotv1.LibvirtEndpoint{URI: uri}},
	}
}

func apply(t *testing.T, r *session.Registry, e *ingotv1.PlatformEndpoint) {
	t.Helper()
	if _, err := r.Apply(e, nil); err != nil {
		t.Fatal(err)
	}
}

// A session that ends says so, from another goroutine, before Close returns. The registry must not stand in its way:
// that would hang the manager whenever an endpoint is changed or deleted, and when it stops.
func TestASessionMayTellOfItsEndWhileItIsClosed(t *testing.T) {
	var sessions opened
	registry := session.NewRegistry(sessions.open)
	heard := 0
	registry.Listen(func(string, platform.Event) { heard++ })
	apply(t, registry, endpoint("a"))
	apply(t, registry, endpoint("b"))
	registry.Forget("host")
	apply(t, registry, endpoint("a"))
	registry.Close()
	if heard != len(sessions) {
		t.Errorf("heard of %d ends, want %d", heard, len(sessions))
	}
}

// Who may use an endpoint is no reason to abandon copies that run in its session.
func TestApplyKeepsTheSessionWhenOnlyTheNamespacesChange(t *testing.T) {
	var sessions opened
	registry := session.NewRegistry(sessions.open)
	apply(t, registry, endpoint("a"))
	changed := endpoint("a")
	changed.Spec.AllowedNamespaces.Names = []string{"team"}
	apply(t, registry, changed)
	if len(sessions) != 1 || sessions[0].closed {
		t.Error("the session was replaced")
	}
}

// One session per endpoint: sessions are what hypervisors run out of.
func TestApplyKeepsOneSessionUntilTheSpecChanges(t *testing.T) {
	var sessions opened
	registry := session.NewRegistry(sessions.open)
	apply(t, registry, endpoint("a"))
	apply(t, registry, endpoint("a"))
	if len(sessions) != 1 {
		t.Fatalf("%d sessions for one unchanged endpoint, want 1", len(sessions))
	}
	apply(t, registry, endpoint("b"))
	if len(sessions) != 2 || !sessions[0].closed || sessions[1].closed {
		t.Errorf("a changed spec must close the old session and open a new one")
	}
	registry.Forget("host")
	if !sessions[1].closed {
		t.Error("the session of a deleted endpoint stays open")
	}
}

// An endpoint without a session is unreachable, not empty: nothing may be concluded about its machines.
func TestPlatformOfAnUnknownEndpointIsUnreachable(t *testing.T) {
	registry := session.NewRegistry((&opened{}).open)
	if _, err := registry.Platform("host"); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("error is %v, want ErrUnreachable", err)
	}
	if _, err := registry.Apply(endpoint(""), nil); err == nil {
		t.Error("a spec that cannot work was accepted")
	}
}

// A listener that was added before an endpoint existed must hear of it too: controllers start in any order.
func TestListenersHearEveryEndpoint(t *testing.T) {
	var sessions opened
	registry := session.NewRegistry(sessions.open)
	var heard []string
	registry.Listen(func(endpoint string, event platform.Event) { heard = append(heard, endpoint+"/"+event.UUID) })
	apply(t, registry, endpoint("a"))
	sessions[0].emit(platform.Event{UUID: "u"})
	if len(heard) != 1 || heard[0] != "host/u" {
		t.Errorf("heard %v, want host/u", heard)
	}
}

// silent is a session with an endpoint that does not take its logout until it is let go.
type silent struct {
	recorder
	closing, letGo chan struct{}
}

// Close implements session.Session.
func (s *silent) Close() {
	close(s.closing)
	<-s.letGo
	s.recorder.closed = true
}

// A vCenter that hangs takes seconds to be left, also where its endpoint is only changed. Machines of another one must be asked
// about all that time, and may have their session opened and closed; the one that hangs has no session until the old one has
// ended, because two are what vCenters run out of.
func TestAnEndpointThatHangsInItsLogoutHoldsUpNoOther(t *testing.T) {
	var others opened
	hanging := &silent{closing: make(chan struct{}), letGo: make(chan struct{})}
	registry := session.NewRegistry(func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		if settings.Spec.Libvirt.URI == "hangs" {
			return hanging, nil
		}
		return others.open(settings, events)
	})
	apply(t, registry, endpoint("hangs"))
	replaced := make(chan error, 1)
	go func() {
		_, err := registry.Apply(endpoint("answers again"), nil)
		replaced <- err
	}()
	<-hanging.closing

	other := endpoint("a")
	other.Name = "other"
	apply(t, registry, other)
	if _, err := registry.Platform("other"); err != nil {
		t.Errorf("the other endpoint: %v", err)
	}
	if registry.CircuitOpen("other") {
		t.Error("the circuit of the other endpoint is open")
	}
	if _, err := registry.Platform("host"); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("the endpoint whose session is being closed: error is %v, want ErrUnreachable", err)
	}
	registry.Forget("other")
	if len(others) != 1 || !others[0].closed {
		t.Fatalf("the other endpoint had %d sessions, and the one that hangs must have no second yet", len(others))
	}

	close(hanging.letGo)
	if err := <-replaced; err != nil || !hanging.closed || len(others) != 2 {
		t.Errorf("replaced with %v, the old session closed: %t, %d sessions were opened", err, hanging.closed, len(others))
	}
}

// A session may be up before whoever opened it has it. Who is woken by that and finds none waits for half a minute: they are
// woken again.
func TestWhoIsToldEarlyIsToldAgain(t *testing.T) {
	registry := session.NewRegistry(func(_ session.Settings, events func(platform.Event)) (session.Session, error) {
		events(platform.Event{Session: true})
		return &recorder{emit: events}, nil
	})
	var found []error
	registry.Listen(func(name string, _ platform.Event) {
		_, err := registry.Platform(name)
		found = append(found, err)
	})
	apply(t, registry, endpoint("a"))
	if len(found) != 2 || found[0] == nil || found[1] != nil {
		t.Errorf("whoever listens found %v, want none and then the session", found)
	}
}

// A manager that ends has seconds for all its endpoints together.
func TestAllSessionsAreClosedAtOnce(t *testing.T) {
	letGo := make(chan struct{})
	var all []*silent
	registry := session.NewRegistry(func(session.Settings, func(platform.Event)) (session.Session, error) {
		s := &silent{closing: make(chan struct{}), letGo: letGo}
		all = append(all, s)
		return s, nil
	})
	for _, name := range []string{"a", "b"} {
		e := endpoint("hangs")
		e.Name = name
		apply(t, registry, e)
	}
	ended := make(chan struct{})
	go func() {
		registry.Close()
		close(ended)
	}()
	for _, s := range all {
		<-s.closing
	}
	close(letGo)
	<-ended
	if _, err := registry.Platform("a"); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("after the end: error is %v, want ErrUnreachable", err)
	}
}
