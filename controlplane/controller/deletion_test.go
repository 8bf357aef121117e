// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

func deletionStories() map[string]func(*story) {
	return map[string]func(*story){
		"workers go first, then Machines, then the object":     deletesInOrder,
		"a control plane that made nothing goes at once":       deletesNothing,
		"deleting clears away what a crash left half made":     deletesLeftovers,
		"a drain that is stuck can be cut short while it goes": shortensDrainOfDeletedMachine,
	}
}

func deletesInOrder(s *story) {
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = append(m.Finalizers, "test.example/drain") })
	worker := &clusterv1.Machine{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName}},
		Spec: clusterv1.MachineSpec{
			ClusterName: clusterName, Bootstrap: clusterv1.Bootstrap{DataSecretName: new("none")},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachine", Name: "worker-1"},
		},
	}
	s.create(worker)
	s.delete(s.controlPlane())

	result := s.settle()
	if result.RequeueAfter == 0 {
		s.Error("nobody looks whether the workers are gone")
	}
	message := s.expectCondition(controlplanev1.DeletingCondition, metav1.ConditionTrue, controlplanev1.WaitingForWorkersReason)
	if !strings.Contains(message, "worker-1") {
		s.Errorf("the message does not name the worker: %s", message)
	}
	if !s.onlyMachine().DeletionTimestamp.IsZero() {
		s.Fatal("the control plane Machine was deleted before the worker")
	}

	s.delete(worker)
	s.settle()
	if s.onlyMachine().DeletionTimestamp.IsZero() {
		s.Fatal("the control plane Machine was not deleted after the workers")
	}
	s.expectCondition(controlplanev1.DeletingCondition, metav1.ConditionTrue, controlplanev1.WaitingForMachinesReason)
	s.expectCondition(controlplanev1.ScalingDownCondition, metav1.ConditionTrue, controlplanev1.ScalingDownReason)
	s.expectCondition(controlplanev1.AvailableCondition, metav1.ConditionFalse, controlplanev1.NotAvailableReason)

	patch(s, s.onlyMachine(), func(m *clusterv1.Machine) { m.Finalizers = nil })
	s.settle()
	s.expectGone()
}

func (s *story) expectGone() {
	s.Helper()
	if cp, exists := get(s, "demo-cp", &controlplanev1.IngotControlPlane{}); exists {
		s.Errorf("the control plane object is still there with finalizers %v", cp.Finalizers)
	}
}

func deletesNothing(s *story) {
	s.begin()
	s.settle()
	s.delete(s.controlPlane())
	s.settle()
	s.expectGone()
}

func deletesLeftovers(s *story) {
	s.begin()
	s.provisionInfrastructure()
	s.writes.KillOn = "create *v1beta2.Machine"
	for !s.writes.Killed() {
		if _, err := s.pass(); err != nil && !s.writes.Killed() {
			s.Fatal(err)
		}
	}
	s.delete(s.controlPlane())
	s.restart()
	s.settle()
	s.expectGone()
	infra, configs := &infrav1.IngotMachineList{}, &bootstrapv1.IngotConfigList{}
	if err := s.client.List(s.Context(), infra); err != nil {
		s.Fatal(err)
	}
	if err := s.client.List(s.Context(), configs); err != nil {
		s.Fatal(err)
	}
	for _, i := range infra.Items {
		if i.Namespace == s.namespace {
			s.Errorf("IngotMachine %s is left", i.Name)
		}
	}
	for _, c := range configs.Items {
		if c.Namespace == s.namespace {
			s.Errorf("IngotConfig %s is left", c.Name)
		}
	}
}

func shortensDrainOfDeletedMachine(s *story) {
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = append(m.Finalizers, "test.example/drain") })
	s.delete(s.controlPlane())
	s.settle()
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.Deletion.NodeDrainTimeoutSeconds = new(int32(1))
	})
	s.settle()
	if got := ptr.Deref(s.onlyMachine().Spec.Deletion.NodeDrainTimeoutSeconds, 0); got != 1 {
		s.Errorf("the Machine that is going still has a drain timeout of %d s", got)
	}
}
