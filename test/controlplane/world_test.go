// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// patience is how long a control plane may take to come to rest once everything is healed. It needs seconds; the rest is for
// a machine under load.
const patience = 4 * time.Minute

const controlPlaneName = "demo-cp"

// shape is what a control plane is like.
type shape struct {
	name        string
	replicas    int32
	deleteFirst bool
	// talos is whether its nodes run Talos, which is played.
	talos bool
	// death is how the first manager ends; nil lets it live.
	death *death
}

// world is one workload cluster, what runs it, and who watches.
type world struct {
	*testing.T

	shape     shape
	number    int
	namespace string
	// host is the address of its API server.
	host   string
	random *rand.Rand
	begin  time.Time
	pace   controller.Pace
	script script
	ended  context.CancelFunc
	beside sync.WaitGroup // what runs beside the test

	mu  sync.Mutex
	log []string
	// story is a file with all of the log, for who looks on.
	story      *os.File
	nodes      map[string]*node
	addresses  int
	admittance *tls.Config
	front      *gate
	apiServer  *exec.Cmd
	workload   client.Client
	// hook is what the story does when something happens.
	hook func(event, machine string)
	// accusation is the first thing that must never be.
	accusation string
	agreed     []*etcdserverpb.Member
	// deletes are the Machines that we deleted and that are still there; removing is the member that we remove right now.
	deletes  map[string]bool
	removing map[uint64]bool
	ending   bool
	template int
	sung     int
	// founded counts how often etcd was made.
	founded int
	// replaced counts Machines that are gone.
	replaced int
}

var (
	errNobodyServes = errors.New("no member of etcd serves")
	worlds          struct { // numbers of worlds, which their addresses come from
		mu     sync.Mutex
		number int
	}
)

// newWorld makes a workload cluster and waits until its control plane is whole.
func newWorld(t *testing.T, s shape, pace controller.Pace) *world {
	t.Helper()
	worlds.mu.Lock()
	worlds.number++
	number := worlds.number
	worlds.mu.Unlock()
	ctx, end := context.WithCancel(t.Context())
	w := &world{
		T: t, shape: s, number: number, host: loopback(number, 1), pace: pace, begin: time.Now(), ended: end,
		random: rand.New(rand.NewPCG(*seed, uint64(number))),
		nodes:  map[string]*node{}, deletes: map[string]bool{}, removing: map[uint64]bool{}, addresses: 1,
	}
	w.script.arm(s.death)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "replace-" + s.name + "-"}}
	if err := shared.client.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	w.namespace = namespace.Name
	if err := os.MkdirAll(shared.folder(w.namespace), 0o700); err != nil {
		t.Fatal(err)
	}
	if w.story, _ = os.Create(shared.folder(w.namespace, "story.log")); w.story != nil {
		t.Cleanup(func() { _ = w.story.Close() })
	}
	t.Cleanup(w.stop)
	w.declare()
	for _, part := range []func(context.Context){w.playPlatform, w.observe, w.superviseManager} {
		w.beside.Go(func() { part(ctx) })
	}
	w.note("the control plane comes up after %s", w.rest().Round(time.Second))
	return w
}

// stop ends everything that the world has started.
func (w *world) stop() {
	if w.Failed() {
		w.Log(w.describe())
	}
	w.ended()
	w.beside.Wait()
	for _, n := range w.all() {
		n.stop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.front != nil {
		w.front.close()
	}
	if w.apiServer != nil && w.apiServer.Process != nil {
		_ = w.apiServer.Process.Kill()
		_ = w.apiServer.Wait()
	}
}

// declare makes what a user makes, and plays the infrastructure of the Cluster.
func (w *world) declare() {
	w.Helper()
	cluster := builder.Cluster(func(c *clusterv1.Cluster) {
		c.Spec.ControlPlaneRef = clusterv1.ContractVersionedObjectReference{APIGroup: controlplanev1.GroupVersion.Group, Kind: "IngotControlPlane", Name: controlPlaneName}
	})
	w.create(cluster)
	infra := builder.IngotCluster(cluster, func(c *infrav1.IngotCluster) {
		c.Spec.ControlPlaneEndpoint = infrav1.APIEndpoint{Host: w.host, Port: 6443}
	})
	w.create(infra)
	before := infra.DeepCopy()
	infra.Status.Initialization.Provisioned = new(true)
	if err := shared.client.Status().Patch(w.Context(), infra, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
	for i := range 2 {
		w.create(builder.IngotMachineTemplate(templateName(i), "any", "any"))
	}
	w.create(&controlplanev1.IngotControlPlane{
		ObjectMeta: metav1.ObjectMeta{
			Name: controlPlaneName, Labels: map[string]string{clusterv1.ClusterNameLabel: builder.ClusterName},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: cluster.Name, UID: cluster.UID}},
		},
		Spec: w.shape.spec(),
	})
}

func (s shape) spec() controlplanev1.IngotControlPlaneSpec {
	spec := controlplanev1.IngotControlPlaneSpec{
		Replicas: &s.replicas,
		Version:  builder.KubernetesVersion,
		Config: bootstrapv1.IngotConfigSpec{
			ControlPlane: bootstrapv1.ControlPlaneSettings{KeyAlgorithm: "ECDSA-P256"},
			Ignition:     bootstrapv1.IgnitionConfig{Variant: bootstrapv1.IgnitionVariantGeneric},
		},
	}
	if s.talos {
		spec.Config = bootstrapv1.IngotConfigSpec{Talos: &bootstrapv1.TalosConfig{}}
	}
	spec.MachineTemplate.Spec.InfrastructureRef = templateRef(0)
	if s.deleteFirst {
		spec.Rollout.Strategy = controlplanev1.RolloutStrategy{
			Type: controlplanev1.RollingUpdateStrategyType, RollingUpdate: controlplanev1.RollingUpdateSpec{MaxSurge: new(int32(0))},
		}
	}
	return spec
}

func templateName(i int) string { return fmt.Sprintf("demo-cp-%d", i%2) }

func templateRef(i int) clusterv1.ContractVersionedObjectReference {
	return clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachineTemplate", Name: templateName(i)}
}

func (w *world) create(object client.Object) {
	w.Helper()
	object.SetNamespace(w.namespace)
	if err := shared.client.Create(w.Context(), object); err != nil {
		w.Fatalf("creating %T: %v", object, err)
	}
}

func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: name}
}

// address is the next address of a node. There are enough of them before one comes again.
func (w *world) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addresses++
	return loopback(w.number, 2+w.addresses%250)
}

// note writes a line of the story.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := fmt.Sprintf("%7.2fs  %s", time.Since(w.begin).Seconds(), fmt.Sprintf(format, args...))
	w.log = append(w.log, line)
	if w.story != nil {
		_, _ = fmt.Fprintln(w.story, line)
	}
}

// happened tells the story of an event.
func (w *world) happened(event string, n *node) { w.tell(event, n.name) }

func (w *world) tell(event, machine string) {
	w.note("%s: %s", machine, event)
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		hook(event, machine)
	}
}

// on has a function called for all that happens; nil ends that.
func (w *world) on(hook func(event, machine string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// accuse says that something is so that must never be. The test ends with it.
func (w *world) accuse(format string, args ...any) {
	w.note("ACCUSED: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.accusation == "" {
		w.accusation = fmt.Sprintf(format, args...)
	}
}

func (w *world) accused() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accusation
}

// all are the nodes whose instances exist, the oldest first.
func (w *world) all() []*node {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*node
	for _, n := range w.nodes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return list
}

func (w *world) node(name string) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[name]
}

// isCut is whether the member with the ID, as peers write it, is cut off.
func (w *world) isCut(id string) bool {
	for _, n := range w.all() {
		n.mu.Lock()
		is := strconv.FormatUint(n.id, 16) == id && n.cut
		n.mu.Unlock()
		if is {
			return true
		}
	}
	return false
}

// through does something through the first member that serves.
func (w *world) through(do func(*clientv3.Client) error) error {
	err := errNobodyServes
	for _, n := range w.all() {
		if !n.serves() {
			continue
		}
		c, dialErr := n.direct()
		if dialErr != nil {
			return dialErr
		}
		if err = do(c); err == nil {
			return nil
		}
	}
	return err
}

// rollOut wants all Machines replaced.
func (w *world) rollOut() {
	w.Helper()
	w.mu.Lock()
	w.template++
	to := w.template
	w.mu.Unlock()
	w.note("all Machines are to be made from %s", templateName(to))
	w.changeControlPlane(func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef(to)
	})
}

// outdate has one Machine alone be replaced: it was made from a template of the past.
func (w *world) outdate(machine string) {
	w.Helper()
	w.note("%s is outdated", machine)
	infra := &infrav1.IngotMachine{}
	if err := shared.client.Get(w.Context(), w.key(machine), infra); err != nil {
		w.Fatal(err)
	}
	before := infra.DeepCopy()
	infra.Annotations[clusterv1.TemplateClonedFromNameAnnotation] = "demo-cp-past"
	if err := shared.client.Patch(w.Context(), infra, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
	w.changeControlPlane(func(cp *controlplanev1.IngotControlPlane) {
		metav1.SetMetaDataAnnotation(&cp.ObjectMeta, "test.ingot.dev/look", time.Now().String())
	})
}

func (w *world) changeControlPlane(change func(*controlplanev1.IngotControlPlane)) {
	w.Helper()
	cp := &controlplanev1.IngotControlPlane{}
	if err := shared.client.Get(w.Context(), w.key(controlPlaneName), cp); err != nil {
		w.Fatal(err)
	}
	before := cp.DeepCopy()
	change(cp)
	if err := shared.client.Patch(w.Context(), cp, client.MergeFrom(before)); err != nil {
		w.Fatal(err)
	}
}

// sing writes the canary through the API server: whatever is replaced, it must be found again.
func (w *world) sing() {
	w.Helper()
	w.sung++
	canary := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "canary"}}
	err := w.eventually(func(ctx context.Context) error {
		c, err := w.connect(ctx)
		if err != nil {
			return err
		}
		err = c.Get(ctx, client.ObjectKeyFromObject(canary), canary)
		canary.Data = map[string]string{"song": strconv.Itoa(w.sung)}
		if apierrors.IsNotFound(err) {
			return c.Create(ctx, canary)
		}
		if err != nil {
			return err
		}
		return c.Update(ctx, canary)
	})
	if err != nil {
		w.Fatalf("the canary cannot sing: %v", err)
	}
}

// eventually tries until it succeeds.
func (w *world) eventually(do func(context.Context) error) (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = do(w.Context()); err == nil || w.accused() != "" {
			return err
		}
	}
	return err
}

// rest waits until the control plane is at rest as it is wanted, and returns how long that took.
func (w *world) rest() time.Duration {
	w.Helper()
	begin := time.Now()
	last := ""
	for time.Since(begin) < patience {
		if accusation := w.accused(); accusation != "" {
			w.Fatalf("seed %d: %s", *seed, accusation)
		}
		if last = w.unrest(); last == "" {
			return time.Since(begin)
		}
		w.findFailedJoins()
		time.Sleep(100 * time.Millisecond)
	}
	w.Fatalf("seed %d: it does not come to rest in %s: %s", *seed, patience, last)
	return 0
}

// end deletes the Cluster and waits until nothing is left of it.
func (w *world) end() {
	w.Helper()
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	w.note("the Cluster is deleted")
	if err := shared.client.Delete(w.Context(), &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: builder.ClusterName}}); err != nil {
		w.Fatal(err)
	}
	err := w.eventually(func(ctx context.Context) error {
		for _, list := range []client.ObjectList{&clusterv1.ClusterList{}, &clusterv1.MachineList{}, &infrav1.IngotMachineList{}, &bootstrapv1.IngotConfigList{}, &controlplanev1.IngotControlPlaneList{}} {
			if err := shared.client.List(ctx, list, client.InNamespace(w.namespace), client.Limit(1)); err != nil {
				return err
			}
			if !isEmpty(list) {
				return fmt.Errorf("there still is something in a %T", list)
			}
		}
		return nil
	})
	if err != nil {
		w.Fatalf("the Cluster is not gone: %v", err)
	}
}

// findFailedJoins does what a MachineHealthCheck does with Machines that never become Nodes.
func (w *world) findFailedJoins() {
	for _, n := range w.all() {
		n.mu.Lock()
		failed := n.failure != nil && !n.gone
		n.gone = n.gone || failed
		n.mu.Unlock()
		if !failed {
			continue
		}
		if err := w.findUnhealthy(n.name); err != nil {
			w.Fatal(err)
		}
	}
}
