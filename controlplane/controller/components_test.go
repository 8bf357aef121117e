// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

func componentStories() map[string]func(*story) {
	return map[string]func(*story){
		"a component that fails is told, and nothing is changed beside it": tellsComponents,
		"components that are not seen for a moment are not called broken":  keepsComponents,
	}
}

func tellsComponents(s *story) {
	m := s.beginInitialized()
	s.expectCondition(controlplanev1.ComponentsHealthyCondition, metav1.ConditionTrue, controlplanev1.ComponentsHealthyReason)
	s.workload.fail(s, "kube-scheduler-"+m.Name, "CrashLoopBackOff")
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) { cp.Spec.Replicas = new(int32(3)) })
	s.settle()
	message := s.expectCondition(controlplanev1.ComponentsHealthyCondition, metav1.ConditionFalse, controlplanev1.ComponentsUnhealthyReason)
	if !strings.Contains(message, m.Name) || !strings.Contains(message, "kube-scheduler") || !strings.Contains(message, "CrashLoopBackOff") {
		s.Errorf("the message names neither Machine nor component nor cause: %s", message)
	}
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.MachineUnhealthyReason)
	now := s.onlyMachine()
	if !conditions.IsFalse(now, controlplanev1.MachineSchedulerPodHealthyCondition) || !conditions.IsTrue(now, controlplanev1.MachineAPIServerPodHealthyCondition) ||
		!conditions.IsTrue(now, controlplanev1.MachineEtcdMemberHealthyCondition) {
		s.Errorf("conditions of the Machine: %+v", now.Status.Conditions)
	}
	s.expectQuiet()
}

func keepsComponents(s *story) {
	s.beginInitialized()
	s.workload.fallSilent()
	s.etcd.silent = true
	s.settle()
	s.expectCondition(controlplanev1.ComponentsHealthyCondition, metav1.ConditionUnknown, controlplanev1.ComponentsUnseenReason)
	if !conditions.IsTrue(s.onlyMachine(), controlplanev1.MachineAPIServerPodHealthyCondition) {
		s.Errorf("conditions of the Machine: %+v", s.onlyMachine().Status.Conditions)
	}
	s.clock.SetTime(s.clock.Now().Add(6 * time.Minute))
	s.settle()
	for _, condition := range []string{controlplanev1.MachineAPIServerPodHealthyCondition, controlplanev1.MachineEtcdMemberHealthyCondition} {
		if reason := conditions.GetReason(s.onlyMachine(), condition); reason != clusterv1.InspectionFailedReason {
			s.Errorf("after six minutes condition %s has reason %s", condition, reason)
		}
	}
	s.expectQuiet()
}
