// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var (
	apiServer client.WithWatch
	apiConfig *rest.Config
)

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithConfig(m.Run, func(config *rest.Config, c client.WithWatch) { apiConfig, apiServer = config, c }))
}

// tell runs stories in parallel.
func tell(t *testing.T, stories map[string]func(*story)) {
	t.Helper()
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(newStory(t))
		})
	}
}

// story is one replica on an endpoint of its own.
type story struct {
	*testing.T

	name     string
	platform *fake.Platform
	endpoint *ingotv1.PlatformEndpoint // not created unless a story does
	replica  *ingotv1.ImageReplica
	clock    *testclock.FakePassiveClock
	recorder *events.FakeRecorder

	// What follows is one manager; restart replaces it by one that remembers nothing.
	writes *builder.Writes
	passes *imagereplica.Reconciler
}

func newStory(t *testing.T) *story {
	t.Helper()
	name := "story-" + rand.String(8)
	s := &story{
		T: t, name: name,
		platform: fake.New(fake.Options{}),
		endpoint: builder.PlatformEndpoint(name, func(e *ingotv1.PlatformEndpoint) { e.Labels = map[string]string{clusterv1.WatchLabel: name} }),
		replica:  builder.ImageReplica(name, name, name),
		clock:    testclock.NewFakePassiveClock(time.Now().Truncate(time.Second)),
		recorder: events.NewFakeRecorder(100),
	}
	s.restart()
	s.connect()
	return s
}

// restart replaces the manager by one that remembers nothing and has no session yet.
func (s *story) restart() {
	s.writes = &builder.Writes{}
	s.passes = &imagereplica.Reconciler{
		Client:        s.writes.Through(apiServer),
		MachineReader: apiServer,
		Sessions:      session.NewRegistry(s.open),
		Recorder:      s.recorder,
		Clock:         s.clock,
	}
}

func (s *story) open(_ session.Settings, events func(platform.Event)) (session.Session, error) {
	s.platform.Listen(events)
	return opened{s.platform}, nil
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

// begin creates the replica.
func (s *story) begin() {
	s.Helper()
	s.create(s.replica)
}

// store creates the replica and takes it to a complete copy.
func (s *story) store() {
	s.Helper()
	s.begin()
	s.settle()
	s.expect(metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason)
}

func (s *story) create(object client.Object) {
	s.Helper()
	if err := apiServer.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T: %v", object, err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := apiServer.Delete(s.Context(), object); err != nil {
		s.Fatalf("deleting %T: %v", object, err)
	}
}

// machine creates an IngotMachine that needs the copy.
func (s *story) machine(change ...func(*infrav1.IngotMachine)) *infrav1.IngotMachine {
	s.Helper()
	err := apiServer.Create(s.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	if client.IgnoreAlreadyExists(err) != nil {
		s.Fatal(err)
	}
	m := &infrav1.IngotMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, GenerateName: "machine-"},
		Spec:       builder.IngotMachineSpec(s.name, s.name),
	}
	m.Spec.ProviderID = "ingot://" + uuid.NewString()
	m.Spec.PinnedImage = infrav1.PinnedImage{Name: s.name, SHA256: builder.Digest(s.name)}
	m.Spec.Placement.EndpointName = s.name
	for _, c := range change {
		c(m)
	}
	s.create(m)
	return m
}

// pass runs one pass and reads the replica.
func (s *story) pass() (ctrl.Result, error) {
	s.Helper()
	result, err := s.passes.Reconcile(s.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.replica)})
	s.exists()
	return result, err
}

// after steps the clock and runs a pass that must not fail.
func (s *story) after(d time.Duration) ctrl.Result {
	s.Helper()
	s.clock.SetTime(s.clock.Now().Add(d))
	result, err := s.pass()
	if err != nil {
		s.Fatal(err)
	}
	return result
}

// settle runs passes, two seconds apart, until two in a row change nothing. A manager that dies is followed by a fresh
// one.
func (s *story) settle() ctrl.Result {
	s.Helper()
	still := 0
	for range 20 {
		before := s.replica.ResourceVersion
		s.clock.SetTime(s.clock.Now().Add(2 * time.Second))
		result, err := s.pass()
		switch {
		case s.writes.Killed():
			s.restart()
			s.connect()
		case err != nil:
			s.Fatal(err)
		case !s.exists():
			return result
		case s.replica.ResourceVersion != before:
			still = 0
		default:
			if still++; still == 2 {
				return result
			}
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
	return s.expectCondition(ingotv1.ImageReplicaReadyCondition, status, reason)
}

func (s *story) expectUnused(status metav1.ConditionStatus, reason string) string {
	s.Helper()
	return s.expectCondition(ingotv1.ImageReplicaUnusedCondition, status, reason)
}

func (s *story) expectCondition(kind string, status metav1.ConditionStatus, reason string) string {
	s.Helper()
	c := conditions.Get(s.replica, kind)
	if c == nil || c.Status != status || c.Reason != reason {
		s.Fatalf("%s is %v, want %s/%s", kind, c, status, reason)
	}
	return c.Message
}

// expectGone checks that neither the replica nor its copy is left.
func (s *story) expectGone() {
	s.Helper()
	if s.exists() {
		s.Errorf("the replica stays: %v", s.replica.Status.Conditions)
	}
	if s.platform.HasImage(s.copy()) {
		s.Error("the copy stays")
	}
}

// expectEvents checks that the events since the last call are of these reasons, in this order.
func (s *story) expectEvents(reasons ...string) {
	s.Helper()
	var all []string
	for more := true; more; {
		select {
		case e := <-s.recorder.Events:
			all = append(all, e)
		default:
			more = false
		}
	}
	if !slices.EqualFunc(all, reasons, func(event, reason string) bool { return strings.Contains(event, " "+reason+" ") }) {
		s.Errorf("the events are %q, want %v", all, reasons)
	}
}

// calls returns how often the platform was asked about the copy since the last call.
func (s *story) calls() int {
	n := len(s.platform.Calls())
	s.platform.ForgetCalls()
	return n
}

func (s *story) copy() platform.ImageIdentity {
	return platform.ImageIdentity{SHA256: s.replica.Spec.Artefact.SHA256, Storage: s.replica.Spec.Storage}
}
