// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// builder reports what is built, because the first run of these tests on a machine waits for that.
func builder(t *testing.T) *components.Builder {
	t.Helper()
	b, err := components.FromEnvironment(func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func options(t *testing.T) managementplane.Options {
	t.Helper()
	return managementplane.Options{StateDir: filepath.Join(t.TempDir(), "plane"), Builder: builder(t)}
}

func start(t *testing.T, o managementplane.Options) *managementplane.Plane {
	t.Helper()
	began := time.Now()
	p, stop, err := managementplane.StartForTest(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %s", time.Since(began).Round(10*time.Millisecond))
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func newClient(t *testing.T, p *managementplane.Plane) client.Client {
	t.Helper()
	c, err := client.New(p.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pid(t *testing.T, stateDir, program string) int {
	t.Helper()
	p, err := process.Find(program, filepath.Join(stateDir, program+".pid"), "")
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return 0
	}
	return p.PID
}

// life is what the steps of a story share.
type life struct {
	o managementplane.Options
	p *managementplane.Plane
	c client.Client
}

// One story, because each start costs seconds: the plane as quickstart uses it, from start to the last process.
func TestLifeOfAPlane(t *testing.T) {
	o := options(t)
	o.ControllerManager, o.Core = true, true
	p := start(t, o)
	s := life{o: o, p: p, c: newClient(t, p)}
	for _, step := range []struct {
		name string
		run  func(*testing.T, life)
	}{
		{"admission runs in the core manager", admissionRuns},
		{"conversion runs in the core manager", conversionRuns},
		{"the core manager reconciles", coreReconciles},
		{"a deleted namespace goes away", deletedNamespaceGoesAway},
		{"a second start adopts", secondStartAdopts},
		{"kill -9 of the API server and start again continues", killOfTheAPIServer},
		{"stop leaves no process and keeps the data", stopKeepsTheData},
		{"remove leaves nothing", removeLeavesNothing},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, s) })
	}
}

func admissionRuns(t *testing.T, s life) {
	t.Helper()
	if err := s.c.Create(t.Context(), cluster("good", "10.128.0.0/12")); err != nil {
		t.Fatal(err)
	}
	err := s.c.Create(t.Context(), cluster("bad", "10.128.0.0/99"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "10.128.0.0/99") {
		t.Errorf("a Cluster that only the webhook can refuse was answered with %v", err)
	}
}

func conversionRuns(t *testing.T, s life) {
	t.Helper()
	stored := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "addons.cluster.x-k8s.io/v1beta2", "kind": "ClusterResourceSet",
		"metadata": map[string]any{"name": "set", "namespace": "default"},
		"spec": map[string]any{
			"clusterSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}},
			"resources":       []any{map[string]any{"name": "x", "kind": "ConfigMap"}},
		},
	}}
	if err := s.c.Create(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	old := &unstructured.Unstructured{}
	old.SetGroupVersionKind(schema.GroupVersionKind{Group: "addons.cluster.x-k8s.io", Version: "v1beta1", Kind: "ClusterResourceSet"})
	if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(stored), old); err != nil {
		t.Fatal(err)
	}
}

func coreReconciles(t *testing.T, s life) {
	t.Helper()
	eventually(t, "the Cluster gets its finalizer", func() error {
		live := cluster("good", "")
		if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
			return err
		}
		if len(live.GetFinalizers()) == 0 {
			return errors.New("no finalizer yet")
		}
		return nil
	})
}

func deletedNamespaceGoesAway(t *testing.T, s life) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "short-lived"}}
	if err := s.c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	if err := s.c.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", func() error {
		if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); !apierrors.IsNotFound(err) {
			return fmt.Errorf("still there: %w", err)
		}
		return nil
	})
}

func secondStartAdopts(t *testing.T, s life) {
	t.Helper()
	before := pids(t, s.o.StateDir)
	resume(t, s.o)
	if after := pids(t, s.o.StateDir); after != before {
		t.Errorf("processes %s became %s", before, after)
	}
}

func killOfTheAPIServer(t *testing.T, s life) {
	t.Helper()
	if err := syscall.Kill(pid(t, s.o.StateDir, "kube-apiserver"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := resume(t, s.o)
	if again.Config.Host != s.p.Config.Host || string(again.CABundle) != string(s.p.CABundle) {
		t.Error("clients of the first run could not go on: address or authority changed")
	}
	live := cluster("good", "")
	if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Errorf("the client of the first run lost its data: %v", err)
	}
}

func stopKeepsTheData(t *testing.T, s life) {
	t.Helper()
	for range 2 {
		if err := managementplane.Stop(t.Context(), s.o.StateDir); err != nil {
			t.Fatal(err)
		}
	}
	if left := pids(t, s.o.StateDir); left != "[0 0 0 0]" {
		t.Errorf("processes are left: %s", left)
	}
	resume(t, s.o)
	live := cluster("good", "")
	if err := s.c.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Errorf("after stop and start: %v", err)
	}
}

func removeLeavesNothing(t *testing.T, s life) {
	t.Helper()
	for range 2 {
		if err := managementplane.Remove(t.Context(), s.o.StateDir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.o.StateDir); !os.IsNotExist(err) {
		t.Errorf("the state directory is left: %v", err)
	}
}

func TestTakenPortIsAClearErrorAndLeavesNoProcess(t *testing.T) {
	o := options(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	kept := fmt.Sprintf(`{"kube-apiserver": %s}`, port)
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.StateDir, "ports.json"), []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}

	_, stop, err := managementplane.StartForTest(context.Background(), o)
	want := "port " + port + " of 127.0.0.1, which kube-apiserver keeps"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error names neither port nor program: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if left := pids(t, o.StateDir); left != "[0 0 0 0]" {
		t.Errorf("processes are left: %s", left)
	}
}

// A program that refuses to run must say why at once, not after the time for readiness.
func TestProgramThatEndsShowsItsLog(t *testing.T) {
	o := options(t)
	o.Builder.Assets = t.TempDir()
	script := "#!/bin/sh\necho this etcd is broken >&2\nexit 7\n"
	if err := os.WriteFile(filepath.Join(o.Builder.Assets, "etcd"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	_, stop, err := managementplane.StartForTest(context.Background(), o)
	defer func() { _ = stop() }()
	if err == nil || !strings.Contains(err.Error(), "this etcd is broken") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	o := options(t)
	o.Builder.Assets = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Builder.Assets, "etcd"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, stop, err := managementplane.StartForTest(ctx, o)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if left := pids(t, o.StateDir); left != "[0 0 0 0]" {
		t.Errorf("processes are left: %s", left)
	}
}

func requirePortsOfOthersAreKept(t *testing.T, p *managementplane.Plane) {
	t.Helper()
	first, err := p.Port(t.Context(), "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Port(t.Context(), "health")
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Port(t.Context(), "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	if first != again || first == second {
		t.Errorf("got %d, %d and again %d", first, second, again)
	}
}

func resume(t *testing.T, o managementplane.Options) *managementplane.Plane {
	t.Helper()
	o.Child = true
	p, err := managementplane.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pids are the process ids of all programs, 0 for those that do not run.
func pids(t *testing.T, stateDir string) string {
	t.Helper()
	var all []int
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "cluster-api-core"} {
		all = append(all, pid(t, stateDir, name))
	}
	return fmt.Sprint(all)
}

func cluster(name, podCIDR string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
		"metadata": map[string]any{"name": name, "namespace": "default"},
		"spec": map[string]any{
			"clusterNetwork":    map[string]any{"pods": map[string]any{"cidrBlocks": []any{podCIDR}}},
			"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "IngotCluster", "name": name},
		},
	}}
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("did not happen within a minute: %s: %v", what, err)
}
