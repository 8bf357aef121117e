// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// machineFacts turns the Machines into what the planner knows of them.
func (s *snapshot) machineFacts(now time.Time) []plan.Machine {
	var facts []plan.Machine
	for _, m := range s.machines {
		fact := plan.Machine{
			Name:              m.Name,
			Deleting:          !m.DeletionTimestamp.IsZero(),
			Version:           m.Spec.Version,
			RemediationWanted: remediationWanted(m),
			Created:           m.CreationTimestamp,
			Node:              m.Status.NodeRef.Name,
			Remediation:       plan.Judge(s.cp.Spec.Remediation, remediationFor(m), now),
			Trouble:           cmp.Or(nodeTrouble(m), s.componentTrouble(m)),
			Due:               due(s.cp.Spec.Rollout, m, now),
			WaitsForUs:        waitsForUs(m),
			DeletionWanted:    hasAnnotation(m, clusterv1.DeleteMachineAnnotation),
			FailureDomain:     m.Spec.FailureDomain,
			RestoredFrom:      m.Annotations[controlplanev1.RestoredFromAnnotation],
		}
		if m.Status.NodeInfo != nil {
			fact.KubeletVersion = m.Status.NodeInfo.KubeletVersion
		}
		if infra := s.infraMachine(m); infra != nil {
			fact.ClonedFrom = clonedFrom(infra)
		}
		if config := s.configs[m.Spec.Bootstrap.ConfigRef.Name]; config != nil {
			fact.Config = &config.Spec
		}
		facts = append(facts, fact)
	}
	return facts
}

// remediationWanted is whether a MachineHealthCheck found the Machine unhealthy and leaves it to its owner.
func remediationWanted(m *clusterv1.Machine) bool {
	return conditions.IsFalse(m, clusterv1.MachineHealthCheckSucceededCondition) &&
		conditions.IsFalse(m, clusterv1.MachineOwnerRemediatedCondition)
}

// due are the reasons of time to replace a Machine.
func due(rollout controlplanev1.RolloutSpec, m *clusterv1.Machine, now time.Time) []string {
	var list []string
	if after := rollout.After.Time; !after.IsZero() && !now.Before(after) && m.CreationTimestamp.Time.Before(after) {
		list = append(list, "it is older than spec.rollout.after")
	}
	if days := rollout.Before.CertificatesExpiryDays; days > 0 && expires(m, time.Duration(days)*24*time.Hour, now) {
		list = append(list, fmt.Sprintf("its certificates end on %s, and spec.rollout.before.certificatesExpiryDays is %d", m.Status.CertificatesExpiryDate.UTC().Format(time.DateOnly), days))
	}
	return list
}

// expires is whether the certificates of a Machine are known to end within a time.
func expires(m *clusterv1.Machine, within time.Duration, now time.Time) bool {
	end := m.Status.CertificatesExpiryDate.Time
	return !end.IsZero() && now.Add(within).After(end)
}

// nodeTrouble is what Cluster API says is wrong with the Node of a Machine, empty where nothing is or it cannot tell.
func nodeTrouble(m *clusterv1.Machine) string {
	healthy := conditions.Get(m, clusterv1.MachineNodeHealthyCondition)
	if healthy == nil || healthy.Status != metav1.ConditionFalse {
		return ""
	}
	return cmp.Or(healthy.Message, healthy.Reason)
}

func hasAnnotation(object metav1.Object, name string) bool {
	_, has := object.GetAnnotations()[name]
	return has
}

// infraMachine returns nil where the infrastructure machine is not seen.
func (s *snapshot) infraMachine(m *clusterv1.Machine) *metav1.PartialObjectMetadata {
	return s.infra[infraKey{m.Spec.InfrastructureRef.GroupKind(), m.Spec.InfrastructureRef.Name}]
}

func clonedFrom(infra *metav1.PartialObjectMetadata) plan.Template {
	return plan.Template{
		GroupKind: infra.Annotations[clusterv1.TemplateClonedFromGroupKindAnnotation],
		Name:      infra.Annotations[clusterv1.TemplateClonedFromNameAnnotation],
	}
}

// leftovers finds what was made for Machines that do not exist: objects that this control plane owns itself. As soon as
// a Machine exists, Cluster API makes it the owner instead.
func (s *snapshot) leftovers() []plan.Leftover {
	found := map[string]*plan.Leftover{}
	for _, infra := range s.leftoverInfra() {
		l := leftoverOf(found, infra.Name)
		l.ClonedFrom = clonedFrom(infra)
		l.Deleting = l.Deleting || !infra.DeletionTimestamp.IsZero()
	}
	for _, config := range s.configs {
		if s.isLeftover(config.ObjectMeta) {
			l := leftoverOf(found, config.Name)
			l.Config = &config.Spec
			l.RestoredFrom = config.Annotations[controlplanev1.RestoredFromAnnotation]
			l.Deleting = l.Deleting || !config.DeletionTimestamp.IsZero()
		}
	}
	var list []plan.Leftover
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list = append(list, *found[name])
	}
	return list
}

func leftoverOf(found map[string]*plan.Leftover, name string) *plan.Leftover {
	if found[name] == nil {
		found[name] = &plan.Leftover{Name: name}
	}
	return found[name]
}

func (s *snapshot) leftoverInfra() []*metav1.PartialObjectMetadata {
	var list []*metav1.PartialObjectMetadata
	for _, infra := range s.infra {
		if s.isLeftover(infra.ObjectMeta) {
			list = append(list, infra)
		}
	}
	slices.SortFunc(list, func(a, b *metav1.PartialObjectMetadata) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *snapshot) isLeftover(object metav1.ObjectMeta) bool {
	belongs := slices.ContainsFunc(s.machines, func(m *clusterv1.Machine) bool { return m.Name == object.Name })
	return !belongs && metav1.GetControllerOf(&object) == nil && ownedBy(object, s.cp.UID)
}

func ownedBy(object metav1.ObjectMeta, owner types.UID) bool {
	return slices.ContainsFunc(object.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == owner })
}
