// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
)

const bootTimeout = 10 * time.Minute

// Switching off a machine that works is worse than waiting for one that hangs.
func TestBoot(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a machine that hangs is switched off and on once, and then reported":      hangs,
		"one that hangs before it has an address, too":                             hangsEarly,
		"one that joins after it was switched is like any other":                   joinsAfterAll,
		"one that has joined is never switched":                                    staysOn,
		"one whose Node is there is not switched, though Cluster API has not seen": isSeenFirst,
		"one whose Node nobody can ask for is not switched":                        isNotSeen,
		"one that joins at the last moment is not switched":                        joinsInTime,
		"nobody switches what nobody has set a time for":                           hasNoTimeout,
		"after a move in the middle of it, the other half is done":                 movesSwitched,
		"one that has joined is not switched after a move, when nobody can ask":    movesJoined,
		"one that had joined before somebody set a time is not, either":            movesJoinedBefore,
		"a manager whose cache is behind a killed one's doings repeats none":       isBehind,
	})
}

// bootsSlowly brings a machine with a boot timeout to where it runs and has not joined.
func (s *story) bootsSlowly() {
	s.Helper()
	s.infra.Spec.BootTimeoutSeconds = new(int32(bootTimeout / time.Second))
	s.begin()
	s.settle()
	s.boot()
	s.settle()
}

// wait lets time pass, and then the manager do what is due.
func (s *story) wait(time time.Duration) {
	s.Helper()
	s.clock.SetTime(s.clock.Now().Add(time))
	s.settle()
}

// expectStarts checks that the one instance runs, and how often it was started.
func (s *story) expectStarts(n int) {
	s.Helper()
	if i := s.instance(); i.Starts != n || !i.Running {
		s.Errorf("the instance was started %d times, want %d, and runs: %t", i.Starts, n, i.Running)
	}
}

func hangs(s *story) {
	s.bootsSlowly()
	s.wait(bootTimeout - time.Minute)
	s.expectStarts(1)
	s.wait(time.Minute)
	s.expectStarts(2)
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
	if len(s.instance().Bootstrap) == 0 {
		s.Error("its bootstrap data has gone, and it cannot boot")
	}
	s.wait(bootTimeout - time.Minute)
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionUnknown, infrav1.NodeUnknownReason)
	s.wait(time.Minute)
	s.expectMessage(s.expect(infrav1.NodeJoinedCondition, metav1.ConditionFalse, infrav1.BootTimedOutReason), "delete the Machine")
	s.restart()
	s.wait(10 * bootTimeout)
	s.expectStarts(2)
	s.expectEvents("InstanceProvisioned", "PowerCycling", "BootTimedOut")
}

func hangsEarly(s *story) {
	s.infra.Spec.BootTimeoutSeconds = new(int32(bootTimeout / time.Second))
	s.begin()
	s.settle()
	s.wait(bootTimeout)
	s.expectStarts(2)
	s.wait(bootTimeout)
	s.wait(bootTimeout)
	s.expectStarts(2)
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.BootTimedOutReason)
	s.expectEvents("PowerCycling", "BootTimedOut")
}

func joinsAfterAll(s *story) {
	s.bootsSlowly()
	s.wait(bootTimeout)
	s.expectStarts(2)
	s.join()
	s.settle()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	s.wait(10 * bootTimeout)
	s.expectStarts(2)
	s.expectQuiet()
}

func staysOn(s *story) {
	s.bootsSlowly()
	s.join()
	s.settle()
	s.wait(10 * bootTimeout)
	s.expectRunning()
	s.expectQuiet()
}

func isSeenFirst(s *story) {
	s.bootsSlowly()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "any"}, Spec: corev1.NodeSpec{ProviderID: s.now().Spec.ProviderID}}
	s.workload = clientfake.NewClientBuilder().WithObjects(node).Build()
	s.wait(bootTimeout)
	s.expectRunning()
}

func isNotSeen(s *story) {
	s.bootsSlowly()
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.ControlPlaneInitialized = new(true) })
	s.wait(bootTimeout)
	s.expectRunning()
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionUnknown, infrav1.NodeUnknownReason)
	s.workload = clientfake.NewClientBuilder().Build()
	s.wait(time.Minute)
	s.expectStarts(2)
}

// joinsInTime: between what was written down and what is done, the manager may have been away for long.
func joinsInTime(s *story) {
	s.bootsSlowly()
	s.clock.SetTime(s.clock.Now().Add(bootTimeout))
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionFalse, infrav1.InstancePowerCyclingReason)
	s.expectRunning()
	s.restart()
	s.join()
	s.settle()
	s.expectRunning()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
}

func hasNoTimeout(s *story) {
	s.begin()
	s.settle()
	s.boot()
	s.settle()
	s.wait(1000 * time.Hour)
	s.expectRunning()
	if s.now().Annotations[infrav1.BootAnnotation] != "" {
		s.Error("it is written down how far a machine is that nobody waits for")
	}
}

func movesSwitched(s *story) {
	s.bootsSlowly()
	fired := s.platform.Inject(fake.Fault{Effect: fake.Start})
	s.clock.SetTime(s.clock.Now().Add(bootTimeout))
	for range 2 { // it is written down, and then done by halves
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
	}
	if !fired() || s.instance().Running {
		s.Fatal("it was not switched off")
	}
	s.move()
	s.wait(time.Minute)
	s.expectStarts(2)
	s.wait(bootTimeout)
	s.wait(bootTimeout)
	s.expectStarts(2)
}

// movesJoined: a move loses every status, and the workload cluster is not connected at once. What was last seen to boot a year
// ago is late by a year then, of all machines of a cluster at the same time.
func movesJoined(s *story) {
	s.bootsSlowly()
	s.join()
	s.settle()
	s.expectQuiet()
	s.move()
	s.wait(10 * bootTimeout)
	s.expectRunning()
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionUnknown, infrav1.NodeUnknownReason)
}

func movesJoinedBefore(s *story) {
	s.begin()
	s.live()
	patch(s, s.now(), func(m *infrav1.IngotMachine) { m.Spec.BootTimeoutSeconds = new(int32(bootTimeout / time.Second)) })
	s.settle()
	s.move()
	s.wait(10 * bootTimeout)
	s.wait(10 * bootTimeout)
	s.expectRunning()
}

// isBehind: a half is done already when the manager is killed, and the next one's cache does not know it yet.
func isBehind(s *story) {
	s.bootsSlowly()
	s.clock.SetTime(s.clock.Now().Add(bootTimeout))
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	old := s.now()
	if record := old.Annotations[infrav1.BootAnnotation]; !strings.Contains(record, `"SwitchingOff"`) {
		s.Fatalf("what is written down is %s", record)
	}
	s.settle()
	s.expectStarts(2)
	s.restart()
	s.reconciler.Client = interceptor.NewClient(s.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if infra, is := object.(*infrav1.IngotMachine); is {
				old.DeepCopyInto(infra)
				return nil
			}
			return c.Get(ctx, key, object, options...)
		},
	})
	version := s.now().ResourceVersion
	for range 3 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
	}
	s.expectStarts(2)
	if s.now().ResourceVersion != version {
		s.Error("what is behind is told")
	}
}

// switches is the way of a machine that is switched off and on.
func switches() journey {
	return journey{
		prepare: func(s *story) {
			s.bootsSlowly()
			s.clock.SetTime(s.clock.Now().Add(bootTimeout))
			s.restart()
		},
		travel: func(s *story) {
			for range 3 {
				s.settle()
				s.clock.SetTime(s.clock.Now().Add(time.Minute))
			}
		},
		prove: func(s *story) {
			s.expectStarts(2)
			if record := s.now().Annotations[infrav1.BootAnnotation]; !strings.Contains(record, `"Done"`) {
				s.Errorf("what is written down is %s", record)
			}
			s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
		},
		effects: []fake.Effect{fake.PowerOff, fake.Start},
	}
}
