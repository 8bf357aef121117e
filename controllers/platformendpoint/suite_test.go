// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"fmt"
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
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
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

// story is one endpoint, the host behind it, and the managers that reconcile it.
type story struct {
	*testing.T

	name     string
	endpoint *ingotv1.PlatformEndpoint
	clock    *testclock.FakePassiveClock
	host     *host
	recorder *events.FakeRecorder
	reports  []int
}

// newStory creates the endpoint of a story; what a story changes before is made by prepare.
func newStory(t *testing.T) *story {
	t.Helper()
	name := "story-" + rand.String(8)
	s := &story{
		T: t, name: name,
		clock:    testclock.NewFakePassiveClock(time.Now()),
		endpoint: builder.PlatformEndpoint(name),
		recorder: events.NewFakeRecorder(1000),
	}
	s.host = &host{Platform: fake.New(fake.Options{}), story: s}
	return s
}

// begin creates the endpoint, changed.
func (s *story) begin(change ...func(*ingotv1.PlatformEndpoint)) {
	s.Helper()
	for _, c := range change {
		c(s.endpoint)
	}
	s.create(s.endpoint)
}

// manager returns the reconciler of one manager that remembers nothing and sees everything.
func (s *story) manager(change ...func(*platformendpoint.Reconciler)) *platformendpoint.Reconciler {
	r := &platformendpoint.Reconciler{
		Client:          apiServer,
		Sessions:        session.NewRegistry(s.host.openSession),
		SecretReader:    apiServer,
		MachineReader:   apiServer,
		SeesAllMachines: true,
		Recorder:        s.recorder,
		Clock:           s.clock,
		Report: func(endpoint string, orphans int) {
			if endpoint != s.name {
				s.Errorf("orphans of %s are reported", endpoint)
			}
			s.reports = append(s.reports, orphans)
		},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

// through has a manager write through something that counts.
func through(writes *builder.Writes) func(*platformendpoint.Reconciler) {
	return func(r *platformendpoint.Reconciler) { r.Client = writes.Through(apiServer) }
}

func (s *story) reconcile(r *platformendpoint.Reconciler) (ctrl.Result, error) {
	s.Helper()
	result, err := r.Reconcile(s.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: s.name}})
	s.exists()
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

// after steps the clock and runs a pass.
func (s *story) after(d time.Duration, r *platformendpoint.Reconciler) ctrl.Result {
	s.Helper()
	s.clock.SetTime(s.clock.Now().Add(d))
	return s.pass(r)
}

// exists reads the endpoint.
func (s *story) exists() bool {
	s.Helper()
	err := apiServer.Get(s.Context(), client.ObjectKey{Name: s.name}, s.endpoint)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
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

// change changes the endpoint as a user does.
func (s *story) change(change func(*ingotv1.PlatformEndpoint)) {
	s.Helper()
	before := s.endpoint.DeepCopy()
	change(s.endpoint)
	if err := apiServer.Patch(s.Context(), s.endpoint, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// namespace makes the namespace of a story.
func (s *story) namespace() string {
	s.Helper()
	err := apiServer.Create(s.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	if client.IgnoreAlreadyExists(err) != nil {
		s.Fatal(err)
	}
	return s.name
}

// machine creates an IngotMachine that was placed on the endpoint.
func (s *story) machine(id string, change ...func(*infrav1.IngotMachine)) *infrav1.IngotMachine {
	s.Helper()
	m := &infrav1.IngotMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace(), GenerateName: "machine-"},
		Spec:       builder.IngotMachineSpec(s.name, s.name),
	}
	m.Spec.ProviderID = "ingot://" + id
	m.Spec.PinnedImage = infrav1.PinnedImage{Name: s.name, SHA256: builder.Digest(s.name)}
	m.Spec.Placement.EndpointName = s.name
	for _, c := range change {
		c(m)
	}
	s.create(m)
	return m
}

func (s *story) expect(status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	s.expectCondition(ingotv1.PlatformEndpointReadyCondition, status, reason, says)
}

func (s *story) expectOrphans(status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	s.expectCondition(ingotv1.PlatformEndpointNoOrphansCondition, status, reason, says)
}

func (s *story) expectCondition(kind string, status metav1.ConditionStatus, reason, says string) {
	s.Helper()
	c := conditions.Get(s.endpoint, kind)
	if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, says) {
		s.Errorf("%s is %v, want %s/%s that says %q", kind, c, status, reason, says)
	}
}

// events returns the events since the last call.
func (s *story) events() []string {
	var all []string
	for {
		select {
		case e := <-s.recorder.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// expectEvents checks that the events since the last call are of these reasons, in this order.
func (s *story) expectEvents(reasons ...string) {
	s.Helper()
	all := s.events()
	if !slices.EqualFunc(all, reasons, func(event, reason string) bool { return strings.Contains(event, " "+reason+" ") }) {
		s.Errorf("the events are %q, want %v", all, reasons)
	}
}

// instance makes a running instance of the endpoint's management cluster, and returns its uuid.
func (s *story) instance(name string) string {
	s.Helper()
	id := uuid.NewString()
	image := platform.ImageIdentity{SHA256: builder.Digest(s.name), Storage: "default"}
	s.host.PutImage(image)
	_, err := s.host.Ensure(s.Context(), platform.Request{
		Identity: platform.Identity{UUID: id, ManagementClusterID: s.endpoint.Spec.ManagementClusterID, Storage: "default"},
		Name:     name, ImageSHA256: image.SHA256, CPUs: 1, MemoryBytes: 1, Firmware: platform.FirmwareUEFI,
	})
	if err != nil {
		s.Fatal(err)
	}
	return id
}

// inhabit makes instances that have machines, so that a few orphans are few.
func (s *story) inhabit(n int) {
	s.Helper()
	for i := range n {
		s.machine(s.instance(fmt.Sprintf("demo-%d", i)))
	}
}

func (s *story) runs(id string) bool {
	i, there := s.host.Instance(id)
	return there && i.Running
}
