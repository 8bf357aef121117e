// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestCollection(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a copy that a machine needs is needed":                                  isNeeded,
		"a copy is collected a day after its last machine":                       collects,
		"the endpoint says how long a copy is kept":                              keepsAsLongAsTold,
		"an endpoint that keeps nothing keeps nothing":                           keepsNothing,
		"a machine in time keeps the copy":                                       neededAgain,
		"a machine that is being deleted still needs its copy":                   stillNeeded,
		"machines elsewhere do not keep a copy":                                  elsewhere,
		"a manager that restarts goes on counting":                               goesOnCounting,
		"a cache that lags collects nothing":                                     asksTheServer,
		"a machine that appears at the last moment keeps the copy":               savedAtLast,
		"what another manager has written since is not overruled":                otherManager,
		"disks that depend on a collected copy keep it, and the replica with it": disksKeepIt,
		"a replica on another manager's endpoint is left alone":                  othersEndpoint,
		"a manager that dies at any write collects once":                         diesCollecting,
	})
}

func isNeeded(s *story) {
	s.machine()
	s.store()
	s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
	s.after(1000 * time.Hour)
	if !s.exists() || !s.replica.DeletionTimestamp.IsZero() {
		s.Error("it was collected")
	}
}

func collects(s *story) {
	s.store()
	message := s.expectUnused(metav1.ConditionTrue, ingotv1.ImageReplicaNotNeededReason)
	if !strings.Contains(message, "1440 minutes") {
		s.Errorf("the message %q does not say when it goes", message)
	}
	since := conditions.GetLastTransitionTime(s.replica, ingotv1.ImageReplicaUnusedCondition).Time
	s.clock.SetTime(since.Add(24*time.Hour - time.Second))
	result := s.after(0)
	if !s.exists() || !s.replica.DeletionTimestamp.IsZero() {
		s.Fatal("it was collected a second too early")
	}
	if result.RequeueAfter != time.Second {
		s.Errorf("with a second to go it is looked at again after %s", result.RequeueAfter)
	}
	s.expectEvents()
	s.after(time.Second)
	s.expectEvents("ReplicaCollected")
	s.settle()
	s.expectGone()
	s.expectEvents()
}

func keeps(minutes int32) func(*ingotv1.PlatformEndpoint) {
	return func(e *ingotv1.PlatformEndpoint) { e.Spec.Replicas.KeepUnusedMinutes = &minutes }
}

// keepsAsLongAsTold: also when it is told after the last machine went.
func keepsAsLongAsTold(s *story) {
	keeps(60)(s.endpoint)
	s.create(s.endpoint)
	s.store()
	s.after(50 * time.Minute)
	keeps(120)(s.endpoint)
	if err := apiServer.Update(s.Context(), s.endpoint); err != nil {
		s.Fatal(err)
	}
	s.after(50 * time.Minute)
	if message := s.expectUnused(metav1.ConditionTrue, ingotv1.ImageReplicaNotNeededReason); !strings.Contains(message, "120 minutes") {
		s.Errorf("the message is %q", message)
	}
	s.after(20 * time.Minute)
	s.settle()
	s.expectGone()
}

func keepsNothing(s *story) {
	keeps(0)(s.endpoint)
	s.create(s.endpoint)
	machine := s.machine()
	s.store()
	s.delete(machine)
	s.settle()
	s.expectGone()
	s.expectEvents("ReplicaCollected")
}

// neededAgain: the day counts from the last machine, not from the first pause.
func neededAgain(s *story) {
	s.store()
	s.after(23 * time.Hour)
	machine := s.machine()
	s.after(time.Minute)
	s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
	s.after(2 * time.Hour)
	s.delete(machine)
	s.after(time.Minute)
	s.expectUnused(metav1.ConditionTrue, ingotv1.ImageReplicaNotNeededReason)
	s.after(23 * time.Hour)
	if !s.exists() || !s.replica.DeletionTimestamp.IsZero() {
		s.Fatal("the time before the machine was counted")
	}
	s.after(time.Hour)
	s.settle()
	s.expectGone()
}

func stillNeeded(s *story) {
	s.delete(s.machine(func(m *infrav1.IngotMachine) { m.Finalizers = []string{infrav1.IngotMachineFinalizer} }))
	s.store()
	s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
}

func elsewhere(s *story) {
	for _, change := range []func(*infrav1.IngotMachine){
		func(m *infrav1.IngotMachine) {
			m.Spec.Placement.EndpointName, m.Spec.Platform.Libvirt.EndpointName = "another", "another"
		},
		func(m *infrav1.IngotMachine) { m.Spec.Platform.Libvirt.StoragePool = "another" },
		func(m *infrav1.IngotMachine) { m.Spec.PinnedImage.SHA256 = builder.Digest("another") },
		func(m *infrav1.IngotMachine) { m.Spec.PinnedImage = infrav1.PinnedImage{} },
	} {
		s.machine(change)
	}
	s.store()
	s.expectUnused(metav1.ConditionTrue, ingotv1.ImageReplicaNotNeededReason)
}

func goesOnCounting(s *story) {
	s.store()
	for range 3 {
		s.after(7 * time.Hour)
		s.restart()
		s.connect()
	}
	s.after(3 * time.Hour)
	s.settle()
	s.expectGone()
}

// withoutMachines is a client whose cache has no machine yet.
func withoutMachines(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, machines := list.(*infrav1.IngotMachineList); machines {
				return nil
			}
			return c.List(ctx, list, opts...)
		},
	})
}

// asksTheServer: the replica of a new machine reaches the reconciler before the machine may have reached the cache.
func asksTheServer(s *story) {
	keeps(0)(s.endpoint)
	s.create(s.endpoint)
	s.machine()
	s.passes.Client = withoutMachines(apiServer)
	s.store()
	s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
	s.expectEvents()
}

func savedAtLast(s *story) {
	s.store()
	s.machine()
	s.passes.Client = withoutMachines(s.writes.Through(apiServer))
	s.after(1000 * time.Hour)
	if !s.exists() || !s.replica.DeletionTimestamp.IsZero() {
		s.Error("it was collected under a machine")
	}
	s.expectEvents()
}

// otherManager: for a moment there may be two, and the other one has seen a machine that this one has not.
func otherManager(s *story) {
	s.store()
	s.writes.Before = func() {
		machine := s.machine()
		slow := s.passes
		s.restart()
		s.connect()
		s.after(0)
		s.expectUnused(metav1.ConditionFalse, ingotv1.ImageReplicaNeededReason)
		s.passes = slow
		s.delete(machine) // whatever there is now, it is not for the slow one to say
	}
	s.clock.SetTime(s.clock.Now().Add(1000 * time.Hour))
	if _, err := s.pass(); !apierrors.IsConflict(err) {
		s.Errorf("the slower manager is not told that it was too slow: %v", err)
	}
	if !s.exists() || !s.replica.DeletionTimestamp.IsZero() {
		s.Error("it was collected all the same")
	}
	s.expectEvents()
}

// disksKeepIt: orphans have no IngotMachine, and their disks read from the copy all the same.
func disksKeepIt(s *story) {
	keeps(0)(s.endpoint)
	s.create(s.endpoint)
	machine := s.machine()
	s.store()
	s.clone()
	s.delete(machine)
	s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaInUseReason)
	if !s.platform.HasImage(s.copy()) {
		s.Error("the copy went under a disk")
	}
	// A machine that wants the copy again cannot take the deletion back; it goes through, and another replica is made.
	s.machine()
	s.settle()
	s.expect(metav1.ConditionFalse, ingotv1.ImageReplicaInUseReason)
}

// othersEndpoint: replicas have no labels of their own.
func othersEndpoint(s *story) {
	s.endpoint.Labels = map[string]string{clusterv1.WatchLabel: "theirs"}
	s.create(s.endpoint)
	s.begin()
	s.passes.WatchFilterValue = "ours"
	s.settle()
	if len(s.writes.Done()) != 0 || len(s.replica.Finalizers) != 0 {
		s.Errorf("it was written: %v", s.writes.Done())
	}
	s.passes.WatchFilterValue = "theirs"
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

// diesCollecting kills the manager at every write between the last machine and the end of the copy.
func diesCollecting(s *story) {
	original := s.replica.DeepCopy()
	for at := 1; ; at++ {
		for _, lost := range []bool{false, true} {
			original.DeepCopyInto(s.replica)
			machine := s.machine()
			s.restart()
			s.connect()
			s.store()
			s.delete(machine)
			s.writes = &builder.Writes{KillAt: at, Lost: lost}
			s.passes.Client = s.writes.Through(apiServer)
			first := s.writes
			begin := s.clock.Now()
			for s.exists() && s.clock.Now().Sub(begin) < 48*time.Hour {
				s.settle()
				if s.exists() {
					s.clock.SetTime(s.clock.Now().Add(6 * time.Hour))
				}
			}
			s.expectGone()
			if took := s.clock.Now().Sub(begin); took < 24*time.Hour {
				s.Errorf("killed at write %d (answer lost: %t) it was collected after %s", at, lost, took)
			}
			if !first.Killed() {
				s.Logf("%d crash points", at-1)
				return
			}
		}
	}
}
