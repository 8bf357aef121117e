// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"slices"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

func nodeStories() map[string]func(*story) {
	return map[string]func(*story){
		"a Node that Cluster API left of a Machine that is gone is removed, and no other": removesLeftNodes,
	}
}

// removesLeftNodes: Cluster API's core deletes no Node where the last control plane Machine that was to stay is gone.
func removesLeftNodes(s *story) {
	controlPlane := map[string]string{"node-role.kubernetes.io/control-plane": ""}
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Spec.ProviderID = "ingot://lives" })
	s.nodes(controlPlane, map[string]string{"lost": "ingot://lost", m.Name: "ingot://lives", "another": "kind://another", "none": ""})
	s.nodes(nil, map[string]string{"worker": "ingot://worker"})
	s.settle()
	if left := s.nodeNames(); !slices.Equal(left, []string{"another", m.Name, "none", "worker"}) {
		s.Errorf("Nodes are left: %v", left)
	}

	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) { cp.Spec.Replicas = new(int32(3)) })
	s.nodes(controlPlane, map[string]string{"joining": "ingot://joining"})
	s.settle()
	if left := s.nodeNames(); len(s.machines()) != 2 || !slices.Contains(left, "joining") {
		s.Errorf("beside %d Machines, of which one joins, Nodes are %v", len(s.machines()), left)
	}
	s.grow(3)
	if left := s.nodeNames(); slices.Contains(left, "joining") {
		s.Errorf("Nodes are left: %v", left)
	}
	s.expectQuiet()
}
