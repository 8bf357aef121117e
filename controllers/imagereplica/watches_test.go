// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// These stories have a manager that runs: what they are about is who wakes it, which a test that calls Reconcile itself
// would do in its place. Their clock stands still, so that no timer does.
func TestWhoWakesAReplica(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a machine that comes or goes":         wakesByMachine,
		"an endpoint whose policy changes":     wakesByPolicy,
		"a copy that ends, and a session back": wakesByPlatform,
		"a copy that failed, but not at once":  doesNotSpin,
	})
}

// running starts a manager that reconciles the story's replica, and no other one: the stories share an API server.
func (s *story) running() {
	s.Helper()
	s.create(s.endpoint)
	s.run(s.clock)
}

// run starts a manager with the story's sessions, and returns what ends it.
func (s *story) run(at clock.PassiveClock) (stop func()) {
	s.Helper()
	mgr, err := ctrl.NewManager(apiConfig, ctrl.Options{
		Scheme:     apiServer.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Logger:     logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.passes = &imagereplica.Reconciler{
		Client: mgr.GetClient(), MachineReader: mgr.GetAPIReader(), Sessions: s.passes.Sessions,
		Recorder: s.recorder, Clock: at, WatchFilterValue: s.name,
	}
	if err := s.passes.SetupWithManager(s.Context(), mgr); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended: %v", err)
		}
	})
	s.Cleanup(stop)
	return stop
}

// eventually waits until something is so.
func (s *story) eventually(what string, is func() bool) {
	s.Helper()
	const patience = 2 * time.Minute
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		if is() {
			s.Logf("%s after %s", what, time.Since(begin).Round(time.Millisecond))
			return
		}
	}
	s.Fatalf("waited %s in vain until %s; conditions: %v", patience, what, s.replica.Status.Conditions)
}

// is reads the replica and returns whether a condition has a reason.
func (s *story) is(condition, reason string) func() bool {
	return func() bool {
		s.exists()
		return conditions.GetReason(s.replica, condition) == reason
	}
}

func wakesByMachine(s *story) {
	s.platform.PutImage(s.copy())
	s.running()
	s.begin()
	s.eventually("the replica is ready", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaReadyReason))
	s.eventually("nobody needs it", s.is(ingotv1.ImageReplicaUnusedCondition, ingotv1.ImageReplicaNotNeededReason))
	machine := s.machine()
	s.eventually("a machine needs it", s.is(ingotv1.ImageReplicaUnusedCondition, ingotv1.ImageReplicaNeededReason))
	s.delete(machine)
	s.eventually("nobody needs it any more", s.is(ingotv1.ImageReplicaUnusedCondition, ingotv1.ImageReplicaNotNeededReason))
}

func wakesByPolicy(s *story) {
	s.platform.PutImage(s.copy())
	s.running()
	s.begin()
	s.eventually("nobody needs it", s.is(ingotv1.ImageReplicaUnusedCondition, ingotv1.ImageReplicaNotNeededReason))
	keeps(0)(s.endpoint)
	if err := apiServer.Update(s.Context(), s.endpoint); err != nil {
		s.Fatal(err)
	}
	s.eventually("the replica is gone", func() bool { return !s.exists() })
}

func wakesByPlatform(s *story) {
	s.machine()
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/2)
	s.running()
	s.begin()
	s.eventually("the copy is under way", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaCopyingReason))
	s.platform.LetCopy(s.copy())
	s.eventually("the copy is complete", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaReadyReason))

	// The host comes back without the copy: a disk was replaced meanwhile. All of that is while nobody can look, as passes for
	// the end of the first copy are still under way and would make another.
	s.platform.SetReachable(false)
	s.platform.LoseImage(s.copy())
	s.platform.HoldCopy(s.copy(), 1)
	s.platform.SetReachable(true)
	s.eventually("the copy is made again", func() bool {
		s.exists()
		ready := conditions.Get(s.replica, ingotv1.ImageReplicaReadyCondition)
		return ready.Status == metav1.ConditionFalse && ready.Reason == ingotv1.ImageReplicaCopyingReason
	})
}

// doesNotSpin: the platform tells of the end of a failed copy too, and whoever runs at each event asks for ever.
func doesNotSpin(s *story) {
	s.machine()
	s.platform.HoldCopy(s.copy(), builder.ArtefactBytes/2)
	s.running()
	s.begin()
	s.eventually("the copy is under way", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaCopyingReason))
	s.platform.FailCopy(s.copy(), fmt.Errorf("%w: not found", platform.ErrSource))
	s.platform.LetCopy(s.copy())
	s.eventually("the failure is told", s.is(ingotv1.ImageReplicaReadyCondition, ingotv1.ImageReplicaSourceFailedReason))
	s.platform.ForgetCalls()
	time.Sleep(2 * time.Second)
	if calls := s.calls(); calls > 0 {
		s.Errorf("the platform was asked %d times although no time passed", calls)
	}
}
