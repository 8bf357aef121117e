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
