// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

func options(t *testing.T) Options {
	t.Helper()
	return Options{
		State: filepath.Join(t.TempDir(), "state"), Cache: filepath.Join(t.TempDir(), "cache"),
		ControlPlanes: 1, Workers: 1, KubernetesVersion: components.KubernetesVersion, FromImage: "v1.0.0", ToImage: "v1.1.0",
		Out: &bytes.Buffer{}, Clock: clocktesting.NewFakeClock(time.Unix(0, 0)),
	}
}

// Input that can never work must end the run before anything is built, downloaded or made.
func TestUnusableOptionsEndTheRunAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"a Kubernetes version that the image does not carry names the one that it does": {
			func(o *Options) { o.KubernetesVersion = "v1.29.0" }, "--kubernetes-version " + components.KubernetesVersion,
		},
		"fewer workers than none":                      {func(o *Options) { o.Workers = -1 }, "--workers -1"},
		"two control planes survive less than one":     {func(o *Options) { o.ControlPlanes = 2 }, "--control-planes 2: use 1 or 3"},
		"more workers than a machine can hold":         {func(o *Options) { o.Workers = maxWorkers + 1 }, "use 0 to"},
		"the same image twice is no upgrade":           {func(o *Options) { o.ToImage = o.FromImage }, "nothing to upgrade"},
		"a version that is no version is refused too":  {func(o *Options) { o.KubernetesVersion = "latest" }, "latest of Kubernetes is not available"},
		"an image version that is the same as another": {func(o *Options) { o.FromImage = "v1.1.0" }, "the same"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			c.change(&o)
			err := Up(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error is %v, want one that says %q", err, c.says)
			}
			if _, err := os.Stat(o.State); !errors.Is(err, os.ErrNotExist) {
				t.Error("the state folder was made")
			}
		})
	}
}

// An interruption is no failure: the person must read how to go on, not a stack of wrapped errors.
func TestAnInterruptedStageSaysHowToContinue(t *testing.T) {
	o := options(t)
	teller := newTeller(o.Out, o.Clock)
	ctx, cancel := context.WithCancel(t.Context())
	err := teller.run(ctx, []stage{{"building the moon", func(context.Context) error {
		cancel()
		return errors.New("a detail")
	}}})
	if err == nil || !strings.Contains(err.Error(), "run the same command again") || strings.Contains(err.Error(), "a detail") {
		t.Errorf("error is %v", err)
	}
}

func TestAFailedStageNamesItselfAndEndsTheStory(t *testing.T) {
	o := options(t)
	ran := 0
	count := func(err error) func(context.Context) error {
		return func(context.Context) error { ran++; return err }
	}
	err := newTeller(o.Out, o.Clock).run(t.Context(), []stage{{"one", count(nil)}, {"two", count(errors.New("no"))}, {"three", count(nil)}})
	if ran != 2 || err == nil || !strings.Contains(err.Error(), "two: no") {
		t.Errorf("%d stages ran and the error is %v, want two and the name of the second", ran, err)
	}
}

// Where processors are emulated, a worker that joins beside control planes has kept them from joining. Everywhere else it
// need not wait.
func TestWorkersWaitForSeveralEmulatedControlPlanes(t *testing.T) {
	for _, c := range []struct {
		how                    hypervisor.Acceleration
		controlPlanes, workers int
		turns                  []int
	}{
		{hypervisor.Emulated, 3, 2, []int{0, 2}},
		{hypervisor.Emulated, 3, 0, []int{0}},
		{hypervisor.Emulated, 1, 2, []int{2}},
		{hypervisor.KVM, 3, 2, []int{2}},
	} {
		q := &quickstart{Options: options(t), acceleration: c.how}
		q.ControlPlanes, q.Workers = c.controlPlanes, c.workers
		if got := q.turns(); !slices.Equal(got, c.turns) {
			t.Errorf("%+v: turns are %v", c, got)
		}
	}
}

// Without workers the story must not promise a replacement, nor build an image that nobody boots.
func TestTheStoryEndsWithTheClusterWhereThereAreNoWorkers(t *testing.T) {
	q := &quickstart{Options: options(t)}
	q.Workers = 0
	for _, s := range q.stages() {
		if strings.Contains(s.title, "worker") || strings.Contains(s.title, q.ToImage) {
			t.Errorf("there is a stage %q", s.title)
		}
	}
}

// A disk that fills up half way costs an evening: the check must come first and say what would do.
func TestAFullDiskIsSaidBeforeTheWork(t *testing.T) {
	q := &quickstart{Options: options(t)}
	q.Cache = "/proc" // a file system that has no space at all, and where no folder can be made
	if err := q.checkSpace(); err == nil || !strings.Contains(err.Error(), "INGOT_CACHE") {
		t.Errorf("error is %v, want one that names INGOT_CACHE", err)
	}
}

func TestMachinesAreDescribedInPlainWords(t *testing.T) {
	set := func(o conditions.Setter, kind string, status metav1.ConditionStatus, reason, message string) {
		conditions.Set(o, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	}
	for want, build := range map[string]func(*clusterv1.Machine, *infrav1.IngotMachine){
		"choosing its image": func(*clusterv1.Machine, *infrav1.IngotMachine) {},
		"copying its image: 43 % of i copied to local": func(_ *clusterv1.Machine, m *infrav1.IngotMachine) {
			set(m, infrav1.ImageResolvedCondition, metav1.ConditionTrue, "Pinned", "")
			set(m, infrav1.ImageReplicatedCondition, metav1.ConditionFalse, infrav1.ImageReplicatingReason, "43 % of i copied to local")
		},
		"choosing its image: NodeImage i is revoked": func(_ *clusterv1.Machine, m *infrav1.IngotMachine) {
			set(m, infrav1.ImageResolvedCondition, metav1.ConditionFalse, infrav1.ImageRevokedReason, "NodeImage i is revoked")
		},
		"booting from i, waiting for its node": func(_ *clusterv1.Machine, m *infrav1.IngotMachine) {
			m.Spec.PinnedImage.Name = "i"
			for _, kind := range []string{infrav1.ImageResolvedCondition, infrav1.ImageReplicatedCondition, infrav1.BootstrapAvailableCondition, infrav1.InstanceReadyCondition} {
				set(m, kind, metav1.ConditionTrue, "Fine", "")
			}
			set(m, infrav1.NodeJoinedCondition, metav1.ConditionFalse, infrav1.WaitingForNodeReason, "no Node yet")
		},
		"joined as node n": func(m *clusterv1.Machine, _ *infrav1.IngotMachine) { m.Status.NodeRef.Name = "n" },
		"ready, runs Ingot OS v1.0.0": func(m *clusterv1.Machine, infra *infrav1.IngotMachine) {
			set(m, clusterv1.MachineNodeReadyCondition, metav1.ConditionTrue, "Fine", "")
			infra.Status.NodeOSImage = "Ingot OS v1.0.0"
		},
		"draining and deleting": func(m *clusterv1.Machine, _ *infrav1.IngotMachine) {
			now := metav1.Now()
			m.DeletionTimestamp = &now
		},
	} {
		t.Run(want, func(t *testing.T) {
			machine, infra := &clusterv1.Machine{}, &infrav1.IngotMachine{}
			build(machine, infra)
			if got := describe(machine, infra); got != want {
				t.Errorf("described as %q, want %q", got, want)
			}
		})
	}
}

func TestTheTableOfNodesReadsLikeKubectl(t *testing.T) {
	text := table([]node{{Name: "a", Ready: true, Role: "worker", Kubelet: "v1.36.3", Address: "192.0.2.1", OSImage: "Ingot OS v1.0.0"}})
	for _, part := range []string{"NAME", "OS-IMAGE", "Ready", "Ingot OS v1.0.0"} {
		if !strings.Contains(text, part) {
			t.Errorf("table %q does not hold %q", text, part)
		}
	}
}
