// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// fleet is a small fleet in trouble: host-a works, host-b does not answer, host-c is on its way out.
func fleet() []client.Object {
	objects := []client.Object{
		builder.PlatformEndpoint("host-a", func(e *ingotv1.PlatformEndpoint) {
			e.Spec.Capacity = ingotv1.EndpointCapacity{CPUs: 8, Memory: new(resource.MustParse("16Gi"))}
			e.Status.Capacity = ingotv1.ObservedCapacity{CPUs: 64, Memory: new(resource.MustParse("256Gi"))}
			conditions.Set(e, metav1.Condition{Type: ingotv1.PlatformEndpointReadyCondition, Status: metav1.ConditionTrue, Reason: "Connected"})
		}),
		builder.PlatformEndpoint("host-b", func(e *ingotv1.PlatformEndpoint) {
			e.Status.Capacity = ingotv1.ObservedCapacity{CPUs: 32, Memory: new(resource.MustParse("64Gi"))}
			conditions.Set(e, metav1.Condition{Type: ingotv1.PlatformEndpointReadyCondition, Status: metav1.ConditionFalse, Reason: "Unreachable"})
		}),
		builder.PlatformEndpoint("host-c", func(e *ingotv1.PlatformEndpoint) {
			e.Finalizers, e.DeletionTimestamp = []string{ingotv1.PlatformEndpointFinalizer}, new(metav1.NewTime(start()))
			conditions.Set(e, metav1.Condition{Type: ingotv1.PlatformEndpointReadyCondition, Status: metav1.ConditionFalse, Reason: "InUse"})
		}),
		replica("one", "host-a", metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason, 3_000),
		replica("two", "host-a", metav1.ConditionTrue, ingotv1.ImageReplicaReadyReason, 4_000),
		replica("three", "host-b", metav1.ConditionFalse, ingotv1.ImageReplicaDigestMismatchReason, 0),
		machine("ready-1", "host-a", time.Hour, func(m *infrav1.IngotMachine) {
			isReady(m)
			verified(m, metav1.ConditionTrue, infrav1.ImageParsedReason)
		}),
		machine("ready-2", "host-a", time.Hour, func(m *infrav1.IngotMachine) {
			isReady(m)
			verified(m, metav1.ConditionFalse, infrav1.KernelMismatchReason)
		}),
		machine("queued-1", "host-a", 4*time.Minute, waitsFor(infrav1.InstanceQueuedReason)),
		machine("queued-2", "host-a", 9*time.Minute, waitsFor(infrav1.InstanceQueuedReason)),
		machine("lost", "host-b", time.Hour, func(m *infrav1.IngotMachine) { isReady(m); waitsFor(infrav1.InstanceGoneReason)(m) }),
		machine("leaving", "host-b", time.Hour, func(m *infrav1.IngotMachine) {
			isReady(m)
			verified(m, metav1.ConditionFalse, infrav1.KernelMismatchReason)
			m.Finalizers, m.DeletionTimestamp = []string{infrav1.IngotMachineFinalizer}, new(metav1.NewTime(start().Add(-2*time.Minute)))
		}),
		machine("nowhere", "", time.Minute, waitsFor(infrav1.EndpointFullReason)),
	}
	return objects
}

func machine(name, endpoint string, age time.Duration, change func(*infrav1.IngotMachine)) *infrav1.IngotMachine {
	return builder.IngotMachine(builder.Machine(name), "image", "any", func(m *infrav1.IngotMachine) {
		m.Namespace = "team"
		m.CreationTimestamp = metav1.NewTime(start().Add(-age))
		m.Spec.Placement.EndpointName = endpoint
		change(m)
	})
}

func isReady(m *infrav1.IngotMachine) {
	for _, condition := range []string{infrav1.NodeJoinedCondition, infrav1.ReadyCondition} {
		conditions.Set(m, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: "Fine"})
	}
}

func verified(m *infrav1.IngotMachine, status metav1.ConditionStatus, reason string) {
	conditions.Set(m, metav1.Condition{Type: infrav1.ImageVerifiedCondition, Status: status, Reason: reason})
}

func waitsFor(reason string) func(*infrav1.IngotMachine) {
	return func(m *infrav1.IngotMachine) {
		conditions.Set(m, metav1.Condition{Type: infrav1.ReadyCondition, Status: metav1.ConditionFalse, Reason: reason})
	}
}

func replica(image, endpoint string, status metav1.ConditionStatus, reason string, stored int64) *ingotv1.ImageReplica {
	return builder.ImageReplica(image, image, endpoint, func(r *ingotv1.ImageReplica) {
		r.Status.StoredBytes = stored
		conditions.Set(r, metav1.Condition{Type: ingotv1.ImageReplicaReadyCondition, Status: status, Reason: reason})
	})
}

func reader(t *testing.T, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{infrav1.AddToScheme, ingotv1.AddToScheme, clusterv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(objects...).Build()
}

func elected() <-chan struct{} {
	leads := make(chan struct{})
	close(leads)
	return leads
}

// measured are the metrics of the fleet after everything that can be counted was counted once.
func measured(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := metrics.New(metrics.Sources{
		Reader: reader(t, fleet()...), Elected: elected(), Clock: clocktesting.NewFakePassiveClock(start()), Log: logr.Discard(),
	})
	m.TurnsFrom(func(visit func(string, int, int, time.Duration)) {
		visit("host-a", 8, 2, 3*time.Minute)
		visit("host-x", 1, 0, 0)
	})
	m.Orphans("host-a", 0)
	m.Orphans("host-b", 70)
	m.Orphans("host-x", 1)
	m.Call("host-a", "Ensure", nil, time.Second)
	m.Call("host-b", "Observe", errors.Join(errors.New("dial"), platform.ErrUnreachable), 10*time.Second)
	m.Exchange("host-a", "start domain", nil, time.Millisecond)
	m.Waited("host-a", time.Minute)
	owner := builder.Machine("m")
	runs := provisioned(becameTrue(without(life(), infrav1.NodeJoinedCondition)))
	m.Reported(becameTrue(nil), runs, owner)
	m.Reported(runs, provisioned(becameTrue(life())), owner)
	return m
}

// What is exported of a fleet, number by number. Zeros are left out.
func TestAFleetIsTold(t *testing.T) {
	const want = `
ingot_create_longest_wait_seconds{endpoint="host-a"} 180
ingot_creates_in_flight{endpoint="host-a"} 8
ingot_creates_waiting{endpoint="host-a"} 2
ingot_endpoint_capacity_cpus{endpoint="host-a"} 8
ingot_endpoint_capacity_cpus{endpoint="host-b"} 32
ingot_endpoint_capacity_memory_bytes{endpoint="host-a"} 1.7179869184e+10
ingot_endpoint_capacity_memory_bytes{endpoint="host-b"} 6.8719476736e+10
ingot_endpoint_placed_cpus{endpoint="host-a"} 8
ingot_endpoint_placed_cpus{endpoint="host-b"} 4
ingot_endpoint_placed_memory_bytes{endpoint="host-a"} 1.7179869184e+10
ingot_endpoint_placed_memory_bytes{endpoint="host-b"} 8.589934592e+09
ingot_endpoint_up{endpoint="host-a"} 1
ingot_image_replica_bytes{endpoint="host-a"} 7000
ingot_image_replicas{endpoint="host-a",state="Ready"} 2
ingot_image_replicas{endpoint="host-b",state="Failed"} 1
ingot_machine_images{endpoint="host-a",state="Mismatch"} 1
ingot_machine_images{endpoint="host-a",state="Parsed"} 1
ingot_machine_unfinished_age_seconds{endpoint="",state="WaitingForRoom"} 60
ingot_machine_unfinished_age_seconds{endpoint="host-a",state="Queued"} 540
ingot_machine_unfinished_age_seconds{endpoint="host-b",state="Deleting"} 120
ingot_machines{endpoint="",state="WaitingForRoom"} 1
ingot_machines{endpoint="host-a",state="Queued"} 2
ingot_machines{endpoint="host-a",state="Ready"} 2
ingot_machines{endpoint="host-b",state="Deleting"} 1
ingot_machines{endpoint="host-b",state="Gone"} 1
ingot_orphans{endpoint="host-b"} 70
ingot_platform_calls_total{endpoint="host-a",result="ok",verb="Ensure"} 1
ingot_platform_calls_total{endpoint="host-b",result="unreachable",verb="Observe"} 1
ingot_platform_rpcs_total{endpoint="host-a",result="ok",verb="start domain"} 1
`
	registry := registered(t, measured(t))
	got := exposition(t, registry)
	var told []string
	for line := range strings.Lines(got) {
		line = strings.TrimSpace(line)
		if !strings.HasSuffix(line, " 0") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_sum") && !strings.Contains(line, "_count") {
			told = append(told, line)
		}
	}
	if got := strings.Join(told, "\n"); got != strings.TrimSpace(want) {
		t.Errorf("told:\n%s\nwant:\n%s", got, strings.TrimSpace(want))
	}
	for _, zero := range []string{
		`ingot_machines{endpoint="host-b",state="Ready"} 0`,       // a state that empties becomes 0
		`ingot_machines{endpoint="",state="Pending"} 0`,           // so that absent() means that nobody tells
		`ingot_endpoint_up{endpoint="host-b"} 0`,                  // no answer is down
		`ingot_endpoint_circuit_open{endpoint="host-b"} 0`,        // nothing that was left unanswered was told
		`ingot_orphans{endpoint="host-a"} 0`,                      // looked, and found none
		`ingot_creates_waiting{endpoint="host-b"} 0`,              // nobody ever waited there
		`ingot_image_replicas{endpoint="host-c",state="Ready"} 0`, // an endpoint without any
	} {
		if !strings.Contains(got, zero+"\n") {
			t.Errorf("%s is not told", zero)
		}
	}
	for _, untold := range []string{
		`endpoint="host-x"`,                   // not an endpoint of ours
		`ingot_endpoint_up{endpoint="host-c"`, // its condition speaks of its end, not of its connection
		`ingot_orphans{endpoint="host-c"`,     // nobody has looked
	} {
		if strings.Contains(got, untold) {
			t.Errorf("something is told of %s", untold)
		}
	}
}

func registered(t *testing.T, m *metrics.Metrics) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if _, err := m.Register(registry); err != nil {
		t.Fatal(err)
	}
	return registry
}

// Names, units and types are as those who write queries expect them.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	problems, err := testutil.GatherAndLint(registered(t, measured(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Two managers that both counted the fleet would double every sum.
func TestAManagerThatStandsByTellsNothing(t *testing.T) {
	standsBy := metrics.New(metrics.Sources{
		Reader: reader(t, fleet()...), Elected: make(chan struct{}), Clock: clocktesting.NewFakePassiveClock(start()), Log: logr.Discard(),
	})
	if got := exposition(t, registered(t, standsBy)); got != "" {
		t.Errorf("it tells:\n%s", got)
	}
}

// brokenReader is a cache that cannot be read.
type brokenReader struct{ client.Reader }

func (brokenReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("not synced")
}

// No machines and no idea are different answers; and the rest of the scrape must arrive.
func TestACacheThatCannotBeReadIsNoFleetOfZero(t *testing.T) {
	m := metrics.New(metrics.Sources{
		Reader: brokenReader{}, Elected: elected(), Clock: clocktesting.NewFakePassiveClock(start()), Log: logr.Discard(),
	})
	m.Waited("host-a", time.Second)
	got := exposition(t, registered(t, m))
	if strings.Contains(got, "ingot_machines") || !strings.Contains(got, "ingot_create_wait_seconds_count") {
		t.Errorf("told:\n%s", got)
	}
}

// Managers that share a management cluster by the watch filter label tell of what is theirs, and of all that takes room
// on their endpoints.
func TestTheWatchFilterIsKept(t *testing.T) {
	ours := func(o client.Object) client.Object {
		o.SetLabels(map[string]string{clusterv1.WatchLabel: "us"})
		return o
	}
	m := metrics.New(metrics.Sources{
		Reader: reader(t,
			ours(builder.PlatformEndpoint("host-a")), builder.PlatformEndpoint("host-b"),
			ours(machine("mine", "host-a", 0, isReady)), machine("other", "host-a", 0, isReady), machine("far", "host-b", 0, isReady),
			replica("one", "host-a", metav1.ConditionTrue, "Verified", 1), replica("two", "host-b", metav1.ConditionTrue, "Verified", 1)),
		Elected: elected(), WatchFilterValue: "us", Clock: clocktesting.NewFakePassiveClock(start()), Log: logr.Discard(),
	})
	got := exposition(t, registered(t, m))
	for _, want := range []string{
		`ingot_machines{endpoint="host-a",state="Ready"} 1`, `ingot_endpoint_placed_cpus{endpoint="host-a"} 4`,
		`ingot_image_replicas{endpoint="host-a",state="Ready"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is not told", want)
		}
	}
	if strings.Contains(got, "host-b") {
		t.Error("another manager's endpoint is told of")
	}
}

// An endpoint that is gone leaves nothing behind: series that nobody updates look like facts.
func TestAnEndpointThatIsGoneIsForgotten(t *testing.T) {
	m := measured(t)
	m.Forget("host-a")
	m.Orphans("host-a", 0) // the reconciler's last word on it
	registry := registered(t, m)
	for line := range strings.Lines(exposition(t, registry)) {
		for _, counted := range []string{"ingot_platform", "ingot_create_wait"} {
			if strings.HasPrefix(line, counted) && strings.Contains(line, `"host-a"`) {
				t.Errorf("still told: %s", line)
			}
		}
	}
}

// A manager may be started again in the same process, as tests do.
func TestRegisterAgain(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		unregister, err := measured(t).Register(registry)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := measured(t).Register(registry); err == nil {
			t.Error("two at a time would tell everything twice")
		}
		unregister()
	}
}

// Every error of the port has a result of its own: what is looked for in a graph is which.
func TestResults(t *testing.T) {
	for want, err := range map[string]error{
		"ok": nil, "foreign": platform.ErrForeign, "invalid": platform.ErrInvalid, "unsupported": platform.ErrUnsupported,
		"capacity": platform.ErrCapacity, "image_not_ready": platform.ErrImageNotReady, "digest": platform.ErrDigestMismatch,
		"source": platform.ErrSource, "in_use": platform.ErrInUse, "unreachable": platform.ErrUnreachable, "error": errors.New("else"),
	} {
		m := metrics.New(metrics.Sources{Elected: make(chan struct{})})
		m.Call("host", "Ensure", err, 0)
		if got := exposition(t, registered(t, m)); !strings.Contains(got, `ingot_platform_calls_total{endpoint="host",result="`+want+`",verb="Ensure"} 1`) {
			t.Errorf("%v is not counted as %s:\n%s", err, want, got)
		}
	}
	if n := len(metrics.Results()); n != 11 {
		t.Errorf("there are %d results, want 11", n)
	}
}
