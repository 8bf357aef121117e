// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/setup"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// patience is how long the world may take for one thing. It needs seconds; the rest is for a machine under load, and for
// the half minute after which Cluster API tries a connection again.
const patience = 4 * time.Minute

// world is one workload cluster with everything that it is made of.
type world struct {
	*testing.T

	management, workload client.Client
	namespace, cluster   string
	platform             *fake.Platform
	guests               *guests

	// slack is how much longer than others this world may take.
	slack time.Duration
	// elsewhere opens sessions with endpoints that are no libvirt hosts; nil where there are none.
	elsewhere session.Opener

	// halt ends the manager that runs; nil while none does.
	halt func()

	mu sync.Mutex
	// onRelease is called before each call that releases an instance.
	onRelease func(uuid string)
}

// newWorld makes an empty world for the cluster with the name, with the inventory that clusters share: an endpoint called
// like the cluster, and the images. Names of images must differ between tests.
func newWorld(t *testing.T, cluster string, images ...string) *world {
	t.Helper()
	w := &world{T: t, cluster: cluster, namespace: cluster, platform: fake.New(fake.Options{}), onRelease: func(string) {}}
	var err error
	if w.management, err = builder.NewClient(shared.management.Config); err != nil {
		t.Fatal(err)
	}
	if w.workload, err = builder.NewClient(shared.workload.Config); err != nil {
		t.Fatal(err)
	}
	w.guests = &guests{platform: w.platform, workload: w.workload, osImages: map[string]string{}}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	w.create(builder.PlatformEndpoint(cluster, func(endpoint *ingotv1.PlatformEndpoint) {
		endpoint.Spec.AllowedNamespaces.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}
	}))
	for _, name := range images {
		image := builder.NodeImage(name)
		if name == reportingImage {
			image.Spec.NodeIdentity.OSRelease = map[string]ingotv1.OSReleaseValue{"BUILD_ID": "abc"}
		}
		w.create(image)
		w.guests.osImages[builder.Digest(name)] = image.Spec.NodeIdentity.OSImage
	}
	w.create(w.authority())
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { w.guests.boot(ctx) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last lines of the manager's log:\n%s", shared.logTail())
		}
		cancel()
		running.Wait()
		w.haltManager()
		w.emptyWorkload()
		w.expectRights()
	})
	return w
}

// expectRights checks that the managers asked for nothing that their roles do not let them do. Some of it only costs an
// event or a delay, and nobody would notice.
func (w *world) expectRights() {
	w.Helper()
	log, err := os.ReadFile(shared.managerLog())
	if err != nil {
		w.Error(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "is forbidden") {
			w.Errorf("a manager lacks a right: %s", line)
		}
	}
}

// authority is the cluster's certificate authority, supplied by the user: that of the API server which plays the workload
// cluster.
func (w *world) authority() *corev1.Secret {
	w.Helper()
	key, err := os.ReadFile(filepath.Join(filepath.Dir(shared.workload.ServingDir), "ca.key"))
	if err != nil {
		w.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: secret.Name(w.cluster, secret.ClusterCA), Namespace: w.namespace,
			Labels: map[string]string{clusterv1.ClusterNameLabel: w.cluster},
		},
		Type: clusterv1.ClusterSecretType,
		Data: map[string][]byte{secret.TLSCrtDataName: shared.workload.CABundle, secret.TLSKeyDataName: key},
	}
}

// emptyWorkload leaves the API server of the workload cluster as a new one.
func (w *world) emptyWorkload() {
	ctx := context.WithoutCancel(w.Context())
	record := builder.ClusterConfiguration()
	err := errors.Join(w.workload.DeleteAllOf(ctx, &corev1.Node{}), client.IgnoreNotFound(w.workload.Delete(ctx, record)))
	if err != nil {
		w.Error(err)
	}
}

func (w *world) create(object client.Object) {
	w.Helper()
	if err := w.management.Create(w.Context(), object); err != nil {
		w.Fatalf("creating %T: %v", object, err)
	}
}

// startManager runs the manager as clusterctl installs it: one for each role.
func (w *world) startManager() {
	w.Helper()
	var halts []func()
	for role, account := range shared.accounts {
		halts = append(halts, w.startRole(role, account))
	}
	w.halt = func() {
		for _, halt := range halts {
			halt()
		}
	}
}

// startRole runs the manager of one role as its service account in this process, and returns what ends it.
func (w *world) startRole(role, account string) (halt func()) {
	w.Helper()
	options := &setup.Options{}
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	options.AddFlags(flags)
	args := []string{"--role=" + role, "--health-addr=0", "--diagnostics-address=0", "--insecure-diagnostics"}
	webhooks := ""
	if role != string(setup.RoleInfrastructure) {
		port, err := shared.management.Port(w.Context(), "ingot-"+role+"-system")
		if err != nil {
			w.Fatal(err)
		}
		webhooks = fmt.Sprintf("127.0.0.1:%d", port)
		args = append(args, fmt.Sprintf("--webhook-port=%d", port), "--webhook-cert-dir="+shared.management.ServingDir)
	}
	if err := flags.Parse(args); err != nil {
		w.Fatal(err)
	}
	config := rest.CopyConfig(shared.management.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: account, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	ended := make(chan error, 1)
	go func() { ended <- setup.Start(ctx, config, options, w.open) }()
	if webhooks != "" {
		w.awaitListener(webhooks)
	}
	return func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				w.Errorf("the manager of role %s ended: %v", role, err)
			}
		case <-time.After(time.Minute):
			w.Errorf("the manager of role %s does not end", role)
		}
	}
}

// awaitListener waits until somebody listens on an address. Nobody could write configs before.
func (w *world) awaitListener(address string) {
	w.Helper()
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		if conn, err := (&net.Dialer{}).DialContext(w.Context(), "tcp", address); err == nil {
			_ = conn.Close()
			return
		}
	}
	w.Fatalf("nobody listens on %s", address)
}

// haltManager ends the manager, if one runs.
func (w *world) haltManager() {
	if w.halt != nil {
		w.halt()
		w.halt = nil
	}
}

// open opens a session with the one libvirt host of this world, as an adapter does: it tells of the connection, and of
// nothing after Close.
func (w *world) open(settings session.Settings, events func(platform.Event)) (session.Session, error) {
	if settings.Spec.Libvirt.URI == "" {
		return w.elsewhere(settings, events)
	}
	s := &opened{Platform: w.platform, world: w}
	tell := func(event platform.Event) {
		if !s.closed.Load() {
			events(event)
		}
	}
	w.platform.Listen(tell)
	go tell(platform.Event{Session: true})
	return s, nil
}

// opened is a session with the fake platform.
type opened struct {
	*fake.Platform

	world  *world
	closed atomic.Bool
}

// Check implements session.Session.
func (o *opened) Check(context.Context) (string, error) { return "fake 1", nil }

// Close implements session.Session.
func (o *opened) Close() { o.closed.Store(true) }

// Release implements platform.Platform.
func (o *opened) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	o.world.mu.Lock()
	watch := o.world.onRelease
	o.world.mu.Unlock()
	watch(req.UUID)
	return o.Platform.Release(ctx, req)
}

// beforeRelease has a function called before each call that releases an instance.
func (w *world) beforeRelease(watch func(uuid string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onRelease = watch
}

// eventually waits until nothing is wrong any more.
func (w *world) eventually(what string, wrong func() string) {
	w.Helper()
	begin, patience := time.Now(), patience+w.slack
	last := ""
	for time.Since(begin) < patience {
		if last = wrong(); last == "" {
			w.Logf("%s after %s", what, time.Since(begin).Round(time.Second))
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.Fatalf("waited %s in vain until %s: %s\nguests: %v\n%s", patience, what, last, w.guests.trouble(), w.describe())
}

// describe says how every machine is.
func (w *world) describe() string {
	var out strings.Builder
	infra := &infrav1.IngotMachineList{}
	_ = w.management.List(w.Context(), infra, client.InNamespace(w.namespace))
	for _, m := range infra.Items {
		fmt.Fprintf(&out, "IngotMachine %s: %v\n", m.Name, m.Status.Conditions)
	}
	machines := &clusterv1.MachineList{}
	_ = w.management.List(w.Context(), machines, client.InNamespace(w.namespace))
	for _, m := range machines.Items {
		fmt.Fprintf(&out, "Machine %s: %v\n", m.Name, m.Status.Conditions)
	}
	return out.String()
}

// available says what the Cluster lacks.
func (w *world) available() string {
	cluster := &clusterv1.Cluster{}
	if err := w.management.Get(w.Context(), w.key(w.cluster), cluster); err != nil {
		return err.Error()
	}
	available := conditions.Get(cluster, clusterv1.ClusterAvailableCondition)
	if available == nil || available.Status != metav1.ConditionTrue {
		return fmt.Sprintf("Available is %v", available)
	}
	return ""
}

func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: name}
}

// machines returns the infrastructure machines: those of the control plane, and the workers.
func (w *world) machines() (controlPlane, workers []infrav1.IngotMachine) {
	w.Helper()
	list := &infrav1.IngotMachineList{}
	if err := w.management.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.Fatal(err)
	}
	for _, m := range list.Items {
		if _, is := m.Labels[clusterv1.MachineControlPlaneLabel]; is {
			controlPlane = append(controlPlane, m)
		} else {
			workers = append(workers, m)
		}
	}
	return controlPlane, workers
}

// running says what is wrong with the machines: there must be one control plane and that many workers from the image, all
// ready, with exactly one instance each that was started once, and a Node that says which image it runs.
func (w *world) running(workers int, image string) string {
	w.Helper()
	controlPlane, others := w.machines()
	if len(controlPlane) != 1 || len(others) != workers {
		return fmt.Sprintf("there are %d control plane machines and %d workers", len(controlPlane), len(others))
	}
	for _, m := range append(controlPlane, others...) {
		if !m.DeletionTimestamp.IsZero() || !conditions.IsTrue(&m, infrav1.ReadyCondition) {
			return fmt.Sprintf("%s is not ready: %v", m.Name, conditions.Get(&m, infrav1.ReadyCondition))
		}
		instance, exists := w.platform.Instance(strings.TrimPrefix(m.Spec.ProviderID, "ingot://"))
		if !exists || !instance.Running || instance.Starts != 1 || len(instance.Bootstrap) != 0 {
			return fmt.Sprintf("the instance of %s exists: %t, runs: %t, was started %d times", m.Name, exists, instance.Running, instance.Starts)
		}
	}
	for _, m := range others {
		if m.Spec.PinnedImage.Name != image || m.Status.NodeOSImage != w.guests.osImages[builder.Digest(image)] {
			return fmt.Sprintf("%s is pinned to %s and runs %s", m.Name, m.Spec.PinnedImage.Name, m.Status.NodeOSImage)
		}
	}
	if n := len(w.platform.Instances()); n != workers+1 {
		return fmt.Sprintf("there are %d instances", n)
	}
	nodes := &corev1.NodeList{}
	if err := w.workload.List(w.Context(), nodes); err != nil || len(nodes.Items) != workers+1 {
		return fmt.Sprintf("there are %d nodes (%v)", len(nodes.Items), err)
	}
	return ""
}
