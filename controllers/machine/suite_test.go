// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/machine"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// apiServer is the API server of this test binary. Every story has a namespace, an image and an endpoint of its own.
var apiServer client.WithWatch

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithAPIServer(m.Run, func(c client.WithWatch) { apiServer = c }))
}

const machineName = "demo-1"

// proving is the longest pause between two looks that prove an absence; nothing else waits for less.
const proving = 2 * time.Second

// story is one Machine and the world around it. The objects are those that begin creates; a story changes them before,
// and sets to nil what is not to exist.
type story struct {
	*testing.T

	client    client.WithWatch
	namespace string
	clock     *testclock.FakePassiveClock

	image    *ingotv1.NodeImage
	endpoint *ingotv1.PlatformEndpoint
	cluster  *clusterv1.Cluster
	machine  *clusterv1.Machine
	infra    *infrav1.IngotMachine
	data     *corev1.Secret

	// platform is the endpoint, reachable unless cut.
	platform *fake.Platform
	cut      atomic.Bool
	// opener opens sessions with something else than platform; nil opens them with it.
	opener session.Opener
	// workload is the workload cluster; nil while it does not answer.
	workload client.Client
	recorder *events.FakeRecorder
	// secretReads is how often a Secret was read.
	secretReads atomic.Int32
	// families are those that the manager knows.
	families map[ingotv1.OSFamily]osfamily.Family

	// What follows is one manager; restart replaces it by one that remembers nothing.
	writes     *builder.Writes
	sessions   *session.Registry
	reconciler *machine.Reconciler
	deaths     int
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

func newStory(t *testing.T) *story {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	if err := apiServer.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	name := namespace.Name // cluster-scoped objects are called like the namespace
	builder.ForgetWhenDone(t, apiServer, name)
	s := &story{
		T: t, client: apiServer, namespace: name,
		clock:    testclock.NewFakePassiveClock(time.Now()),
		image:    builder.NodeImage(name),
		endpoint: builder.PlatformEndpoint(name),
		cluster:  builder.Cluster(),
		machine:  builder.Machine(machineName),
		data:     builder.BootstrapData(machineName),
		recorder: events.NewFakeRecorder(1000),
		families: map[ingotv1.OSFamily]osfamily.Family{ingotv1.OSFamilyGeneric: generic.New()},
	}
	s.platform = fake.New(fake.Options{Clock: s.clock})
	s.infra = builder.IngotMachine(s.machine, name, name)
	return s
}

// begin creates what users and Cluster API create.
func (s *story) begin() {
	s.Helper()
	if s.image != nil {
		s.create(s.image)
	}
	if s.endpoint != nil {
		s.create(s.endpoint)
	}
	s.create(s.cluster)
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
	if s.data != nil {
		s.create(s.data)
	}
	s.create(s.machine)
	s.infra.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s.machine, clusterv1.GroupVersion.WithKind("Machine"))}
	s.create(s.infra)
	s.restart()
}

// restart replaces the manager by one that remembers nothing.
func (s *story) restart() {
	s.Helper()
	s.writes = &builder.Writes{}
	open := s.open
	if s.opener != nil {
		open = s.opener
	}
	s.sessions = session.NewRegistry(open).WithClock(s.clock)
	s.reconciler = &machine.Reconciler{
		Client:        s.writes.Through(s.client),
		SecretReader:  builder.CountReads(s.client, &s.secretReads),
		MachineReader: s.client,
		Sessions:      s.sessions,
		Workload:      s,
		Families:      s.families,
		Recorder:      s.recorder,
		Clock:         s.clock,
	}
	s.connect()
}

// connect has the endpoint's own reconciler choose its id and open the session.
func (s *story) connect() {
	s.Helper()
	s.connectTo(s.namespace)
}

func (s *story) connectTo(endpoint string) {
	s.Helper()
	reconciler := &platformendpoint.Reconciler{Client: s.client, SecretReader: s.client, Sessions: s.sessions}
	if _, err := reconciler.Reconcile(s.context(), request(client.ObjectKey{Name: endpoint})); err != nil {
		s.Fatal(err)
	}
}

// pass runs one pass over the machine.
func (s *story) pass() (ctrl.Result, error) {
	return s.reconciler.Reconcile(s.context(), request(s.key(machineName)))
}

// settle runs passes, and passes over the image's replicas in between, until nothing changes any more. It returns the
// result of the last one. A manager that dies is followed by a fresh one.
func (s *story) settle() ctrl.Result {
	s.Helper()
	for range 40 {
		before := s.versions()
		result, err := s.pass()
		if s.writes.Killed() {
			s.deaths++
			s.restart()
			continue
		}
		if err != nil {
			s.Fatalf("a pass failed: %v", err)
		}
		s.replicate()
		if s.versions() != before {
			continue
		}
		if result.RequeueAfter == 0 || result.RequeueAfter > proving {
			return result
		}
		s.clock.SetTime(s.clock.Now().Add(result.RequeueAfter))
	}
	s.Fatalf("the machine does not settle: %v", s.now().Status.Conditions)
	return ctrl.Result{}
}

// replicate runs one pass over every replica on the story's endpoint that is not at rest.
func (s *story) replicate() {
	s.Helper()
	s.copyAll(s.replicas())
}

// replicateAll does the same on all endpoints of the story.
func (s *story) replicateAll() {
	s.Helper()
	list := &ingotv1.ImageReplicaList{}
	if err := s.client.List(s.Context(), list); err != nil {
		s.Fatal(err)
	}
	s.copyAll(slices.DeleteFunc(list.Items, func(r ingotv1.ImageReplica) bool { return !strings.HasPrefix(r.Spec.EndpointName, s.namespace) }))
}

func (s *story) copyAll(replicas []ingotv1.ImageReplica) {
	s.Helper()
	reconciler := &imagereplica.Reconciler{Client: s.client, Sessions: s.sessions}
	for _, replica := range replicas {
		if conditions.IsTrue(&replica, ingotv1.ImageReplicaReadyCondition) && replica.DeletionTimestamp.IsZero() {
			continue
		}
		if _, err := reconciler.Reconcile(s.context(), request(client.ObjectKeyFromObject(&replica))); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *story) replicas() []ingotv1.ImageReplica {
	s.Helper()
	list := &ingotv1.ImageReplicaList{}
	if err := s.client.List(s.Context(), list); err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(r ingotv1.ImageReplica) bool { return r.Spec.EndpointName != s.namespace })
}

// versions changes when anything that the manager writes changes.
func (s *story) versions() string {
	s.Helper()
	var versions []string
	if infra, exists := s.look(); exists {
		versions = append(versions, infra.ResourceVersion)
	}
	for _, replica := range s.replicas() {
		versions = append(versions, replica.ResourceVersion)
	}
	return strings.Join(versions, " ")
}

// boot does what the guest does once it runs: it takes an address.
func (s *story) boot() {
	s.Helper()
	s.platform.SetAddresses(s.uuid(), "192.0.2.20")
}

// join does what Cluster API does once the instance is there and its Node has joined.
func (s *story) join() {
	s.Helper()
	patch(s, s.machineNow(), func(m *clusterv1.Machine) { m.Spec.ProviderID = s.now().Spec.ProviderID })
	patchStatus(s, s.machineNow(), func(m *clusterv1.Machine) {
		m.Status.NodeRef.Name = machineName
		m.Status.NodeInfo = &corev1.NodeSystemInfo{OSImage: "Ingot OS v1.0.0 (" + s.namespace + ")", KubeletVersion: builder.KubernetesVersion, BootID: "first"}
	})
}

// live takes the machine from nothing to a joined node.
func (s *story) live() {
	s.Helper()
	s.settle()
	s.boot()
	s.settle()
	s.join()
	s.settle()
}

// look returns the machine as it is now, if it still exists.
func (s *story) look() (*infrav1.IngotMachine, bool) {
	s.Helper()
	infra := &infrav1.IngotMachine{}
	err := s.client.Get(s.Context(), s.key(machineName), infra)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return infra, !apierrors.IsNotFound(err)
}

func (s *story) now() *infrav1.IngotMachine {
	s.Helper()
	infra, exists := s.look()
	if !exists {
		s.Fatal("the IngotMachine is gone")
	}
	return infra
}

func (s *story) machineNow() *clusterv1.Machine {
	s.Helper()
	m := &clusterv1.Machine{}
	if err := s.client.Get(s.Context(), s.key(machineName), m); err != nil {
		s.Fatal(err)
	}
	return m
}

// uuid is the identity of the machine.
func (s *story) uuid() string {
	s.Helper()
	uuid, found := strings.CutPrefix(s.now().Spec.ProviderID, "ingot://")
	if !found {
		s.Fatal("the machine has no identity yet")
	}
	return uuid
}

// instance is what the platform has of the machine.
func (s *story) instance() fake.Instance {
	s.Helper()
	instance, exists := s.platform.Instance(s.uuid())
	if !exists {
		s.Fatalf("there is no instance; conditions: %v", s.now().Status.Conditions)
	}
	return instance
}

// expect checks status and reason of a condition of the machine and returns its message.
func (s *story) expect(condition string, status metav1.ConditionStatus, reason string) string {
	s.Helper()
	all := s.now().Status.Conditions
	for _, c := range all {
		if c.Type == condition {
			if c.Status != status || c.Reason != reason {
				s.Errorf("condition %s is %s/%s (%s), want %s/%s", condition, c.Status, c.Reason, c.Message, status, reason)
			}
			return c.Message
		}
	}
	s.Errorf("there is no condition %s in %v", condition, all)
	return ""
}

// expectMessage checks that a person finds in a message what there is to do.
func (s *story) expectMessage(message, part string) {
	s.Helper()
	if !strings.Contains(message, part) {
		s.Errorf("the message %q does not say %q", message, part)
	}
}

// expectCalls checks which methods of the platform were called about machines and images, whatever their order and number.
func (s *story) expectCalls(methods ...string) {
	s.Helper()
	called := map[string]bool{}
	for _, call := range s.platform.Calls() {
		if call.UUID == "" && call.ImageSHA256 == "" {
			continue // the endpoint's own reconciler asks how much there is, and what
		}
		called[call.Method] = true
		if !slices.Contains(methods, call.Method) {
			s.Errorf("the platform was asked to %s, which it must not be", call.Method)
		}
	}
	for _, method := range methods {
		if !called[method] {
			s.Errorf("the platform was never asked to %s", method)
		}
	}
}

// expectRunning checks that the one instance runs, was started once, and is all that there is.
func (s *story) expectRunning() {
	s.Helper()
	if all := s.platform.Instances(); len(all) != 1 {
		s.Fatalf("there are %d instances: %v", len(all), all)
	}
	if i := s.instance(); i.Starts != 1 || !i.Running {
		s.Errorf("the instance was started %d times, and runs: %t", i.Starts, i.Running)
	}
}

func (s *story) context() context.Context {
	return log.IntoContext(s.Context(), logr.Discard())
}

func request(key client.ObjectKey) ctrl.Request { return ctrl.Request{NamespacedName: key} }
