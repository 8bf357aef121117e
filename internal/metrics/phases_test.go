// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
)

func start() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// becameTrue is a machine that was made at start, with conditions that became True so many seconds later.
func becameTrue(after map[string]int) *infrav1.IngotMachine {
	m := &infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{UID: "u", CreationTimestamp: metav1.NewTime(start())}}
	for condition, seconds := range after {
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(start().Add(time.Duration(seconds) * time.Second)),
		})
	}
	return m
}

// life is how a machine comes to be, as TestSpans and TestReported have it.
func life() map[string]int {
	return map[string]int{
		infrav1.ImageResolvedCondition: 1, infrav1.PlacedCondition: 3, infrav1.ImageReplicatedCondition: 63,
		infrav1.AddressesClaimedCondition: 64, infrav1.BootstrapAvailableCondition: 70, infrav1.InstanceReadyCondition: 100,
		infrav1.NodeJoinedCondition: 190,
	}
}

func without(conditions map[string]int, names ...string) map[string]int {
	for _, name := range names {
		delete(conditions, name)
	}
	return conditions
}

func with(conditions map[string]int, name string, seconds int) map[string]int {
	conditions[name] = seconds
	return conditions
}

func TestSpans(t *testing.T) {
	for name, c := range map[string]struct {
		why  string
		true map[string]int
		want string
	}{
		"a whole life": {
			"the phases follow each other, and together they are the total", life(),
			"[{placement 3s} {image 1m0s} {addresses 1s} {bootstrap 6s} {instance 30s} {join 1m30s} {total 3m10s}]",
		},
		"no addresses from pools": {
			"a machine without such addresses has no such phase", without(life(), infrav1.AddressesClaimedCondition),
			"[{placement 3s} {image 1m0s} {bootstrap 7s} {instance 30s} {join 1m30s} {total 3m10s}]",
		},
		"not joined yet": {
			"what is not over is not told", without(life(), infrav1.NodeJoinedCondition),
			"[{placement 3s} {image 1m0s} {addresses 1s} {bootstrap 6s} {instance 30s}]",
		},
		"nothing over yet": {"what is not over is not told", map[string]int{infrav1.ImageResolvedCondition: 1}, "[]"},
		"the image was revoked for a while, later": {
			"no phase takes less than no time", with(life(), infrav1.ImageResolvedCondition, 80),
			"[{placement 1m20s} {image 0s} {addresses 0s} {bootstrap 0s} {instance 20s} {join 1m30s} {total 3m10s}]",
		},
		"the data was there before the image": {
			"phases are told in the order in which machines go through them", with(life(), infrav1.BootstrapAvailableCondition, 10),
			"[{placement 3s} {image 1m0s} {addresses 1s} {bootstrap 0s} {instance 36s} {join 1m30s} {total 3m10s}]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(metrics.Spans(becameTrue(c.true))); got != c.want {
				t.Errorf("got %s\nwant %s: %s", got, c.want, c.why)
			}
		})
	}
}

// reporter reports passes as the reconciler does.
type reporter struct {
	*metrics.Metrics
	clock    *clocktesting.FakePassiveClock
	registry *prometheus.Registry
}

func newReporter(t *testing.T) *reporter {
	t.Helper()
	r := &reporter{clock: clocktesting.NewFakePassiveClock(start()), registry: prometheus.NewRegistry()}
	r.Metrics = metrics.New(metrics.Sources{Clock: r.clock})
	if _, err := r.Register(r.registry); err != nil {
		t.Fatal(err)
	}
	return r
}

// observed are the phases that were counted, and how often.
func (r *reporter) observed(t *testing.T) string {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var phases []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			phases = append(phases, fmt.Sprintf("%s %d", m.GetLabel()[0].GetValue(), m.GetHistogram().GetSampleCount()))
		}
	}
	slices.Sort(phases)
	return fmt.Sprint(phases)
}

func provisioned(m *infrav1.IngotMachine) *infrav1.IngotMachine {
	m.Status.Initialization.Provisioned = new(true)
	return m
}

// A phase is counted once per machine, whatever happens to the manager: a histogram that counts twice makes every
// percentile wrong, and nobody can tell afterwards.
func TestReported(t *testing.T) {
	const made = "[addresses 1 bootstrap 1 image 1 instance 1 placement 1]"
	const joined = "[addresses 1 bootstrap 1 image 1 instance 1 join 1 placement 1 total 1]"
	making := becameTrue(without(life(), infrav1.NodeJoinedCondition, infrav1.InstanceReadyCondition))
	runs := provisioned(becameTrue(without(life(), infrav1.NodeJoinedCondition)))
	done := provisioned(becameTrue(life()))
	owner := &clusterv1.Machine{}
	known := &clusterv1.Machine{Spec: clusterv1.MachineSpec{ProviderID: "ingot://u"}}
	for name, c := range map[string]struct {
		why  string
		tell func(*reporter)
		want string
	}{
		"made, and joined": {"the life of a machine", func(r *reporter) {
			r.Reported(making, runs, owner)
			r.Reported(runs, done, known)
		}, joined},
		"passes in which nothing ends": {"a stable machine is no news", func(r *reporter) {
			r.Reported(making, making, owner)
			r.Reported(runs, runs, known)
			r.Reported(done, done, known)
		}, "[]"},
		"a pass with an old copy": {"the cache lags behind", func(r *reporter) {
			r.Reported(making, runs, owner)
			r.Reported(making, runs, owner)
		}, made},
		"a Node that joins twice": {"a condition may come back", func(r *reporter) {
			r.Reported(making, runs, owner)
			r.Reported(runs, done, known)
			r.Reported(done, runs, known)
			r.Reported(runs, done, known)
		}, joined},
		"another manager saw the first address": {"after a restart nobody can tell whether the machine was made here", func(r *reporter) {
			r.Reported(runs, done, known)
		}, "[]"},
		"moved from another management cluster": {"its object is new, and the machine is not", func(r *reporter) {
			r.Reported(becameTrue(nil), runs, known)
			r.Reported(runs, done, known)
		}, "[]"},
		"moved, and everything found in one pass": {"its object is new, and the machine is not", func(r *reporter) {
			r.Reported(becameTrue(nil), done, known)
		}, "[]"},
		"the owner is gone": {"nobody waits for the machine", func(r *reporter) { r.Reported(making, runs, nil) }, "[]"},
		"a machine that takes days to join": {"what is remembered has an end", func(r *reporter) {
			r.Reported(making, runs, owner)
			r.clock.SetTime(start().Add(48 * time.Hour))
			other := runs.DeepCopy()
			other.UID = types.UID("other")
			r.Reported(making, other, owner)
			r.Reported(runs, done, known)
		}, "[addresses 2 bootstrap 2 image 2 instance 2 placement 2]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReporter(t)
			c.tell(r)
			if got := r.observed(t); got != c.want {
				t.Errorf("counted %s, want %s: %s", got, c.want, c.why)
			}
		})
	}
}
