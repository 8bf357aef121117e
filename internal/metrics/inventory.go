// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

// scrapeTimeout bounds the reading of the cache, which waits while it is being filled.
const scrapeTimeout = 5 * time.Second

// families are the descriptions of what is read from the cache.
type families struct {
	machines, unfinished, images                           *prometheus.Desc
	replicas, replicaBytes                                 *prometheus.Desc
	up, circuitOpen, orphans                               *prometheus.Desc
	capacityMemory, capacityCPUs, placedMemory, placedCPUs *prometheus.Desc
	createsInFlight, createsWaiting, createsLongest        *prometheus.Desc
}

func newFamilies() families {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{labelEndpoint}, labels...), nil)
	}
	return families{
		machines: gauge("ingot_machines",
			"IngotMachines by what they wait for or what is wrong with them. The endpoint is empty until one is chosen.", labelState),
		unfinished: gauge("ingot_machine_unfinished_age_seconds",
			"Age of the oldest machine whose Node has not joined; in state Deleting, time since the oldest deletion.", labelState),
		images: gauge("ingot_machine_images",
			"Machines whose Node has joined, by how what it runs compares with the pinned image: their ImageVerified condition.", labelState),
		replicas:        gauge("ingot_image_replicas", "ImageReplicas by state.", labelState),
		replicaBytes:    gauge("ingot_image_replica_bytes", "Room that image replicas take on the endpoint's storages."),
		up:              gauge("ingot_endpoint_up", "1 while the endpoint can be used, else 0: its Ready condition says why."),
		circuitOpen:     gauge("ingot_endpoint_circuit_open", "1 while the endpoint is not asked about machines because it left calls unanswered, else 0."),
		orphans:         gauge("ingot_orphans", "Objects with our owner token that belong to no IngotMachine, at the last look."),
		capacityMemory:  gauge("ingot_endpoint_capacity_memory_bytes", "Memory that machines may have together: spec.capacity.memory, or what the host has."),
		capacityCPUs:    gauge("ingot_endpoint_capacity_cpus", "CPUs that machines may have together: spec.capacity.cpus, or what the host has, which may be shared."),
		placedMemory:    gauge("ingot_endpoint_placed_memory_bytes", "Memory of the machines that are placed on the endpoint."),
		placedCPUs:      gauge("ingot_endpoint_placed_cpus", "CPUs of the machines that are placed on the endpoint."),
		createsInFlight: gauge("ingot_creates_in_flight", "Machines between the first call that makes something and their first address."),
		createsWaiting:  gauge("ingot_creates_waiting", "Machines that wait for their turn to be made."),
		createsLongest:  gauge("ingot_create_longest_wait_seconds", "How long the machine that has waited longest for its turn has waited."),
	}
}

func (f families) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		f.machines, f.unfinished, f.images, f.replicas, f.replicaBytes, f.up, f.circuitOpen, f.orphans, f.capacityMemory, f.capacityCPUs, f.placedMemory,
		f.placedCPUs, f.createsInFlight, f.createsWaiting, f.createsLongest,
	}
}

// listed is what the cache holds. The objects are the cache's own: they are only read.
type listed struct {
	machines  infrav1.IngotMachineList
	replicas  ingotv1.ImageReplicaList
	endpoints ingotv1.PlatformEndpointList
}

// collectInventory tells how things are. When that cannot be read it tells nothing: 0 would be a finding.
func (m *Metrics) collectInventory(samples chan<- prometheus.Metric) {
	select {
	case <-m.sources.Elected:
	default:
		return
	}
	all, err := m.list()
	if err != nil {
		m.sources.Log.Error(err, "metrics that are read from the cache are missing from this scrape")
		return
	}
	s := sink{samples: samples}
	m.machines(s, all)
	m.replicas(s, all)
	m.endpoints(s, all)
	m.creates(s, all)
}

func (m *Metrics) list() (listed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	var all listed
	for _, list := range []client.ObjectList{&all.machines, &all.replicas, &all.endpoints} {
		if err := m.sources.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return listed{}, fmt.Errorf("listing %T: %w", list, err)
		}
	}
	all.endpoints.Items = slices.DeleteFunc(all.endpoints.Items, func(e ingotv1.PlatformEndpoint) bool { return !m.ours(&e) })
	return all, nil
}

// ours is whether the object is this manager's business. Another one tells of the others.
func (m *Metrics) ours(o client.Object) bool {
	return m.sources.WatchFilterValue == "" || o.GetLabels()[clusterv1.WatchLabel] == m.sources.WatchFilterValue
}

// cell is where a machine or a replica is counted.
type cell struct{ endpoint, state string }

// machines tells of machines by state. Each endpoint has each state, so that a state that empties becomes 0; so has the
// empty one, for machines that are on none.
func (m *Metrics) machines(s sink, all listed) {
	count := cells(all.endpoints.Items, MachineStates(), "")
	images := cells(all.endpoints.Items, ImageStates(), "")
	oldest := map[cell]float64{}
	now := m.sources.Clock.Now()
	for i := range all.machines.Items {
		machine := &all.machines.Items[i]
		if !m.ours(machine) {
			continue
		}
		at := cell{endpoint: inventory.EndpointOf(machine), state: MachineState(machine)}
		count[at]++
		if verified, judged := ImageState(machine); judged {
			images[cell{at.endpoint, verified}]++
		}
		switch {
		case at.state == StateDeleting:
			oldest[at] = max(oldest[at], now.Sub(machine.DeletionTimestamp.Time).Seconds())
		case !finished(machine):
			oldest[at] = max(oldest[at], now.Sub(machine.CreationTimestamp.Time).Seconds())
		}
	}
	s.cells(m.families.machines, count)
	s.cells(m.families.images, images)
	s.cells(m.families.unfinished, oldest)
}

// replicas tells of the replicas of the endpoints that there are: no endpoint goes before its replicas.
func (m *Metrics) replicas(s sink, all listed) {
	count := cells(all.endpoints.Items, ReplicaStates())
	bytes := map[string]float64{}
	for i := range all.endpoints.Items {
		bytes[all.endpoints.Items[i].Name] = 0
	}
	for i := range all.replicas.Items {
		replica := &all.replicas.Items[i]
		endpoint := replica.Spec.EndpointName
		if _, known := bytes[endpoint]; known {
			count[cell{endpoint, ReplicaState(replica)}]++
			bytes[endpoint] += float64(replica.Status.StoredBytes)
		}
	}
	s.cells(m.families.replicas, count)
	for endpoint, n := range bytes {
		s.gauge(m.families.replicaBytes, n, endpoint)
	}
}

// endpoints tells of endpoints, and of what machines have of them, whoever's they are.
func (m *Metrics) endpoints(s sink, all listed) {
	memory, cpus := map[string]float64{}, map[string]float64{}
	for i := range all.machines.Items {
		machine := &all.machines.Items[i]
		endpoint := inventory.EndpointOf(machine)
		memory[endpoint] += float64(machine.Spec.Resources.Memory.Value())
		cpus[endpoint] += float64(machine.Spec.Resources.CPUs)
	}
	m.mu.Lock()
	orphans, circuits := maps.Clone(m.orphans), maps.Clone(m.circuits)
	m.mu.Unlock()
	for i := range all.endpoints.Items {
		e := &all.endpoints.Items[i]
		if usable, told := up(e); told {
			s.gauge(m.families.up, usable, e.Name)
		}
		open := 0.0
		if circuits[e.Name] {
			open = 1
		}
		s.gauge(m.families.circuitOpen, open, e.Name)
		if n, told := orphans[e.Name]; told {
			s.gauge(m.families.orphans, float64(n), e.Name)
		}
		if n := capacityMemory(e); n > 0 {
			s.gauge(m.families.capacityMemory, n, e.Name)
		}
		if n := capacityCPUs(e); n > 0 {
			s.gauge(m.families.capacityCPUs, n, e.Name)
		}
		s.gauge(m.families.placedMemory, memory[e.Name], e.Name)
		s.gauge(m.families.placedCPUs, cpus[e.Name], e.Name)
	}
}

// creates tells of the turns to be made, of all endpoints: without a turn taken there is nothing to wait for.
func (m *Metrics) creates(s sink, all listed) {
	type lane struct{ making, waiting, longest float64 }
	lanes := map[string]lane{}
	m.mu.Lock()
	turns := m.turns
	m.mu.Unlock()
	if turns == nil {
		return
	}
	turns(func(endpoint string, making, waiting int, longest time.Duration) {
		lanes[endpoint] = lane{float64(making), float64(waiting), longest.Seconds()}
	})
	for i := range all.endpoints.Items {
		name := all.endpoints.Items[i].Name
		s.gauge(m.families.createsInFlight, lanes[name].making, name)
		s.gauge(m.families.createsWaiting, lanes[name].waiting, name)
		s.gauge(m.families.createsLongest, lanes[name].longest, name)
	}
}

// up is whether an endpoint can be used, once that was told. One that waits for its machines to go is used by them, and
// is down only when it says so of the connection.
func up(e *ingotv1.PlatformEndpoint) (value float64, told bool) {
	ready := conditions.Get(e, ingotv1.PlatformEndpointReadyCondition)
	if ready == nil || ready.Reason == ingotv1.PlatformEndpointInUseReason {
		return 0, false
	}
	if conditions.IsTrue(e, ingotv1.PlatformEndpointReadyCondition) {
		return 1, true
	}
	return 0, true
}

func capacityMemory(e *ingotv1.PlatformEndpoint) float64 {
	limit := e.Spec.Capacity.Memory
	if limit == nil {
		limit = e.Status.Capacity.Memory
	}
	if limit == nil {
		return 0
	}
	return float64(limit.Value())
}

func capacityCPUs(e *ingotv1.PlatformEndpoint) float64 {
	if limit := e.Spec.Capacity.CPUs; limit > 0 {
		return float64(limit)
	}
	return float64(e.Status.Capacity.CPUs)
}

// cells are the states of each endpoint, all 0.
func cells(endpoints []ingotv1.PlatformEndpoint, states []string, further ...string) map[cell]float64 {
	names := further
	for i := range endpoints {
		names = append(names, endpoints[i].Name)
	}
	empty := map[cell]float64{}
	for _, endpoint := range names {
		for _, state := range states {
			empty[cell{endpoint, state}] = 0
		}
	}
	return empty
}

// sink takes samples.
type sink struct{ samples chan<- prometheus.Metric }

func (s sink) gauge(family *prometheus.Desc, value float64, labels ...string) {
	s.samples <- prometheus.MustNewConstMetric(family, prometheus.GaugeValue, value, labels...)
}

func (s sink) cells(family *prometheus.Desc, values map[cell]float64) {
	for at, value := range values {
		s.gauge(family, value, at.endpoint, at.state)
	}
}
