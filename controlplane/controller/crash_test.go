// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func crashStories() map[string]func(*story) {
	stories := map[string]func(*story){
		"what a crash left for an older spec is cleared away": clearsLeftoversOfOlderSpec,
	}
	// One more than there are writes: the last story checks that no write was left out.
	const most = 24
	for n := 1; n <= most; n++ {
		for _, lost := range []bool{false, true} {
			name := fmt.Sprintf("killed before write %d, everything exists once", n)
			if lost {
				name = fmt.Sprintf("killed after write %d, everything exists once", n)
			}
			stories[name] = func(s *story) { survivesCrash(s, n, lost, n == most) }
		}
	}
	return stories
}

// survivesCrash kills the reconciler at its n-th write on the way from nothing to an initialized control plane, and
// goes on with one that remembers nothing.
func survivesCrash(s *story, n int, lost, beyond bool) {
	s.begin()
	s.provisionInfrastructure()
	s.workload.answer()
	s.writes.KillAt, s.writes.Lost = n, lost
	for range 12 {
		if _, err := s.pass(); err != nil && !errors.Is(err, builder.ErrKilled) && !s.writes.Killed() {
			s.Fatalf("a pass failed before the crash: %v", err)
		}
		if s.writes.Killed() {
			break
		}
	}
	if beyond && s.writes.Killed() {
		s.Fatalf("there are more writes than crash stories: %q", s.writes.Done())
	}
	s.restart()
	s.settle()
	s.expectOneOfEach()
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionTrue, controlplanev1.InitializedReason)
	s.expectQuiet()
}

// expectOneOfEach checks that there is one Machine with what belongs to it, and nothing else.
func (s *story) expectOneOfEach() {
	s.Helper()
	m := s.onlyMachine()
	infra, configs := &infrav1.IngotMachineList{}, &bootstrapv1.IngotConfigList{}
	for _, list := range []client.ObjectList{infra, configs} {
		if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
			s.Fatal(err)
		}
	}
	if len(infra.Items) != 1 || len(configs.Items) != 1 || infra.Items[0].Name != m.Name || configs.Items[0].Name != m.Name {
		s.Errorf("beside Machine %s there are %d IngotMachines and %d IngotConfigs", m.Name, len(infra.Items), len(configs.Items))
	}
}

// clearsLeftoversOfOlderSpec changes the template while a creation is half done.
func clearsLeftoversOfOlderSpec(s *story) {
	s.begin()
	s.create(template("demo-cp-2"))
	s.provisionInfrastructure()
	s.writes.KillOn = "create *v1beta2.Machine"
	for !s.writes.Killed() {
		if _, err := s.pass(); err != nil && !s.writes.Killed() {
			s.Fatal(err)
		}
	}
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("demo-cp-2")
	})
	s.restart()
	s.settle()
	s.expectOneOfEach()
	infra, _ := get(s, s.onlyMachine().Name, &infrav1.IngotMachine{})
	if from := infra.Annotations[clusterv1.TemplateClonedFromNameAnnotation]; from != "demo-cp-2" {
		s.Errorf("the Machine is made from %s, which is no longer wanted", from)
	}
}
