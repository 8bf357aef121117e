// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestWhileAnInstanceIsMade(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"its bootstrap data is read once, and what passes is not told": readsOnce,
		"data that was renewed after a failure is read":                readsRenewed,
	})
}

// slow is a session with a platform that takes a while to make an instance, and tells when it is through.
type slow struct {
	session.Session

	answers *[]error // what calls are answered before the instance is made; nil means that it is under way
}

// Unwrap implements platform.Wrapper.
func (p slow) Unwrap() platform.Platform { return p.Session }

// Ensure implements platform.Platform.
func (p slow) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	if len(*p.answers) == 0 {
		return p.Session.Ensure(ctx, req)
	}
	err := (*p.answers)[0]
	*p.answers = (*p.answers)[1:]
	if err != nil {
		return platform.Observation{}, err
	}
	return platform.Observation{Existence: platform.Exists, Detail: "cloning", UntilEvent: true}, nil
}

// beginSlowly begins a story whose platform answers so before it has made the instance, and has its image replicated.
func (s *story) beginSlowly(answers ...error) {
	s.Helper()
	s.opener = func(settings session.Settings, events func(platform.Event)) (session.Session, error) {
		inner, err := s.open(settings, events)
		return slow{Session: inner, answers: &answers}, err
	}
	s.begin()
	s.settle()
}

// step runs a pass after a while.
func (s *story) step(after time.Duration) {
	s.Helper()
	s.clock.SetTime(s.clock.Now().Add(after))
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
}

// readsOnce: at a thousand machines every read and every write of each is one of thousands, and of what is over in seconds
// nobody wants to hear.
func readsOnce(s *story) {
	s.beginSlowly(nil, nil, nil, nil)
	if reason := s.reason(infrav1.InstanceReadyCondition); reason != "" {
		s.Errorf("after no time at all it is told that the instance is made: %s", reason)
	}
	s.step(25 * time.Second)
	if reason := s.reason(infrav1.InstanceReadyCondition); reason != "" {
		s.Errorf("after less than half a minute it is told that the instance is made: %s", reason)
	}
	s.step(6 * time.Second)
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceCreatingReason)
	s.step(time.Minute)
	s.step(time.Minute)
	s.expectRunning()
	if reads := s.secretReads.Load(); reads != 1 {
		s.Errorf("the Secret was read %d times", reads)
	}
}

// readsRenewed: bootstrap providers renew tokens that run out while a machine waits for room.
func readsRenewed(s *story) {
	s.beginSlowly(nil, fmt.Errorf("%w: the datastore is full", platform.ErrCapacity))
	builder.Patch(s.T, client.Client(s.client), s.data, func(d *corev1.Secret) { d.Data["value"] = []byte("renewed") })
	s.step(time.Minute)
	s.step(time.Minute)
	s.expectRunning()
	if got := string(s.instance().Bootstrap); got != "renewed" {
		s.Errorf("the instance has the bootstrap data %q", got)
	}
}
