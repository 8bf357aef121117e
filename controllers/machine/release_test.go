// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

func TestRelease(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"absence is proved twice":                                         provesAbsenceTwice,
		"of the steps of a removal that is quick one is told":             tellsOneStep,
		"absence that was seen before a blackout is proved anew":          provesAbsenceAnew,
		"an endpoint that does not answer keeps the machine":              keepsWhileUnreachable,
		"an endpoint object that was deleted keeps the machine":           keepsWithoutEndpoint,
		"a machine that never pinned an image asks nobody":                neverPinned,
		"what is half made is removed":                                    removesHalfMade,
		"a machine whose Cluster and Machine are gone already still goes": outlivesOwners,
		"losing the right to an endpoint is no reason to leave things":    losesPermission,
	})
}

// provesAbsenceTwice: an API that lags behind itself may say once that something is gone. The second look is another
// session's, or at least another call.
func provesAbsenceTwice(s *story) {
	s.begin()
	s.live()
	s.delete(s.now())
	s.platform.ForgetCalls()
	looks := 0
	for early := range 3 { // an event that wakes us early is no second look, and asks nobody
		if result, err := s.pass(); err != nil || result.RequeueAfter == 0 || result.RequeueAfter > proving {
			s.Fatalf("%v, %v", result, err)
		}
		if _, exists := s.look(); !exists {
			s.Fatal("the machine went before absence was proved")
		}
		if early == 0 {
			looks = len(s.platform.Calls())
		} else if n := len(s.platform.Calls()); n != looks {
			s.Errorf("a pass between the two looks makes %d calls", n-looks)
		}
	}
	s.clock.SetTime(s.clock.Now().Add(proving))
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	s.expectGone()
	if calls := s.platform.Calls(); looks == 0 || len(calls) != looks+1 {
		s.Errorf("absence was seen by %v, want one call after the first %d", calls, looks)
	}
	if !s.platform.HasImage(s.copy()) {
		s.Error("the image went with the machine; others may be cloned from it")
	}
}

// leaving is a session with a platform that removes an instance in steps, and tells when each is through.
type leaving struct {
	session.Session

	steps *[]string // what is still to be told before the instance is gone
}

// Unwrap implements platform.Wrapper.
func (p leaving) Unwrap() platform.Platform { return p.Session }

// Release implements platform.Platform.
func (p leaving) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	if len(*p.steps) == 0 {
		return p.Session.Release(ctx, req)
	}
	step := (*p.steps)[0]
	*p.steps = (*p.steps)[1:]
	return platform.Observation{Existence: platform.Exists, Detail: step, UntilEvent: true}, nil
}

// tellsOneStep: a thousand machines that go pay every write a thousand times. That it goes is told at once; what takes long is
// told too.
func tellsOneStep(s *story) {
	steps := []string{"being switched off", "being destroyed", "still being destroyed"}
	s.opener = func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		inner, err := s.open(settings, events)
		return leaving{Session: inner, steps: &steps}, err
	}
	s.begin()
	s.live()
	s.delete(s.now())
	s.clock.SetTime(s.now().DeletionTimestamp.Time)
	told := func(want string) {
		s.Helper()
		s.expectMessage(s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.ReleasingReason), want)
	}
	s.step(0)
	told("being switched off")
	wrote := s.writes.Count()
	s.step(time.Second)
	if s.writes.Count() != wrote {
		s.Errorf("the next step is told after a second: %v", s.writes.Done()[wrote:])
	}
	s.step(30 * time.Second)
	told("still being destroyed")
	s.settle()
	s.expectGone()
}

// provesAbsenceAnew: the two looks must follow each other, or the first may be about another time.
func provesAbsenceAnew(s *story) {
	s.begin()
	s.live()
	s.delete(s.now())
	_, _ = s.pass()
	restore := s.sever()
	s.clock.SetTime(s.clock.Now().Add(proving))
	_, _ = s.pass()
	s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.EndpointUnavailableReason)
	restore()
	if result, _ := s.pass(); result.RequeueAfter == 0 {
		s.Error("the first look after the blackout was taken for a second one")
	}
	s.settle()
	s.expectGone()
}

// keepsWhileUnreachable: a finalizer that goes while nobody can see leaves an instance that nobody remembers.
func keepsWhileUnreachable(s *story) {
	s.begin()
	s.live()
	restore := s.sever()
	s.delete(s.now())
	s.restart() // a manager that never saw the endpoint knows no more
	result := s.settle()
	s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.EndpointUnavailableReason)
	if result.RequeueAfter == 0 {
		s.Error("nothing would look again if the event of the connection were lost")
	}
	restore()
	s.expectRunning()
	s.settle()
	s.expectGone()
}

// keepsWithoutEndpoint: deleting the object that says where the host is must not orphan what runs there.
func keepsWithoutEndpoint(s *story) {
	s.begin()
	s.live()
	s.refresh(s.endpoint)
	patch(s, s.endpoint, func(e *ingotv1.PlatformEndpoint) { e.Finalizers = nil }) // somebody is sure to know better
	s.delete(s.endpoint)
	s.delete(s.now())
	s.restart()
	s.settle()
	s.expectMessage(s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.EndpointNotFoundReason), "create it again")
	s.expectRunning()
	s.endpoint.SetUID("")
	s.endpoint.SetResourceVersion("")
	s.create(s.endpoint)
	s.connect()
	s.settle()
	s.expectGone()
}

// neverPinned: the image is pinned before the first call, so there is nothing to ask for, and a host that is down for
// good does not hold up what never used it.
func neverPinned(s *story) {
	s.image = nil
	s.begin()
	s.settle()
	s.sever()
	s.delete(s.now())
	s.settle()
	s.expectGone()
	s.expectCalls()
}

// removesHalfMade: a creation that failed in the middle leaves volumes without an instance.
func removesHalfMade(s *story) {
	s.platform.Inject(fake.Fault{Effect: fake.Define})
	s.begin()
	for len(s.platform.Instances()) == 0 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
		s.replicate()
	}
	if s.instance().Starts != 0 {
		s.Fatal("it is not half made")
	}
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

// outlivesOwners: whoever force-deletes a Cluster must still get rid of its instances.
func outlivesOwners(s *story) {
	s.begin()
	s.live()
	s.delete(s.machineNow())
	s.delete(s.cluster)
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

// losesPermission: the list of namespaces says who may place machines, not whose may be taken away.
func losesPermission(s *story) {
	s.begin()
	s.live()
	s.refresh(s.endpoint)
	patch(s, s.endpoint, func(e *ingotv1.PlatformEndpoint) { e.Spec.AllowedNamespaces.Names = []string{"somebody-else"} })
	s.expectQuiet()
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

func (s *story) expectGone() {
	s.Helper()
	if infra, exists := s.look(); exists {
		s.Errorf("the IngotMachine is still there: %v", infra.Status.Conditions)
	}
	if left := s.platform.Instances(); len(left) != 0 {
		s.Errorf("something is left on the platform: %v", left)
	}
}
