// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var apiServer client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithAPIServer(m.Run, func(c client.WithWatch) { apiServer = c }))
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"a copy tells how far it is, and rests when it is complete": copies,
		"a copy that failed is tried again":                         triesAgain,
		"a copy that is in use stays":                               staysWhileInUse,
		"a deleted replica takes its copy with it":                  takesCopyAlong,
		"an endpoint that does not answer keeps the replica":        keepsWhileUnreachable,
		"an endpoint without a session is no error":                 waitsForSession,
		"a manager that is killed at any write leaves one copy":     survivesCrashes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newStory(t))
		})
	}
}

// story is one replica on an endpoint of its own.
type story struct {
	*testing.T

	platform *fake.Platform
	replica  *ingotv1.ImageReplica
	writes   *builder.Writes
	passes   *imagereplica.Reconciler
}

func newStory(t *testing.T) *story {
	t.Helper()
	name := "story-" + rand.String(8)
	s := &story{T: t, platform: fake.New(fake.Options{}), replica: builder.ImageReplica(name, name, name)}
	s.restart()
	s.connect()
	return s
}

// restart replaces the manager by one that remembers nothing and has no session yet.
func (s *story) restart() {
	s.writes = &builder.Writes{}
	sessions := session.NewRegistry(func(session.Settings, func(platform.Event)) (session.Session, error) {
		return opened{s.platform}, nil
	})
	s.passes = &imagereplica.Reconciler{Client: s.writes.Through(apiServer), Sessions: sessions}
}

func (s *story) connect() {
	s.Helper()
	if _, err := s.passes.Sessions.Apply(builder.PlatformEndpoint(s.replica.Spec.EndpointName), nil); err != nil {
		s.Fatal(err)
	}
}

// opened is a session with the fake.
type opened struct{ *fake.Platform }

// Check implements session.Session.
func (opened) Check(context.Context) (string, error) { return "fake 1", nil }

// Close implements session.Session.
func (opened) Close() {}

func (s *story) begin() {
	s.Helper()
	if err := apiServer.Create(s.Context(), s.replica); err != nil {
		s.Fatal(err)
	}
}

func (s *story) delete() {
	s.Helper()
	if err := apiServer.Delete(s.Context(), s.replica); err != nil {
		s.Fatal(err)
	}
}

// pass runs one pass and reads the replica.
func (s *story) pass() (ctrl.Result, error) {
	s.Helper()
	result, err := s.passes.Reconcile(s.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.replica)})
	s.exists()
	return result, err
}

// settle runs passes until one changes nothing. A manager that dies is followed by a fresh one.
func (s *story) settle() ctrl.Result {
	s.Helper()
	for range 20 {
		before := s.replica.ResourceVersion
		result, err := s.pass()
		switch {
		case s.writes.Killed():
			s.restart()
			s.connect()
		case err != nil:
			s.Fatal(err)
		case !s.exists() || s.replica.ResourceVersion == before:
			return result
		}
	}
	s.Fatalf("it does not settle: %v", s.replica.Status.Conditions)
	return ctrl.Result{}
}

func (s *story) exists() bool {
	s.Helper()
	err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(s.replica), s.replica)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
}

func (s *story) expect(status metav1.ConditionStatus, reason string) string {
	s.Helper()
	ready := conditions.Get(s.replica, ingotv1.ImageReplicaReadyCondition)
	if ready == nil || ready.Status != status || ready.Reason != reason {
		s.Fatalf("Ready is %v, want %s/%s", ready, status, reason)
	}
	return ready.Message
}

func (s *story) copy() platform.ImageIdentity {
	return platform.ImageIdentity{SHA256: s.replica.Spec.Artefact.SHA256, Storage: s.replica.Spec.Storage}
}

// copies: progress is for the person who waits. A complete copy is not looked at again without an event.
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
	result = s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
	if *s.replica.Status.Percent != 100 || s.replica.Status.ExternalID == "" || result.RequeueAfter != 0 {
		s.Errorf("a complete copy: %+v, looked at again after %s", s.replica.Status, result.RequeueAfter)
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
		for range 5 {
			result, err := s.pass()
			if err != nil {
				s.Fatal(err)
			}
			if result.RequeueAfter == 0 && len(s.replica.Status.Conditions) > 0 {
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
	}
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

// staysWhileInUse: root disks are clones that read from the copy as long as they live.
func staysWhileInUse(s *story) {
	s.begin()
	s.settle()
	owner := platform.Identity{UUID: "0e5e6f3c-0000-4000-8000-000000000000", ManagementClusterID: "us", Storage: "default"}
	_, err := s.platform.Ensure(s.Context(), platform.Request{
		Identity: owner, ImageSHA256: s.copy().SHA256, CPUs: 1, MemoryBytes: 1, Firmware: platform.FirmwareUEFI,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.delete()
	if result := s.settle(); result.RequeueAfter == 0 {
		s.Error("nobody would notice that the last disk is gone")
	}
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaInUseReason)
	if !s.platform.HasImage(s.copy()) {
		s.Fatal("the copy went under a running instance")
	}
	if _, err := s.platform.Release(s.Context(), platform.ReleaseRequest{Identity: owner}); err != nil {
		s.Fatal(err)
	}
	s.settle()
	s.expectGone()
}

// takesCopyAlong: what Ingot stored on a host it also takes away.
func takesCopyAlong(s *story) {
	s.begin()
	s.settle()
	s.delete()
	s.settle()
	s.expectGone()
}

func (s *story) expectGone() {
	s.Helper()
	if s.exists() {
		s.Errorf("the replica stays: %v", s.replica.Status.Conditions)
	}
	if s.platform.HasImage(s.copy()) {
		s.Error("the copy stays")
	}
}

// keepsWhileUnreachable: gigabytes on a host that is back tomorrow must not be forgotten today.
func keepsWhileUnreachable(s *story) {
	s.begin()
	s.settle()
	s.platform.SetReachable(false)
	s.delete()
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
	s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaEndpointUnavailableReason)
	s.connect()
	s.settle()
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
			s.delete()
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
