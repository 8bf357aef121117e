// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	testclock "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/bottlerocket"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/fedoracoreos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kairos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talos"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// TestStories tells the stories of this package against one real API server. Each story has a namespace of its own. The
// server is its own workload cluster as well: tokens end up in its kube-system.
func TestStories(t *testing.T) {
	log.SetLogger(testLogger(t))
	config := startAPIServer(t)
	for _, chapter := range []map[string]func(*story){waitStories(), publishStories(), tokenStories(), leaveStories(), crashStories(), restoreStories(), settingsStories(), secretStories(), previewStories(), declareStories(), talosStories()} {
		for name, tell := range chapter {
			t.Run(name, func(t *testing.T) { tell(newStory(t, config)) })
		}
	}
	t.Run("the manager wakes the reconciler for all that matters", func(t *testing.T) { tellManagerStory(newStory(t, config), config) })
}

func startAPIServer(t *testing.T) *rest.Config {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	plane, stop, err := managementplane.StartForTest(t.Context(), managementplane.Options{Builder: builder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	core, err := builder.ModuleDir(t.Context(), "sigs.k8s.io/cluster-api")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(plane.Config, envtest.CRDInstallOptions{
		Paths:              []string{filepath.Join(core, "core/config/crd/bases"), filepath.Join(builder.Repo, "config/crd/bases")},
		ErrorIfPathMissing: true,
	}); err != nil {
		t.Fatalf("installing CRDs: %v", err)
	}
	return plane.Config
}

// story is one Machine with an IngotConfig, and the other controllers of its world played by the test.
type story struct {
	*testing.T

	client    client.WithWatch
	namespace string
	clock     *testclock.FakeClock
	workload  *workload
	// writes counts the reconciler's writes, and can make them fail.
	writes *builder.Writes
	// reconciler is replaced by restart.
	reconciler *controller.Reconciler
}

// Names that a story has one of.
const (
	clusterName = "demo"
	machineName = "demo-m-1"
	providerID  = "ingot://11111111-2222-3333-4444-555555555555"
)

func newStory(t *testing.T, config *rest.Config) *story {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: testScheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	s := &story{T: t, client: c, namespace: namespace.Name, clock: testclock.NewFakeClock(time.Now().Truncate(time.Second)), workload: &workload{}}
	s.restart()
	return s
}

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.AddToScheme, bootstrapv1.AddToScheme, infrav1.AddToScheme, ingotv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// restart replaces the reconciler by one that was not killed.
func (s *story) restart() {
	s.writes = &builder.Writes{}
	s.reconciler = s.newReconciler(s.writes.Through(s.client))
	s.workload.through = s.writes.Through
}

func (s *story) newReconciler(c client.Client) *controller.Reconciler {
	return &controller.Reconciler{
		Client:   c,
		Workload: s.workload,
		Families: map[ingotv1.OSFamily]osfamily.Family{
			ingotv1.OSFamilyGeneric: generic.New(), ingotv1.OSFamilyCloudInit: cloudinit.New(),
			ingotv1.OSFamilyBottlerocket: bottlerocket.New(), ingotv1.OSFamilyKairos: kairos.New(),
			ingotv1.OSFamilyFlatcar: flatcar.New(), ingotv1.OSFamilyFedoraCoreOS: fedoracoreos.New(),
			ingotv1.OSFamilyTalos: talos.New(),
		},
		Clock: s.clock,
	}
}

// pass runs one pass.
func (s *story) pass() (ctrl.Result, error) {
	return s.reconciler.Reconcile(s.Context(), ctrl.Request{NamespacedName: s.key(machineName)})
}

// settle runs passes until one writes nothing, and returns its result.
func (s *story) settle() ctrl.Result {
	s.Helper()
	for range 20 {
		before := s.writes.Count()
		result, err := s.pass()
		if err != nil {
			s.Fatalf("a pass failed: %v", err)
		}
		if s.writes.Count() == before {
			return result
		}
	}
	s.Fatalf("the reconciler still writes after 20 passes: %v", s.writes.Done())
	return ctrl.Result{}
}

func (s *story) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: name}
}

func (s *story) create(object client.Object) {
	s.Helper()
	object.SetNamespace(s.namespace)
	if err := s.client.Create(s.Context(), object); err != nil {
		s.Fatalf("creating %T: %v", object, err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := s.client.Delete(s.Context(), object); err != nil {
		s.Fatalf("deleting %T: %v", object, err)
	}
}

// get reads the object as it is now; false where it does not exist.
func (s *story) get(name string, object client.Object) bool {
	s.Helper()
	err := s.client.Get(s.Context(), s.key(name), object)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return !apierrors.IsNotFound(err)
}

// patch changes an object by a merge patch.
func patch[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		s.Fatalf("%T is no object", object)
	}
	change(object)
	if err := s.client.Patch(s.Context(), object, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

func patchStatus[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	before, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		s.Fatalf("%T is no object", object)
	}
	change(object)
	if err := s.client.Status().Patch(s.Context(), object, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

func (s *story) cluster() *clusterv1.Cluster {
	s.Helper()
	cluster := &clusterv1.Cluster{}
	if !s.get(clusterName, cluster) {
		s.Fatal("the Cluster is gone")
	}
	return cluster
}

func (s *story) machine() *clusterv1.Machine {
	s.Helper()
	machine := &clusterv1.Machine{}
	if !s.get(machineName, machine) {
		s.Fatal("the Machine is gone")
	}
	return machine
}

func (s *story) config() *bootstrapv1.IngotConfig {
	s.Helper()
	config := &bootstrapv1.IngotConfig{}
	if !s.get(machineName, config) {
		s.Fatal("the IngotConfig is gone")
	}
	return config
}

func (s *story) dataSecret() *corev1.Secret {
	s.Helper()
	secret := &corev1.Secret{}
	if !s.get(machineName, secret) {
		s.Fatal("there is no Secret with bootstrap data")
	}
	return secret
}

func (s *story) hasDataSecret() bool {
	s.Helper()
	return s.get(machineName, &corev1.Secret{})
}

// expectCondition checks status and reason of a condition of the config and returns its message.
func (s *story) expectCondition(condition string, status metav1.ConditionStatus, reason string) string {
	s.Helper()
	for _, c := range s.config().Status.Conditions {
		if c.Type == condition {
			if c.Status != status || c.Reason != reason {
				s.Errorf("condition %s is %s/%s (%s), want %s/%s", condition, c.Status, c.Reason, c.Message, status, reason)
			}
			return c.Message
		}
	}
	s.Errorf("there is no condition %s", condition)
	return ""
}

// workload is the connection to the workload cluster. It is down until told otherwise.
type workload struct {
	client  client.WithWatch
	through func(client.WithWatch) client.WithWatch
	events  chan event.GenericEvent
}

func (w *workload) GetUncachedClient(context.Context, client.ObjectKey) (client.Client, error) {
	if w.client == nil {
		return nil, errors.Join(clustercache.ErrClusterNotConnected)
	}
	return w.through(w.client), nil
}

func (w *workload) GetClusterSource(_ string, mapFunc func(context.Context, client.Object) []ctrl.Request, _ ...clustercache.GetClusterSourceOption) source.Source {
	w.events = make(chan event.GenericEvent, 1)
	return source.Channel(w.events, handler.EnqueueRequestsFromMapFunc(mapFunc))
}

func testLogger(t *testing.T) logr.Logger {
	t.Helper()
	return testr.NewWithOptions(t, testr.Options{Verbosity: -10})
}
