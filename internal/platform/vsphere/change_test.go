// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// neverAbsent releases and observes a machine for a while, which must not be said to be gone.
func neverAbsent(t *testing.T, p platform.Platform, id platform.Identity) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 4*time.Second; time.Sleep(200 * time.Millisecond) {
		o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: id})
		if err == nil && o.Existence == platform.Absent {
			t.Fatal("Release says that a machine is gone that it may not see")
		}
		o, err = p.Observe(t.Context(), id)
		if err == nil && o.Existence == platform.Absent {
			t.Fatal("Observe says that a machine is gone that it may not see")
		}
	}
}

// An administrator who takes a permission away must not turn a machine into one that is gone: its Machine would go, and the
// virtual machine stay for ever.
func TestHiddenIsNotAbsent(t *testing.T) {
	t.Parallel()
	const folder = vcenter.Datacenter + "/vm"
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	id := req.Identity
	id.SeenIn = "/"
	t.Run("in the midst of a removal", func(t *testing.T) {
		runs(t, p, req)
		_, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: id}) // switches it off
		check(t, err)
		show, err := d.Hide(t.Context(), id.UUID, folder)
		check(t, err)
		neverAbsent(t, p, id)
		if n := len(l.clones(t, req)); n != 1 {
			t.Errorf("%d virtual machines are there, want the one", n)
		}
		show()
		goes(t, p, id)
	})
	t.Run("before a manager starts", func(t *testing.T) {
		runs(t, p, req)
		other := l.door(t)
		show, err := other.Hide(t.Context(), id.UUID, folder)
		check(t, err)
		successor := open(t, config(t, other), func(platform.Event) {})
		neverAbsent(t, successor, id)
		_, err = successor.Observe(t.Context(), id)
		if !errors.Is(err, platform.ErrUnreachable) {
			t.Errorf("got %v, want %v", err, platform.ErrUnreachable)
		}
		show()
		goes(t, p, id)
	})
	t.Run("without a record of a place nothing is held back", func(t *testing.T) {
		never := req.Identity
		never.UUID = "6f0c9d2e-1111-4222-8333-444455556666"
		goes(t, p, never)
	})
}

// vCenter forgets everything of a session when it restarts: the login, the view, the collector and what it had to tell.
func TestRestartOfVCenter(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	restart := func() {
		up := d.Shut()
		check(t, l.EndSessions(t.Context()))
		time.Sleep(500 * time.Millisecond)
		up()
	}
	_, err := p.Ensure(t.Context(), req)
	check(t, err)
	restart()
	runs(t, p, req)
	if n := len(l.clones(t, req)); n != 1 {
		t.Errorf("%d virtual machines", n)
	}
	_, err = p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}) // switches it off
	check(t, err)
	restart()
	goes(t, p, req.Identity)
	if n := len(l.clones(t, req)); n != 0 {
		t.Errorf("%d virtual machines are left", n)
	}
	if n, err := l.Sessions(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions are open, want one (%v)", n, err)
	}
}

// A password is changed while machines are made. What is under way goes on in vCenter, the new session finds it, and the old
// one is logged out.
func TestRotation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	registry := session.NewRegistry(func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		c := config(t, d)
		c.Credentials = settings.Credentials
		return vsphere.Open(t.Context(), c, events)
	})
	t.Cleanup(registry.Close)
	endpoint := &ingotv1.PlatformEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "vcenter"}, Spec: ingotv1.PlatformEndpointSpec{VSphere: ingotv1.VSphereEndpoint{Server: d.Address()}}}
	credentials := config(t, d).Credentials
	before, err := registry.Apply(endpoint, credentials)
	check(t, err)
	vcenter.Connected(t, before)
	req := l.request(t, before)
	t.Cleanup(vcenter.SlowClones(3 * time.Second))
	_, err = before.Ensure(t.Context(), req)
	check(t, err)

	l.SetPassword("another")
	credentials = config(t, d).Credentials
	credentials["password"] = []byte("another")
	after, err := registry.Apply(endpoint, credentials)
	check(t, err)
	runs(t, after, req)
	if n := len(l.clones(t, req)); n != 1 {
		t.Errorf("%d virtual machines were made for one machine", n)
	}
	if n, err := l.Sessions(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions are open, want one (%v)", n, err)
	}
	goes(t, after, req.Identity)
}
