// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
)

// TestWithClusterAPI runs the reconciler beside Cluster API's own core manager and checks that the two understand each
// other: what one waits for the other gives, and neither undoes what the other did. The test plays infrastructure and
// bootstrap provider.
func TestWithClusterAPI(t *testing.T) {
	t.Parallel()
	builder := testBuilder(t)
	config := startPlane(t, managementplane.Options{Builder: builder, Core: true, ControllerManager: true})
	installCRDs(t, config, filepath.Join(builder.Repo, "config/crd/bases"))
	s := newStory(t, config)
	s.runManager(config)
	s.begin()
	s.create(&infrav1.IngotCluster{ObjectMeta: metav1.ObjectMeta{Name: clusterName}})
	patch(s, s.infraCluster(), func(c *infrav1.IngotCluster) {
		c.Spec.ControlPlaneEndpoint = infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}
	})
	patchStatus(s, s.infraCluster(), func(c *infrav1.IngotCluster) { c.Status.Initialization.Provisioned = new(true) })

	s.eventually("Cluster API passes the infrastructure on and a Machine is made", func() bool { return len(s.machines()) == 1 })
	s.playProviders(s.onlyMachine().Name)
	s.eventually("Cluster API takes the Machine's parts over", func() bool {
		m := s.onlyMachine()
		return ptr.Deref(m.Status.Initialization.InfrastructureProvisioned, false) && s.belongsTo(m)
	})
	s.workload.answer()
	s.eventually("Cluster API sees the initialized control plane", func() bool {
		return s.clusterCondition(clusterv1.ClusterControlPlaneInitializedCondition) == metav1.ConditionTrue
	})
	s.expectOneOfEach()
	s.expectRest()

	s.delete(s.cluster())
	s.eventually("Cluster API deletes everything", func() bool {
		_, exists := get(s, clusterName, &clusterv1.Cluster{})
		return !exists
	})
	s.expectGone()
	s.eventually("the Secrets go with their owner", func() bool {
		_, exists := get(s, secret.Name(clusterName, secret.ClusterCA), &corev1.Secret{})
		return !exists
	})
}

func (s *story) infraCluster() *infrav1.IngotCluster {
	s.Helper()
	c, exists := get(s, clusterName, &infrav1.IngotCluster{})
	if !exists {
		s.Fatal("the IngotCluster is gone")
	}
	return c
}

// playProviders does what bootstrap and infrastructure provider do with the parts of a Machine.
func (s *story) playProviders(machine string) {
	s.Helper()
	config, _ := get(s, machine, &bootstrapv1.IngotConfig{})
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: machine}, Data: map[string][]byte{"value": []byte("{}")}})
	patchStatus(s, config, func(c *bootstrapv1.IngotConfig) {
		c.Status.DataSecretName = machine
		c.Status.Initialization.DataSecretCreated = new(true)
	})
	infra, _ := get(s, machine, &infrav1.IngotMachine{})
	patch(s, infra, func(m *infrav1.IngotMachine) {
		m.Spec.ProviderID = "ingot://8f3e2f0c-5a75-4f3f-9d5c-0d8b7c3d2e1f"
	})
	patchStatus(s, infra, func(m *infrav1.IngotMachine) { m.Status.Initialization.Provisioned = new(true) })
}

// belongsTo is whether the Machine controls its parts and the control plane no longer owns them.
func (s *story) belongsTo(m *clusterv1.Machine) bool {
	for _, object := range []client.Object{&infrav1.IngotMachine{}, &bootstrapv1.IngotConfig{}} {
		found, _ := get(s, m.Name, object)
		if refs := found.GetOwnerReferences(); len(refs) != 1 || !metav1.IsControlledBy(found, m) {
			return false
		}
	}
	return true
}

func (s *story) clusterCondition(condition string) metav1.ConditionStatus {
	for _, c := range s.cluster().Status.Conditions {
		if c.Type == condition {
			return c.Status
		}
	}
	return ""
}

// expectRest checks that two managers leave the objects alone once everything is said: in a stretch of time in which
// either could have answered the other's writes many times, nothing changes.
func (s *story) expectRest() {
	s.Helper()
	versions := func() string {
		m := s.onlyMachine()
		infra, _ := get(s, m.Name, &infrav1.IngotMachine{})
		config, _ := get(s, m.Name, &bootstrapv1.IngotConfig{})
		return m.ResourceVersion + " " + infra.ResourceVersion + " " + config.ResourceVersion + " " + s.controlPlane().ResourceVersion
	}
	last, unchanged := "", 0
	s.eventually("the two managers come to rest", func() bool {
		unchanged++
		if now := versions(); now != last {
			last, unchanged = now, 0
		}
		return unchanged == 60
	})
}
