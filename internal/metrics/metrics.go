// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics is what Ingot tells Prometheus, all of it in one place. What happens is counted when it happens; how
// things are is read from the manager's cache when somebody asks. No metric is about a single machine: their number
// depends on how many endpoints there are. Nothing here writes, and nothing here asks a platform. docs/metrics.md describes
// every metric, and a test compares it with what is really exported.
package metrics

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The labels.
const (
	labelEndpoint = "endpoint"
	labelState    = "state"
	labelPhase    = "phase"
	labelVerb     = "verb"
	labelResult   = "result"
)

// Sources are where what is read at each scrape comes from.
type Sources struct {
	// Reader reads from the manager's cache.
	Reader client.Reader
	// Elected is closed once this manager leads. Those that stand by tell nothing, so that a sum counts nothing twice.
	Elected <-chan struct{}
	// WatchFilterValue is the value of the watch filter label that objects must have; empty means all objects.
	WatchFilterValue string
	// Clock is the time.
	Clock clock.PassiveClock
	// Log is told when the cache cannot be read.
	Log logr.Logger
}

// Turns visits every endpoint where machines take turns: how many are in the making, how many wait, and how long the
// first of those has waited.
type Turns func(visit func(endpoint string, making, waiting int, longest time.Duration))

// Metrics are all metrics of the manager's infrastructure role. It is one prometheus.Collector, safe for concurrent use.
type Metrics struct {
	sources  Sources
	families families

	phases       *prometheus.HistogramVec
	waits        *prometheus.HistogramVec
	calls        *prometheus.CounterVec
	callDuration *prometheus.HistogramVec
	rpcs         *prometheus.CounterVec
	rpcDuration  *prometheus.HistogramVec

	mu       sync.Mutex
	turns    Turns                   // nil until TurnsFrom
	orphans  map[string]int          // by endpoint, as far as it was told
	circuits map[string]bool         // whether they are open, by endpoint; those that never were are missing
	making   map[types.UID]time.Time // when machines that have not joined yet were seen provisioned
}

// New returns the metrics. They count from now on, and are seen once they are registered.
func New(sources Sources) *Metrics {
	return &Metrics{
		sources:  sources,
		families: newFamilies(),
		phases: histogram("ingot_machine_phase_duration_seconds",
			"How long the phases of a machine's creation took. A machine counts once, when its phases are over.",
			[]float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600}, labelPhase),
		waits: histogram("ingot_create_wait_seconds",
			"How long machines waited for their turn to be made on the endpoint (spec.budget.createsInFlight).",
			[]float64{0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}, labelEndpoint),
		calls: counter("ingot_platform_calls_total",
			"Calls of the platform port, by how they ended.", labelEndpoint, labelVerb, labelResult),
		callDuration: histogram("ingot_platform_call_duration_seconds",
			"How long calls of the platform port took.",
			[]float64{0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60, 180}, labelEndpoint, labelVerb),
		rpcs: counter("ingot_platform_rpcs_total",
			"Exchanges with the endpoint that the calls are made of, by how they ended.", labelEndpoint, labelVerb, labelResult),
		rpcDuration: histogram("ingot_platform_rpc_duration_seconds",
			"How long exchanges with the endpoint took.",
			[]float64{0.001, 0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60, 180}, labelEndpoint),
		orphans:  map[string]int{},
		circuits: map[string]bool{},
		making:   map[types.UID]time.Time{},
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Register registers the metrics and returns the function that takes them out again.
func (m *Metrics) Register(registerer prometheus.Registerer) (unregister func(), err error) {
	if err := registerer.Register(m); err != nil {
		return nil, err
	}
	return func() { registerer.Unregister(m) }, nil
}

// TurnsFrom says who knows which machines take turns.
func (m *Metrics) TurnsFrom(turns Turns) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns = turns
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.counted() {
		c.Describe(descriptions)
	}
	for _, family := range m.families.all() {
		descriptions <- family
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(samples chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(samples)
	}
	m.collectInventory(samples)
}

func (m *Metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.phases, m.waits, m.calls, m.callDuration, m.rpcs, m.rpcDuration}
}
