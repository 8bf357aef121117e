// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"maps"
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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// TestStories tells the stories of this package against one real API server. Each story has a namespace of its own.
func TestStories(t *testing.T) {
	t.Parallel()
	log.SetLogger(logr.Discard())
	config := startAPIServer(t)
	stories := map[string]func(*story){}
	for _, chapter := range []map[string]func(*story){
		initStories(), crashStories(), deletionStories(), accessStories(), inPlaceStories(), etcdStories(), componentStories(), remediationStories(),
		previewStories(), restoreStories(), nodeStories(), foundingStories(),
	} {
		maps.Copy(stories, chapter)
	}
	for name, tell := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(newStory(t, config))
		})
	}
	t.Run("the manager wakes the reconciler for all that matters", func(t *testing.T) {
		t.Parallel()
		tellManagerStory(newStory(t, config), config)
	})
}

func startAPIServer(t *testing.T) *rest.Config {
	t.Helper()
	builder := testBuilder(t)
	config := startPlane(t, managementplane.Options{Builder: builder})
	core, err := builder.ModuleDir(t.Context(), "sigs.k8s.io/cluster-api")
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, config, filepath.Join(core, "core/config/crd/bases"), filepath.Join(builder.Repo, "config/crd/bases"))
	return config
}

func testBuilder(t *testing.T) *components.Builder {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	return builder
}

func startPlane(t *testing.T, options managementplane.Options) *rest.Config {
	t.Helper()
	plane, stop, err := managementplane.StartForTest(t.Context(), options)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return plane.Config
}

func installCRDs(t *testing.T, config *rest.Config, folders ...string) {
	t.Helper()
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: folders, ErrorIfPathMissing: true}); err != nil {
		t.Fatalf("installing CRDs: %v", err)
	}
}

// story is one Cluster with a control plane, and the other controllers and machines of its world played by the test.
type story struct {
	*testing.T

	client    client.WithWatch
	namespace string
	clock     *testclock.FakePassiveClock
	workload  *workload
	etcd      *etcd
	driver    controller.Driver
	backups   *builder.Backups
	restores  *builder.Restores
	// told are the events.
	told *told
	// writes counts the reconciler's writes, and can make them fail.
	writes *builder.Writes
	// reconciler is replaced by restart.
	reconciler *controller.Reconciler
}

const clusterName = "demo"

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
	s := &story{
		T: t, client: c, namespace: namespace.Name,
		clock: testclock.NewFakePassiveClock(time.Now()), workload: &workload{}, etcd: &etcd{}, backups: &builder.Backups{}, restores: &builder.Restores{}, told: &told{},
	}
	s.driver = controller.Kubeadm(s.etcd.open)
	s.restart()
	return s
}

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.AddToScheme, controlplanev1.AddToScheme, bootstrapv1.AddToScheme, infrav1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// restart replaces the reconciler by one that remembers nothing.
func (s *story) restart() {
	s.writes = &builder.Writes{}
	s.reconciler = &controller.Reconciler{
		Client:       s.writes.Through(s.client),
		APIReader:    s.client,
		ClusterCache: s.workload,
		Drivers:      func(bootstrapv1.IngotConfigSpec) controller.Driver { return s.driver },
		Backups:      s.backups,
		Restores:     s.restores,
		Recorder:     s.told,
		Clock:        s.clock,
	}
}

// pass runs one pass.
func (s *story) pass() (ctrl.Result, error) {
	return s.reconciler.Reconcile(log.IntoContext(s.Context(), testr.New(s.T)), ctrl.Request{NamespacedName: s.key("demo-cp")})
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
	s.Fatal("the reconciler still writes after 20 passes")
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

// get returns the object as it is now, or nil.
func get[T client.Object](s *story, name string, object T) (T, bool) {
	s.Helper()
	err := s.client.Get(s.Context(), s.key(name), object)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return object, !apierrors.IsNotFound(err)
}

// patch changes metadata and spec of an object.
func patch[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.Patch(s, s.client, object, change)
}

// patchStatus changes the status of an object.
func patchStatus[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	builder.PatchStatus(s, s.client, object, change)
}

func (s *story) controlPlane() *controlplanev1.IngotControlPlane {
	s.Helper()
	cp, exists := get(s, "demo-cp", &controlplanev1.IngotControlPlane{})
	if !exists {
		s.Fatal("the control plane object is gone")
	}
	return cp
}

func (s *story) cluster() *clusterv1.Cluster {
	s.Helper()
	cluster, _ := get(s, clusterName, &clusterv1.Cluster{})
	return cluster
}

func (s *story) machines() []clusterv1.Machine {
	s.Helper()
	list := &clusterv1.MachineList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace), client.HasLabels{clusterv1.MachineControlPlaneLabel}); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

func (s *story) onlyMachine() *clusterv1.Machine {
	s.Helper()
	machines := s.machines()
	if len(machines) != 1 {
		s.Fatalf("there are %d control plane Machines, not one", len(machines))
	}
	return &machines[0]
}

// expectCondition checks status and reason of a condition of the control plane and returns its message.
func (s *story) expectCondition(condition string, status metav1.ConditionStatus, reason string) string {
	s.Helper()
	for _, c := range s.controlPlane().Status.Conditions {
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
