// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var apiServer client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithAPIServer(m.Run, func(c client.WithWatch) { apiServer = c }))
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"the id is chosen once, before a session exists":        choosesOnce,
		"two managers that start together choose one id":        race,
		"an endpoint that does not answer is asked again":       retries,
		"a host that cannot do what is declared is no blackout": cannot,
		"a spec that can never work says so":                    invalid,
		"a changed spec gets a new session":                     reopens,
		"a deleted endpoint gives its session up":               forgets,
		"the id cannot be changed by hand":                      immutableID,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newStory(t))
		})
	}
}

// story is one endpoint and the sessions that managers open with it.
type story struct {
	*testing.T

	endpoint *ingotv1.PlatformEndpoint
	// refusal is what opening a session ends with, trouble what a check of an open one ends with.
	refusal, trouble error
	open             atomic.Int32
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{T: t, endpoint: builder.PlatformEndpoint("story-" + rand.String(8))}
	if err := apiServer.Create(t.Context(), s.endpoint); err != nil {
		t.Fatal(err)
	}
	return s
}

// manager returns the reconciler of one manager.
func (s *story) manager(writes *builder.Writes) *platformendpoint.Reconciler {
	return &platformendpoint.Reconciler{
		Client: writes.Through(apiServer),
		Sessions: session.NewRegistry(func(settings session.Settings, _ func(platform.Event)) (session.Session, error) {
			if s.refusal != nil {
				return nil, s.refusal
			}
			if settings.Spec.ManagementClusterID == "" {
				s.Error("a session is opened before there is an owner token")
			}
			s.open.Add(1)
			return opened{fake.New(fake.Options{}), s}, nil
		}),
	}
}

// opened is a session with the fake.
type opened struct {
	*fake.Platform

	story *story
}

// Check implements session.Session.
func (o opened) Check(context.Context) (string, error) { return "fake 1", o.story.trouble }

// Close implements session.Session.
func (o opened) Close() { o.story.open.Add(-1) }

func (s *story) reconcile(r *platformendpoint.Reconciler) (ctrl.Result, error) {
	s.Helper()
	key := client.ObjectKeyFromObject(s.endpoint)
	result, err := r.Reconcile(s.Context(), ctrl.Request{NamespacedName: key})
	if err := apiServer.Get(s.Context(), key, s.endpoint); client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return result, err
}

// pass is a reconcile that must not fail.
func (s *story) pass(r *platformendpoint.Reconciler) ctrl.Result {
	s.Helper()
	result, err := s.reconcile(r)
	if err != nil {
		s.Fatal(err)
	}
	return result
}

func (s *story) expect(status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	ready := conditions.Get(s.endpoint, ingotv1.PlatformEndpointReadyCondition)
	if ready == nil || ready.Status != status || ready.Reason != reason || !strings.Contains(ready.Message, says) {
		s.Errorf("Ready is %v, want %s/%s that says %q", ready, status, reason, says)
	}
}

// choosesOnce: the id is half of the proof that an instance is ours. A second one would make every machine foreign.
func choosesOnce(s *story) {
	manager := s.manager(&builder.Writes{})
	result := s.pass(manager)
	id := s.endpoint.Spec.ManagementClusterID
	if id == "" || result.RequeueAfter == 0 {
		s.Fatalf("the id is %q, looked at again after %s", id, result.RequeueAfter)
	}
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	if s.endpoint.Status.Version != "fake 1" {
		s.Errorf("the version is %q", s.endpoint.Status.Version)
	}
	before := s.endpoint.ResourceVersion
	s.pass(manager)
	s.pass(s.manager(&builder.Writes{}))
	if s.endpoint.Spec.ManagementClusterID != id || s.endpoint.ResourceVersion != before {
		s.Error("a pass over a stable endpoint wrote something")
	}
}

// race: between one manager's look and its write another one may choose, for example while leadership changes hands.
func race(s *story) {
	first, second := s.manager(&builder.Writes{}), s.manager(&builder.Writes{})
	var chosen string
	slow := s.manager(&builder.Writes{Before: func() {
		s.pass(second)
		chosen = s.endpoint.Spec.ManagementClusterID
	}})
	if _, err := s.reconcile(slow); !apierrors.IsConflict(err) {
		s.Errorf("the slower manager is not told that it was too slow: %v", err)
	}
	s.pass(slow)
	s.pass(first)
	if got := s.endpoint.Spec.ManagementClusterID; got != chosen || got == "" {
		s.Errorf("the id is %q, and the first one chosen was %q", got, chosen)
	}
}

// retries: a host that reboots is back in minutes, and nothing is concluded meanwhile.
func retries(s *story) {
	manager := s.manager(&builder.Writes{})
	s.pass(manager)
	s.trouble = fmt.Errorf("%w: connection refused", platform.ErrUnreachable)
	result := s.pass(manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointUnreachableReason, "connection refused")
	if result.RequeueAfter == 0 || s.endpoint.Status.Version != "fake 1" || s.open.Load() != 1 {
		s.Errorf("looked at again after %s, version %q, %d sessions", result.RequeueAfter, s.endpoint.Status.Version, s.open.Load())
	}
	s.trouble = nil
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// cannot: a host without virtualization answers; the remedy is another than for one that is down.
func cannot(s *story) {
	s.trouble = fmt.Errorf("%w: no virtualization", platform.ErrUnsupported)
	result := s.pass(s.manager(&builder.Writes{}))
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInvalidReason, "no virtualization")
	if result.RequeueAfter == 0 {
		s.Error("nobody would notice that the host was repaired")
	}
}

// invalid: only a change of the spec helps, and that wakes the reconciler.
func invalid(s *story) {
	s.refusal = errors.New("spec.libvirt.uri cannot be read")
	manager := s.manager(&builder.Writes{})
	if result := s.pass(manager); result.RequeueAfter != 0 {
		s.Error("it is tried again although nothing changed")
	}
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInvalidReason, "spec.libvirt.uri")
	s.refusal = nil
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// reopens: the old session speaks to the old address.
func reopens(s *story) {
	manager := s.manager(&builder.Writes{})
	s.pass(manager)
	s.endpoint.Spec.Libvirt.Acceleration = ingotv1.AccelerationEmulated
	if err := apiServer.Update(s.Context(), s.endpoint); err != nil {
		s.Fatal(err)
	}
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	if n := s.open.Load(); n != 1 {
		s.Errorf("there are %d sessions", n)
	}
}

// forgets: a session that nobody needs keeps a connection, and its events wake reconcilers for nothing.
func forgets(s *story) {
	manager := s.manager(&builder.Writes{})
	s.pass(manager)
	if err := apiServer.Delete(s.Context(), s.endpoint); err != nil {
		s.Fatal(err)
	}
	s.pass(manager)
	if n := s.open.Load(); n != 0 {
		s.Errorf("there are %d sessions", n)
	}
	if _, err := manager.Sessions.Platform(s.endpoint.Name); !errors.Is(err, platform.ErrUnreachable) {
		s.Errorf("its session is still handed out: %v", err)
	}
}

// immutableID: whoever edits it would orphan every machine on the endpoint.
func immutableID(s *story) {
	s.pass(s.manager(&builder.Writes{}))
	for _, id := range []string{"0e5e6f3c-0000-4000-8000-000000000000", ""} {
		changed := s.endpoint.DeepCopy()
		changed.Spec.ManagementClusterID = id
		if err := apiServer.Update(s.Context(), changed); !apierrors.IsInvalid(err) {
			s.Errorf("changing the id to %q: %v", id, err)
		}
	}
}
