// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestReplicas(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a copy tells how far it is, and rests when it is complete":          copies,
		"progress is told every two seconds at most, and only progress":      tellsProgress,
		"a complete copy costs neither calls nor writes":                     rests,
		"a complete copy is looked at again after three quarters of an hour": verifies,
		"what must not happen all at once is spread":                         spreads,
		"a copy that failed is tried again":                                  triesAgain,
		"a source that keeps failing is asked less and less often":           backsOff,
		"a copy that is in use stays":                                        staysWhileInUse,
		"a deleted replica takes its copy with it":                           takesCopyAlong,
		"an endpoint that does not answer keeps the replica":                 keepsWhileUnreachable,
		"an endpoint without a session is no error":                          waitsForSession,
		"a complete copy stays complete while nobody can tell":               staysReadyUnseen,
		"a report that is lost is made again":                                writesAgain,
		"a manager that is killed at any write leaves one copy":              survivesCrashes,
	})
}

// copies: progress is for the person who waits.
func copies(s *story) {
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/2)
	s.begin()
	result := s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaCopyingReason)
	if percent := s.replica.Status.Percent; percent == nil || *percent != 49 {
		s.Errorf("half way it is at %v %%", percent)
	}
	if result.RequeueAfter == 0 {
		s.Error("nobody would report progress")
	}
	s.platform.LetCopy(s.copy())
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
	if *s.replica.Status.Percent != 100 || s.replica.Status.ExternalID == "" {
		s.Errorf("a complete copy: %+v", s.replica.Status)
	}
}

// tellsProgress: each report is a write that wakes whoever watches replicas, this reconciler included.
func tellsProgress(s *story) {
	s.machine()
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/4)
	s.begin()
	s.settle()
	s.calls()
	written := s.writes.Count()
	for range 10 {
		s.after(time.Second)
	}
	if calls := s.calls(); calls != 5 || s.writes.Count() != written {
		s.Errorf("in ten seconds without progress there were %d calls and the writes %v", calls, s.writes.Done()[written:])
	}
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/2)
	s.after(2 * time.Second)
	if n := s.writes.Count() - written; n != 1 || *s.replica.Status.Percent != 49 {
		s.Errorf("progress to %d %% took %d writes", *s.replica.Status.Percent, n)
	}
}

// rests: hundreds of replicas are looked at again every few minutes, because every object is.
func rests(s *story) {
	s.machine()
	s.store()
	s.calls()
	written := s.writes.Count()
	for range 30 {
		s.after(time.Minute)
	}
	if calls := s.calls(); calls != 0 || s.writes.Count() != written {
		s.Errorf("in half an hour there were %d calls and the writes %v", calls, s.writes.Done()[written:])
	}
}

// verifies: the safety net for what happens on a host without an event, such as a hand that deletes a file.
func verifies(s *story) {
	s.machine()
	s.store()
	if err := s.platform.ReleaseImage(s.Context(), s.copy()); err != nil {
		s.Fatal(err)
	}
	s.calls()
	result := s.after(time.Minute)
	if calls := s.calls(); calls != 0 || result.RequeueAfter < 40*time.Minute || result.RequeueAfter > 45*time.Minute {
		s.Errorf("%d calls, looked at again after %s", calls, result.RequeueAfter)
	}
	s.after(result.RequeueAfter)
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaCopyingReason)
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
	if !s.platform.HasImage(s.copy()) {
		s.Error("the copy was not made again")
	}
}

// spreads: a manager that starts verifies all replicas within a second, and must not do so every 45 minutes.
func spreads(s *story) {
	s.machine()
	s.begin()
	for _, c := range []struct {
		random float64
		want   time.Duration
	}{{0, 45 * time.Minute * 3 / 4}, {0.5, 45 * time.Minute}, {1, 45 * time.Minute * 5 / 4}} {
		s.restart()
		s.connect()
		s.passes.Random = func() float64 { return c.random }
		begin := s.clock.Now()
		var result time.Duration
		for range 5 { // the finalizer, the copy, its end
			result = s.after(2 * time.Second).RequeueAfter
		}
		if took := s.clock.Now().Add(result).Sub(begin); took < c.want || took > c.want+10*time.Second {
			s.Errorf("with %v it is looked at again after %s, want %s", c.random, took, c.want)
		}
	}
}

// triesAgain: what failed outside can be repaired outside, and the reason says where.
func triesAgain(s *story) {
	failures := []struct {
		err    error
		reason string
	}{
		{platform.ErrDigestMismatch, ingotv1.ImageReplicaDigestMismatchReason},
		{platform.ErrSource, ingotv1.ImageReplicaSourceFailedReason},
		{platform.ErrCapacity, ingotv1.ImageReplicaRefusedReason},
		{platform.ErrUnreachable, ingotv1.ImageReplicaEndpointUnavailableReason},
	}
	s.begin()
	for _, failure := range failures {
		s.platform.FailCopy(s.copy(), fmt.Errorf("%w: scripted", failure.err))
		wait := time.Duration(0)
		for range 5 {
			result := s.after(wait)
			if wait = result.RequeueAfter; wait == 0 && len(s.replica.Status.Conditions) > 0 {
				s.Fatalf("after %v nobody would try again", failure.err)
			}
			if conditions.GetReason(s.replica, ingotv1.ImageReplicaReadyCondition) == failure.reason {
				break
			}
		}
		if message := s.expect(metav1.ConditionFalse, failure.reason); !strings.Contains(message, "scripted") {
			s.Errorf("the message does not say what happened: %s", message)
		}
		if s.platform.HasImage(s.copy()) {
			s.Error("a failed copy was kept")
		}
		s.clock.SetTime(s.clock.Now().Add(wait))
	}
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

// backsOff: a typing error in a digest must not fetch a gigabyte every thirty seconds for a weekend.
func backsOff(s *story) {
	s.begin()
	var waits []time.Duration
	for range 6 {
		s.platform.FailCopy(s.copy(), fmt.Errorf("%w: other bytes", platform.ErrDigestMismatch))
		for range 4 {
			result := s.after(2 * time.Second)
			if conditions.GetReason(s.replica, ingotv1.ImageReplicaReadyCondition) == ingotv1.ImageReplicaDigestMismatchReason {
				waits = append(waits, result.RequeueAfter)
				s.clock.SetTime(s.clock.Now().Add(result.RequeueAfter))
				break
			}
		}
	}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute}
	if fmt.Sprint(waits) != fmt.Sprint(want) {
		s.Errorf("it was tried again after %v, want %v", waits, want)
	}
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)

	// What worked once begins anew.
	if err := s.platform.ReleaseImage(s.Context(), s.copy()); err != nil {
		s.Fatal(err)
	}
	s.platform.FailCopy(s.copy(), fmt.Errorf("%w: other bytes", platform.ErrDigestMismatch))
	s.after(time.Hour)
	if wait := s.after(2 * time.Second).RequeueAfter; wait != 30*time.Second {
		s.Errorf("the first failure after a success is tried again after %s", wait)
	}
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaDigestMismatchReason)
}

// clone makes an instance whose disk reads from the copy.
func (s *story) clone() platform.Identity {
	s.Helper()
	owner := platform.Identity{UUID: "0e5e6f3c-0000-4000-8000-000000000000", ManagementClusterID: "us", Storage: "default"}
	_, err := s.platform.Ensure(s.Context(), platform.Request{
		Identity: owner, ImageSHA256: s.copy().SHA256, CPUs: 1, MemoryBytes: 1, Firmware: platform.FirmwareUEFI,
	})
	if err != nil {
		s.Fatal(err)
	}
	return owner
}

// staysWhileInUse: root disks are clones that read from the copy as long as they live.
func staysWhileInUse(s *story) {
	s.store()
	owner := s.clone()
	s.delete(s.replica)
	result := s.settle()
	if result.RequeueAfter == 0 {
		s.Error("nobody would notice that the last disk is gone")
	}
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaInUseReason)
	if !s.platform.HasImage(s.copy()) {
		s.Fatal("the copy went under a running instance")
	}
	written := s.writes.Count()
	s.after(result.RequeueAfter)
	if s.writes.Count() != written {
		s.Error("waiting writes")
	}
	if _, err := s.platform.Release(s.Context(), platform.ReleaseRequest{Identity: owner}); err != nil {
		s.Fatal(err)
	}
	s.settle()
	s.expectGone()
}

// takesCopyAlong: what Ingot stored on a host it also takes away.
func takesCopyAlong(s *story) {
	s.store()
	s.delete(s.replica)
	s.settle()
	s.expectGone()
}

// keepsWhileUnreachable: gigabytes on a host that is back tomorrow must not be forgotten today.
func keepsWhileUnreachable(s *story) {
	s.store()
	s.platform.SetReachable(false)
	s.delete(s.replica)
	s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaEndpointUnavailableReason)
	s.platform.SetReachable(true)
	s.settle()
	s.expectGone()
}

// waitsForSession: after a start of the manager replicas are looked at before their endpoints.
func waitsForSession(s *story) {
	s.restart()
	s.begin()
	result := s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaEndpointUnavailableReason)
	s.connect()
	s.after(result.RequeueAfter)
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

// staysReadyUnseen: a manager that restarts, or a host that reboots, would otherwise write every replica twice, and hold
// up every machine that is being made meanwhile for nothing.
func staysReadyUnseen(s *story) {
	s.machine()
	s.store()
	s.restart()
	result := s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
	s.connect()
	s.platform.SetReachable(false)
	result = s.after(result.RequeueAfter)
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
	if result.RequeueAfter == 0 || s.writes.Count() != 0 {
		s.Errorf("looked at again after %s, written were %v", result.RequeueAfter, s.writes.Done())
	}
}

// writesAgain: the manager remembers what it has asked, and must not take that for what it has told.
func writesAgain(s *story) {
	s.begin()
	s.after(0) // the finalizer
	s.after(0) // the copy begins
	s.clock.SetTime(s.clock.Now().Add(2 * time.Second))
	s.writes.Before = func() {
		before := s.replica.DeepCopy()
		before.Labels = map[string]string{"touched": "meanwhile"}
		if err := apiServer.Update(s.Context(), before); err != nil {
			s.Fatal(err)
		}
	}
	if _, err := s.pass(); err == nil {
		s.Fatal("the write did not fail, so the story is about nothing")
	}
	s.after(0)
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

// survivesCrashes kills the manager at every write on the way to a copy and back.
func survivesCrashes(s *story) {
	original := s.replica.DeepCopy()
	points := 0
	for at := 1; ; at++ {
		for _, lost := range []bool{false, true} {
			original.DeepCopyInto(s.replica)
			s.begin()
			s.restart()
			s.connect()
			s.writes.KillAt, s.writes.Lost = at, lost
			first := s.writes
			s.settle()
			s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
			s.delete(s.replica)
			s.settle()
			s.expectGone()
			if !first.Killed() {
				s.Logf("%d crash points", points)
				return
			}
			points++
		}
	}
}
