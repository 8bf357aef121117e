// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package placement decides which PlatformEndpoint a machine is put on. Its functions are pure: they take what exists
// and what is used, and return an endpoint or a refusal that says what each endpoint lacks. Nothing here reads, writes
// or reserves.
package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// Needs is what a machine needs of its endpoint.
type Needs struct {
	// EndpointName is the endpoint that the machine names; empty when it selects one.
	EndpointName string
	// Platform is the platform that the machine is made for.
	Platform ingotv1.ArtefactPlatform
	// Selector selects endpoints where none is named.
	Selector *metav1.LabelSelector
	// FailureDomain is the failure domain that the machine must be in; empty means any.
	FailureDomain string
	// CPUs and MemoryBytes are the size of the machine.
	CPUs        int32
	MemoryBytes int64
	// ControlPlane is whether the machine may use what is reserved for control planes.
	ControlPlane bool
	// Said is where inside a vCenter the machine itself wants to be.
	Said infrav1.VSpherePlacement
}

// Usage is what machines have together.
type Usage struct {
	// CPUs, MemoryBytes and Machines are the totals of all machines on the endpoint.
	CPUs        int64
	MemoryBytes int64
	Machines    int
}

// Add returns the usage with one more machine.
func (u Usage) Add(cpus int32, memoryBytes int64) Usage {
	return Usage{CPUs: u.CPUs + int64(cpus), MemoryBytes: u.MemoryBytes + memoryBytes, Machines: u.Machines + 1}
}

// Candidate is one endpoint that exists.
type Candidate struct {
	// Endpoint is the endpoint.
	Endpoint *ingotv1.PlatformEndpoint
	// Allowed is whether the machine's namespace may use it.
	Allowed bool
	// Ready is whether it answers.
	Ready bool
	// Used is what the machines have that are placed there already.
	Used Usage
}

// Refusal says why a machine cannot be placed.
type Refusal struct {
	// Reason is one of the endpoint reasons of IngotMachine's Placed condition.
	Reason string
	// Message names endpoint and field, and says what to do.
	Message string
	// Passing is whether it may pass without anybody doing something: room is made by machines that go.
	Passing bool
}

// Choose returns the endpoint for a machine, and where the machine is put, which is to be pinned. candidates are the
// endpoints that exist; their order does not matter.
func Choose(needs Needs, candidates []Candidate) (*ingotv1.PlatformEndpoint, infrav1.MachinePlacement, *Refusal) {
	choose := selected
	if needs.EndpointName != "" {
		choose = named
	}
	endpoint, refusal := choose(needs, candidates)
	if refusal != nil {
		return nil, infrav1.MachinePlacement{}, refusal
	}
	placed, refusal := domain(needs, endpoint)
	return endpoint, placed, refusal
}

// named checks the one endpoint that the machine names. One that does not answer at the moment is still the one.
func named(needs Needs, candidates []Candidate) (*ingotv1.PlatformEndpoint, *Refusal) {
	i := slices.IndexFunc(candidates, func(c Candidate) bool { return c.Endpoint.Name == needs.EndpointName })
	if i < 0 {
		return nil, &Refusal{
			Reason:  infrav1.EndpointNotFoundReason,
			Message: fmt.Sprintf("PlatformEndpoint %s does not exist: create it", needs.EndpointName),
		}
	}
	if refusal := fit(needs, candidates[i]); refusal != nil {
		return nil, refusal
	}
	return candidates[i].Endpoint, nil
}

// selected chooses the endpoint with the most room among those that fit.
func selected(needs Needs, candidates []Candidate) (*ingotv1.PlatformEndpoint, *Refusal) {
	selector, err := metav1.LabelSelectorAsSelector(needs.Selector)
	if err != nil {
		return nil, &Refusal{Reason: infrav1.NoEndpointReason, Message: fmt.Sprintf("%s cannot be read: %s", needs.selectorField(), err)}
	}
	var fitting []Candidate
	var lacks []string
	passing, matched := false, 0
	for _, c := range candidates {
		if !selector.Matches(labels.Set(c.Endpoint.Labels)) {
			continue
		}
		matched++
		refusal := fit(needs, c)
		if refusal == nil && !c.Ready {
			refusal = &Refusal{Message: fmt.Sprintf("PlatformEndpoint %s does not answer", c.Endpoint.Name), Passing: true}
		}
		if refusal == nil {
			fitting = append(fitting, c)
			continue
		}
		passing = passing || refusal.Passing
		lacks = append(lacks, refusal.Message)
	}
	if len(fitting) > 0 {
		return roomiest(fitting), nil
	}
	refusal := &Refusal{Reason: infrav1.NoEndpointReason, Passing: passing, Message: lacking(needs.selectorField(), matched, lacks)}
	if passing {
		refusal.Reason = infrav1.EndpointFullReason
	}
	return nil, refusal
}

// lacking says what each of the matched endpoints lacks.
func lacking(field string, matched int, lacks []string) string {
	if matched == 0 {
		return "no PlatformEndpoint matches " + field + ": label one, or change the selector"
	}
	const few = 5
	slices.Sort(lacks)
	more := ""
	if len(lacks) > few {
		more = fmt.Sprintf("; and %d more", len(lacks)-few)
		lacks = lacks[:few]
	}
	return fmt.Sprintf("none of the %d PlatformEndpoints that match %s can take the machine: %s%s", matched, field, strings.Join(lacks, "; "), more)
}

// selectorField is the field that selects.
func (n Needs) selectorField() string {
	return "spec.platform." + string(n.platform()) + ".endpointSelector"
}

// platform is the platform of the machine; libvirt unless it says otherwise.
func (n Needs) platform() ingotv1.ArtefactPlatform {
	return cmp.Or(n.Platform, ingotv1.ArtefactPlatformLibvirt)
}

// platformOf is the platform of an endpoint.
func platformOf(e *ingotv1.PlatformEndpoint) ingotv1.ArtefactPlatform {
	if e.Spec.VSphere.Server != "" {
		return ingotv1.ArtefactPlatformVSphere
	}
	return ingotv1.ArtefactPlatformLibvirt
}

// fit checks one endpoint against everything that a machine needs but an answer.
func fit(needs Needs, c Candidate) *Refusal {
	e := c.Endpoint
	switch {
	case !c.Allowed:
		return &Refusal{Reason: infrav1.EndpointNotAllowedReason, Message: fmt.Sprintf(
			"the namespace may not use PlatformEndpoint %s: add it to spec.allowedNamespaces there", e.Name)}
	case platformOf(e) != needs.platform():
		return &Refusal{Reason: infrav1.NoEndpointReason, Message: fmt.Sprintf(
			"PlatformEndpoint %s is for %s, and the machine has spec.platform.%s", e.Name, platformOf(e), needs.platform())}
	case !e.DeletionTimestamp.IsZero():
		return &Refusal{Reason: infrav1.NoEndpointReason, Message: fmt.Sprintf("PlatformEndpoint %s is being deleted", e.Name)}
	case e.Spec.Unschedulable != nil && *e.Spec.Unschedulable:
		return &Refusal{Reason: infrav1.NoEndpointReason, Message: fmt.Sprintf(
			"PlatformEndpoint %s takes no new machines: unset spec.unschedulable there", e.Name)}
	}
	if _, refusal := domain(needs, e); refusal != nil {
		return refusal
	}
	limits := limitsOf(e)
	if missing := limits.lacks(needs, c.Used); missing != "" {
		return &Refusal{Reason: infrav1.EndpointFullReason, Passing: true, Message: fmt.Sprintf("PlatformEndpoint %s is full: %s", e.Name, missing)}
	}
	return nil
}

// limits are what machines may have together; 0 means no limit.
type limits struct {
	cpus, memoryBytes int64
	reservedPercent   int64
}

func limitsOf(e *ingotv1.PlatformEndpoint) limits {
	l := limits{cpus: int64(e.Spec.Capacity.CPUs)}
	if p := e.Spec.Capacity.ReservedForControlPlanePercent; p != nil {
		l.reservedPercent = int64(*p)
	}
	if m := e.Spec.Capacity.Memory; m != nil {
		l.memoryBytes = m.Value()
	} else if m := e.Status.Capacity.Memory; m != nil {
		l.memoryBytes = m.Value()
	}
	return l
}

// lacks says what there is not enough of, or nothing.
func (l limits) lacks(needs Needs, used Usage) string {
	percent := int64(100)
	kept := ""
	if !needs.ControlPlane && l.reservedPercent > 0 {
		percent -= l.reservedPercent
		kept = fmt.Sprintf(" (%d %% are kept for control planes)", l.reservedPercent)
	}
	after := used.Add(needs.CPUs, needs.MemoryBytes)
	if limit := l.cpus * percent / 100; l.cpus > 0 && after.CPUs > limit {
		return fmt.Sprintf("the machine needs %d CPUs, and %d of %d%s are used", needs.CPUs, used.CPUs, limit, kept)
	}
	if limit := l.memoryBytes * percent / 100; l.memoryBytes > 0 && after.MemoryBytes > limit {
		return fmt.Sprintf("the machine needs %d MiB of memory, and %d of %d MiB%s are used", needs.MemoryBytes>>20, used.MemoryBytes>>20, limit>>20, kept)
	}
	return ""
}

// roomiest returns the candidate with the largest free part of its memory; of equals the one with fewer machines, then
// by name, so that the choice never depends on the order of a list.
func roomiest(fitting []Candidate) *ingotv1.PlatformEndpoint {
	best := slices.MinFunc(fitting, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(fullness(a), fullness(b)),
			cmp.Compare(a.Used.Machines, b.Used.Machines),
			cmp.Compare(a.Endpoint.Name, b.Endpoint.Name),
		)
	})
	return best.Endpoint
}

// fullness is the used part of the memory, 0 to 1; 0 where no limit is known.
func fullness(c Candidate) float64 {
	l := limitsOf(c.Endpoint)
	if l.memoryBytes <= 0 {
		return 0
	}
	return float64(c.Used.MemoryBytes) / float64(l.memoryBytes)
}
