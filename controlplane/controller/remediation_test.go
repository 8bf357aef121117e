// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

func remediationStories() map[string]func(*story) {
	return map[string]func(*story){
		"an unhealthy Machine is replaced as often as the spec allows": remediatesInARow,
		"time and certificates are reasons to replace":                 tellsDue,
		"Machines are called as the spec says":                         names,
		"a version that skips a minor one is refused":                  refusesSkippedVersion,
	}
}

// sicken does what a MachineHealthCheck does with a Machine that it finds unhealthy.
func (s *story) sicken(m *clusterv1.Machine) {
	s.Helper()
	s.machineStatus(m, func(m *clusterv1.Machine) {
		conditions.Set(m, metav1.Condition{Type: clusterv1.MachineHealthCheckSucceededCondition, Status: metav1.ConditionFalse, Reason: "UnhealthyNode"})
		conditions.Set(m, metav1.Condition{Type: clusterv1.MachineOwnerRemediatedCondition, Status: metav1.ConditionFalse, Reason: "WaitingForRemediation"})
	})
	s.etcd.members[s.etcd.index(plan.Member{ID: m.Name})].Healthy = false
}

// remediatesInARow: the record of a row travels over the control plane to each replacement, and the row ends at its limit.
func remediatesInARow(s *story) {
	s.beginInitialized()
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.Replicas = new(int32(3))
		cp.Spec.Remediation.MaxRetry = new(int32(1))
	})
	sick := s.grow(3)[2]
	for retries := range 2 {
		s.sicken(&sick)
		s.settle()
		if _, exists := get(s, sick.Name, &clusterv1.Machine{}); exists {
			s.Fatalf("the unhealthy Machine is kept: %+v", s.controlPlane().Status.Conditions)
		}
		s.loseMade(sick.Name)
		s.restart()
		before := s.machines()
		s.etcd.members = slices.DeleteFunc(s.etcd.members, func(m plan.Member) bool { return m.Name == sick.Name })
		for _, m := range s.grow(3) {
			if !slices.ContainsFunc(before, func(o clusterv1.Machine) bool { return o.Name == m.Name && o.Status.NodeRef.IsDefined() }) {
				sick = m
			}
		}
		record := sick.Annotations[controlplanev1.RemediationForAnnotation]
		if wanted := []string{`"machine":"demo-cp-`, `"retries":1`}; !strings.Contains(record, wanted[0]) || strings.Contains(record, wanted[1]) != (retries == 1) {
			s.Fatalf("the replacement carries record %q", record)
		}
	}
	s.sicken(&sick)
	s.settle()
	s.expectCondition(controlplanev1.RemediatingCondition, metav1.ConditionTrue, controlplanev1.RemediationExhaustedReason)
	kept, exists := get(s, sick.Name, &clusterv1.Machine{})
	if !exists || !strings.Contains(conditions.GetMessage(kept, clusterv1.MachineOwnerRemediatedCondition), "maxRetry") {
		s.Errorf("the Machine exists: %t; it says: %s", exists, conditions.GetMessage(kept, clusterv1.MachineOwnerRemediatedCondition))
	}
	s.expectQuiet()
}

func tellsDue(s *story) {
	m := s.beginInitialized()
	s.backups.Be(backup.Running{Phase: backup.Waiting})
	s.machineStatus(m, func(m *clusterv1.Machine) {
		m.Status.CertificatesExpiryDate = metav1.NewTime(s.clock.Now().Add(20 * 24 * time.Hour))
	})
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.Rollout.After = metav1.NewTime(s.clock.Now().Add(time.Hour))
		cp.Spec.Rollout.Before.CertificatesExpiryDays = 10
	})
	end := metav1.NewTime(s.clock.Now().Add(20 * 24 * time.Hour))
	s.etcd.members[0].CertificateEnds = end
	result := s.settle()
	if got := s.onlyMachine().Annotations[clusterv1.MachineCertificatesExpiryDateAnnotation]; got != end.UTC().Format(time.RFC3339) {
		s.Errorf("Cluster API is told that the certificates end on %q", got)
	}
	s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionFalse, controlplanev1.NotRollingOutReason)
	if result.RequeueAfter > time.Hour {
		s.Errorf("the next look is after %s, and spec.rollout.after comes before", result.RequeueAfter)
	}
	s.clock.SetTime(s.clock.Now().Add(11 * 24 * time.Hour))
	s.settle()
	message := s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionTrue, controlplanev1.BackingUpReason)
	if !strings.Contains(message, "older than spec.rollout.after") || !strings.Contains(message, "its certificates end on") {
		s.Errorf("the message is: %s", message)
	}
}

func names(s *story) {
	s.begin(func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineNaming.Template = "{{ .cluster.name }}-master-" + strings.Repeat("x", 50) + "-{{.random}}"
	})
	s.provisionInfrastructure()
	s.settle()
	if name := s.onlyMachine().Name; len(name) > 63 || !regexp.MustCompile(`^demo-master-x+-[a-z0-9]{5}$`).MatchString(name) {
		s.Errorf("the Machine is called %s", name)
	}
}

func refusesSkippedVersion(s *story) {
	s.beginInitialized()
	for version, refused := range map[string]bool{"v1.38.0": true, "v1.35.9": true, "v1.37.1": false} {
		cp := s.controlPlane()
		before := cp.DeepCopy()
		cp.Spec.Version = version
		err := s.client.Patch(s.Context(), cp, client.MergeFrom(before), client.DryRunAll)
		if apierrors.IsInvalid(err) != refused {
			s.Errorf("version %s beside v1.36.3: %v", version, err)
		}
	}
}
