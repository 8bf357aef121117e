// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"the id is chosen once, before a session exists":         choosesOnce,
		"two managers that start together choose one id":         race,
		"an endpoint that does not answer is asked again":        retries,
		"one that leaves too much unanswered is left alone":      leftAlone,
		"a host that cannot do what is declared is no blackout":  cannot,
		"a spec that can never work says so":                     invalid,
		"a changed spec gets a new session":                      reopens,
		"the id cannot be changed by hand":                       immutableID,
		"what the host has is reported when it changes":          tellsCapacity,
		"a stable endpoint is asked every five minutes, quietly": rests,
		"a lost session is looked at as soon as it is told":      hears,
	})
}

// choosesOnce: the id is half of the proof that an instance is ours. A second one would make every machine foreign.
func choosesOnce(s *story) {
	s.begin()
	manager := s.manager()
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
	s.pass(s.manager())
	if s.endpoint.Spec.ManagementClusterID != id || s.endpoint.ResourceVersion != before {
		s.Error("a pass over a stable endpoint wrote something")
	}
}

// race: between one manager's look and its write another one may choose, for example while leadership changes hands.
func race(s *story) {
	s.begin()
	first, second := s.manager(), s.manager()
	var chosen string
	slow := s.manager(through(&builder.Writes{Before: func() {
		s.pass(second)
		chosen = s.endpoint.Spec.ManagementClusterID
	}}))
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
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.host.trouble = fmt.Errorf("%w: connection refused", platform.ErrUnreachable)
	result := s.after(5*time.Minute, manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointUnreachableReason, "connection refused")
	if result.RequeueAfter == 0 || s.endpoint.Status.Version != "fake 1" || s.host.sessions() != 1 {
		s.Errorf("looked at again after %s, version %q, %d sessions", result.RequeueAfter, s.endpoint.Status.Version, s.host.sessions())
	}
	s.host.trouble = nil
	s.after(result.RequeueAfter, manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// leftAlone: that machines wait because nothing is asked of their endpoint is told where people look for it.
func leftAlone(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.host.trouble = fmt.Errorf("%w: nothing within 20s", platform.ErrNoAnswer)
	result := s.after(5*time.Minute, manager)
	for range 4 {
		s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointUnreachableReason, "nothing within 20s")
		result = s.after(result.RequeueAfter, manager)
	}
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointCircuitOpenReason, "nothing within 20s")
	s.host.trouble = nil
	s.after(result.RequeueAfter, manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// cannot: a host without virtualization answers; the remedy is another than for one that is down.
func cannot(s *story) {
	s.begin()
	s.host.trouble = fmt.Errorf("%w: no virtualization", platform.ErrUnsupported)
	result := s.pass(s.manager())
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInvalidReason, "no virtualization")
	if result.RequeueAfter == 0 {
		s.Error("nobody would notice that the host was repaired")
	}
}

// invalid: only a change of the spec helps, and that wakes the reconciler.
func invalid(s *story) {
	s.begin()
	s.host.refusal = errors.New("spec.libvirt.uri cannot be read")
	manager := s.manager()
	if result := s.pass(manager); result.RequeueAfter != 0 {
		s.Error("it is tried again although nothing changed")
	}
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInvalidReason, "spec.libvirt.uri")
	s.host.refusal = nil
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

// reopens: the old session speaks to the old address.
func reopens(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.change(func(e *ingotv1.PlatformEndpoint) { e.Spec.Libvirt.Acceleration = ingotv1.AccelerationEmulated })
	s.pass(manager)
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	checks, _ := s.host.count()
	if n := s.host.sessions(); n != 1 || checks != 2 {
		s.Errorf("there are %d sessions, and %d checks", n, checks)
	}
}

// immutableID: whoever edits it would orphan every machine on the endpoint.
func immutableID(s *story) {
	s.begin()
	s.pass(s.manager())
	for _, id := range []string{"0e5e6f3c-0000-4000-8000-000000000000", ""} {
		changed := s.endpoint.DeepCopy()
		changed.Spec.ManagementClusterID = id
		if err := apiServer.Update(s.Context(), changed); !apierrors.IsInvalid(err) {
			s.Errorf("changing the id to %q: %v", id, err)
		}
	}
}

// tellsCapacity: placement needs to know what a host has, and a host that has what it had is no news.
func tellsCapacity(s *story) {
	s.begin()
	writes := &builder.Writes{}
	s.host.capacity = platform.Capacity{CPUs: 16, MemoryBytes: 64 << 30}
	manager := s.manager(through(writes))
	s.pass(manager)
	has := s.endpoint.Status.Capacity
	if has.CPUs != 16 || has.Memory == nil || has.Memory.Cmp(resource.MustParse("64Gi")) != 0 {
		s.Fatalf("the host has %+v", has)
	}
	quiet := writes.Count()
	s.after(5*time.Minute, manager)
	s.after(5*time.Minute, manager)
	if writes.Count() != quiet {
		s.Errorf("what had not changed was written again: %v", writes.Done())
	}
	s.host.capacity.MemoryBytes = 128 << 30
	s.after(5*time.Minute, manager)
	if got := s.endpoint.Status.Capacity.Memory.String(); got != "128Gi" {
		s.Errorf("the host has %s", got)
	}
}

// rests: hundreds of endpoints with a resync every few minutes must cost nothing while nothing happens.
func rests(s *story) {
	s.begin()
	writes := &builder.Writes{}
	manager := s.manager(through(writes))
	s.pass(manager)
	checked, _ := s.host.count()
	written := writes.Count()
	for range 60 {
		s.after(time.Minute, manager)
	}
	checks, lists := s.host.count()
	if checks-checked > 12 || writes.Count() != written {
		s.Errorf("in an hour of passes there were %d checks and the writes %v", checks-checked, writes.Done()[written:])
	}
	if lists > 2 {
		s.Errorf("what is on the endpoint was listed %d times in an hour", lists)
	}
}

// hears: until then every machine on the endpoint is thought to be what it was.
func hears(s *story) {
	s.begin()
	s.running()
	s.eventually("the endpoint is ready", s.isReady)
	s.host.fail(fmt.Errorf("%w: cable pulled", platform.ErrUnreachable))
	s.eventually("the trouble is told", func() bool {
		ready := s.ready()
		return ready != nil && ready.Reason == ingotv1.PlatformEndpointUnreachableReason
	})
	s.host.fail(nil)
	s.eventually("the end of the trouble is told", s.isReady)
}
