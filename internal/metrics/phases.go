// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// Phases are the phases of a machine's creation, in order. One begins where the one before it ends; Total is all of them.
const (
	PhasePlacement = "placement"
	PhaseImage     = "image"
	PhaseAddresses = "addresses"
	PhaseBootstrap = "bootstrap"
	PhaseInstance  = "instance"
	PhaseJoin      = "join"
	PhaseTotal     = "total"
)

// Phases are the values of the label phase.
func Phases() []string {
	return []string{PhasePlacement, PhaseImage, PhaseAddresses, PhaseBootstrap, PhaseInstance, PhaseJoin, PhaseTotal}
}

// forgetMaking is how long a machine that was provisioned may take to join and still be counted.
const forgetMaking = 24 * time.Hour

// Span is how long a phase took.
type Span struct {
	// Phase is the phase.
	Phase string
	// Took is how long it took, to the second.
	Took time.Duration
}

// Spans are the phases of a machine that are over, in order, as its conditions tell when each ended. A phase that the
// machine does not have is left out. A condition that became True once more later does not make a phase begin before the
// one before it ended.
func Spans(m *infrav1.IngotMachine) []Span {
	var spans []Span
	begin := m.CreationTimestamp.Time
	for _, phase := range []struct {
		name string
		ends []string
	}{
		{PhasePlacement, []string{infrav1.ImageResolvedCondition, infrav1.PlacedCondition}},
		{PhaseImage, []string{infrav1.ImageReplicatedCondition}},
		{PhaseAddresses, []string{infrav1.AddressesClaimedCondition}},
		{PhaseBootstrap, []string{infrav1.BootstrapAvailableCondition}},
		{PhaseInstance, []string{infrav1.InstanceReadyCondition}},
		{PhaseJoin, []string{infrav1.NodeJoinedCondition}},
	} {
		end, over := begin, true
		for _, condition := range phase.ends {
			c := conditions.Get(m, condition)
			over = over && c != nil && c.Status == metav1.ConditionTrue
			if over && c.LastTransitionTime.After(end) {
				end = c.LastTransitionTime.Time
			}
		}
		if over {
			spans = append(spans, Span{Phase: phase.name, Took: end.Sub(begin)})
			begin = end
		}
	}
	if finished(m) {
		spans = append(spans, Span{Phase: PhaseTotal, Took: begin.Sub(m.CreationTimestamp.Time)})
	}
	return spans
}

// Reported takes what a pass over a machine changed, once it is written: the machine before, after, and its owner. Phases
// are counted by the pass that ends them, so that a manager that starts anew counts nothing twice: those until the first
// address when the machine becomes provisioned, the others when its Node joins. A machine that moved here from another
// management cluster was not made here; it is known by the provider ID that its owner has. Nor is the join counted of a
// machine whose first address another manager saw.
func (m *Metrics) Reported(before, after *infrav1.IngotMachine, owner *clusterv1.Machine) {
	switch {
	case provisioned(after) && !provisioned(before):
		if owner != nil && owner.Spec.ProviderID == "" && m.begins(after.UID) {
			m.observe(after, PhasePlacement, PhaseImage, PhaseAddresses, PhaseBootstrap, PhaseInstance)
		}
	case finished(after) && !finished(before):
		if m.ends(after.UID) {
			m.observe(after, PhaseJoin, PhaseTotal)
		}
	}
}

func (m *Metrics) observe(machine *infrav1.IngotMachine, phases ...string) {
	wanted := map[string]bool{}
	for _, phase := range phases {
		wanted[phase] = true
	}
	for _, span := range Spans(machine) {
		if wanted[span.Phase] {
			m.phases.WithLabelValues(span.Phase).Observe(span.Took.Seconds())
		}
	}
}

// begins notes that a machine is provisioned and returns whether that is news: a pass that works with an old copy of the
// machine sees it happen once more.
func (m *Metrics) begins(uid types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.sources.Clock.Now()
	maps.DeleteFunc(m.making, func(_ types.UID, since time.Time) bool { return now.Sub(since) > forgetMaking })
	if _, known := m.making[uid]; known {
		return false
	}
	m.making[uid] = now
	return true
}

// ends returns whether the join of a machine is to be counted, once.
func (m *Metrics) ends(uid types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.making[uid]
	delete(m.making, uid)
	return known
}

// Waited takes how long a machine waited for its turn on an endpoint.
func (m *Metrics) Waited(endpoint string, wait time.Duration) {
	m.waits.WithLabelValues(endpoint).Observe(wait.Seconds())
}

func provisioned(m *infrav1.IngotMachine) bool {
	return ptr.Deref(m.Status.Initialization.Provisioned, false)
}
