// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

func initStories() map[string]func(*story) {
	return map[string]func(*story){
		"nothing is made before the infrastructure is there":            waitsForInfrastructure,
		"one Machine is made and reported, and then nothing is written": makesOneMachine,
		"the first answer of the API server is kept for good":           initializes,
		"a Machine lost after the first answer is not made again":       refusesToReplaceLostCluster,
		"a Machine lost before the first answer is made again":          beginsAnew,
		"a health check replaces the first Machine only before it":      remediates,
		"a missing template is said and waited for":                     waitsForTemplate,
		"foreign Machines stop everything":                              refusesForeignMachines,
		"paused means nothing happens":                                  pauses,
		"what the API server refuses is said":                           reportsRefusal,
	}
}

func waitsForInfrastructure(s *story) {
	s.begin()
	s.settle()
	if n := len(s.machines()); n != 0 {
		s.Errorf("%d Machines were made", n)
	}
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.WaitingForClusterInfrastructureReason)
	s.expectCondition(controlplanev1.CertificatesAvailableCondition, metav1.ConditionFalse, controlplanev1.WaitingForClusterInfrastructureReason)
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.WaitingForClusterInfrastructureReason)

	patchStatus(s, s.cluster(), func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
	s.settle()
	s.expectCondition(controlplanev1.CertificatesAvailableCondition, metav1.ConditionTrue, controlplanev1.CertificatesAvailableReason)
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.WaitingForControlPlaneEndpointReason)
	if n := len(s.machines()); n != 0 {
		s.Errorf("%d Machines were made before the endpoint is known", n)
	}
}

func makesOneMachine(s *story) {
	s.begin()
	s.provisionInfrastructure()
	result := s.settle()
	if result.RequeueAfter == 0 || result.RequeueAfter > time.Minute {
		s.Errorf("while the API server does not answer it is asked again after %s", result.RequeueAfter)
	}
	m := s.onlyMachine()
	cp := s.controlPlane()
	if !strings.HasPrefix(m.Name, "demo-cp-") || !metav1.IsControlledBy(m, cp) {
		s.Errorf("Machine %s is not named after and controlled by the control plane: %+v", m.Name, m.OwnerReferences)
	}
	if m.Spec.Version != "v1.36.3" || m.Spec.FailureDomain != "rack-a" || m.Spec.ClusterName != clusterName {
		s.Errorf("Machine has the wrong spec: %+v", m.Spec)
	}
	if m.Spec.InfrastructureRef.Name != m.Name || m.Spec.InfrastructureRef.Kind != "IngotMachine" || m.Spec.Bootstrap.ConfigRef.Name != m.Name {
		s.Errorf("Machine refers to %+v and %+v", m.Spec.InfrastructureRef, m.Spec.Bootstrap.ConfigRef)
	}
	if m.Labels[clusterv1.MachineControlPlaneNameLabel] != "demo-cp" || m.Labels[clusterv1.ClusterNameLabel] != clusterName {
		s.Errorf("Machine has labels %v", m.Labels)
	}
	infra, _ := get(s, m.Name, &infrav1.IngotMachine{})
	if infra.Annotations[clusterv1.TemplateClonedFromNameAnnotation] != "demo-cp-1" || infra.Labels["from"] != "template" || infra.Spec.Image.Name != "ingot-os-1" {
		s.Errorf("the IngotMachine is no clone of its template: %+v %+v", infra.ObjectMeta, infra.Spec)
	}
	config, _ := get(s, m.Name, &bootstrapv1.IngotConfig{})
	if config.Spec.Role != bootstrapv1.RoleInit || config.Spec.ControlPlane.KeyAlgorithm != "ECDSA-P256" {
		s.Errorf("the IngotConfig has the wrong spec: %+v", config.Spec)
	}
	for _, object := range []client.Object{infra, config} {
		if refs := object.GetOwnerReferences(); len(refs) != 1 || refs[0].UID != cp.UID || refs[0].Controller != nil {
			s.Errorf("%T must be owned, not controlled, by the control plane until its Machine takes it: %+v", object, refs)
		}
	}
	used, _ := get(s, "demo-cp-1", &infrav1.IngotMachineTemplate{})
	if len(used.OwnerReferences) != 1 || used.OwnerReferences[0].Kind != "Cluster" {
		s.Errorf("the template must be owned by the Cluster, to move with it: %+v", used.OwnerReferences)
	}
	if cp.Status.Selector == "" || ptr.Deref(cp.Status.Replicas, 0) != 1 || cp.Status.Version != "v1.36.3" || ptr.Deref(cp.Status.UpToDateReplicas, 0) != 1 {
		s.Errorf("status: %+v", cp.Status)
	}
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.NotInitializedReason)
	s.expectCondition(controlplanev1.AvailableCondition, metav1.ConditionFalse, controlplanev1.NotAvailableReason)
	s.expectQuiet()
}

// expectQuiet checks that passes over what is settled write nothing, also with a reconciler that remembers nothing.
func (s *story) expectQuiet() {
	s.Helper()
	versionsOf := func() map[string]string {
		versions := map[string]string{"control plane": s.controlPlane().ResourceVersion}
		for _, m := range s.machines() {
			versions["machine "+m.Name] = m.ResourceVersion
			infra, _ := get(s, m.Name, &infrav1.IngotMachine{})
			config, _ := get(s, m.Name, &bootstrapv1.IngotConfig{})
			versions["infra "+m.Name], versions["config "+m.Name] = infra.ResourceVersion, config.ResourceVersion
		}
		return versions
	}
	before := versionsOf()
	s.restart()
	for range 3 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
	}
	for name, version := range versionsOf() {
		if before[name] != version {
			s.Errorf("%s was written although nothing changed", name)
		}
	}
	quiet := s.writes.Count()
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	if s.writes.Count() != quiet {
		s.Errorf("a settled pass sent %v", s.writes.Done()[quiet:])
	}
}

func initializes(s *story) {
	m := s.beginInitialized()
	cp := s.controlPlane()
	if !ptr.Deref(cp.Status.Initialization.ControlPlaneInitialized, false) || cp.Annotations[controlplanev1.IngotControlPlaneInitializedAnnotation] == "" {
		s.Errorf("the first answer was not written down: %+v %v", cp.Status.Initialization, cp.Annotations)
	}
	for condition, reason := range map[string]string{
		controlplanev1.InitializedCondition: controlplanev1.InitializedReason, controlplanev1.AvailableCondition: controlplanev1.AvailableReason,
	} {
		s.expectCondition(condition, metav1.ConditionTrue, reason)
	}
	for condition, reason := range map[string]string{
		controlplanev1.RollingOutCondition: controlplanev1.NotRollingOutReason, controlplanev1.ScalingUpCondition: controlplanev1.NotScalingUpReason,
		controlplanev1.ScalingDownCondition: controlplanev1.NotScalingDownReason, controlplanev1.DeletingCondition: controlplanev1.NotDeletingReason,
	} {
		s.expectCondition(condition, metav1.ConditionFalse, reason)
	}
	if len(cp.Status.Versions) != 1 || cp.Status.Versions[0].Version != "v1.36.3" || ptr.Deref(cp.Status.ReadyReplicas, 0) != 1 || ptr.Deref(cp.Status.AvailableReplicas, 0) != 1 {
		s.Errorf("status: %+v", cp.Status)
	}
	s.expectQuiet()

	// A move to another management cluster takes the status away.
	patchStatus(s, cp, func(c *controlplanev1.IngotControlPlane) { c.Status = controlplanev1.IngotControlPlaneStatus{} })
	s.workload.fallSilent()
	s.loseMachine(m)
	s.settle()
	if n := len(s.machines()); n != 0 {
		s.Errorf("after a move %d Machines were made in place of the lost one", n)
	}
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionTrue, controlplanev1.InitializedReason)
}

func refusesToReplaceLostCluster(s *story) {
	m := s.beginInitialized()
	s.loseMachine(m)
	s.settle()
	if n := len(s.machines()); n != 0 {
		s.Fatalf("%d Machines were made over a lost cluster", n)
	}
	message := s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.ControlPlaneLostReason)
	if !strings.Contains(message, "delete Cluster "+clusterName+" and create it again") {
		s.Errorf("the message names no remedy: %s", message)
	}
	s.expectCondition(controlplanev1.AvailableCondition, metav1.ConditionFalse, controlplanev1.NotAvailableReason)
	s.expectQuiet()
}

func beginsAnew(s *story) {
	s.begin()
	s.provisionInfrastructure()
	s.settle()
	first := s.onlyMachine()
	s.adoptByMachine(first)
	patch(s, first, func(m *clusterv1.Machine) { m.Finalizers = append(m.Finalizers, "test.example/hold") })
	s.delete(first)
	s.workload.answer()
	s.settle()
	if got := s.onlyMachine(); got.UID != first.UID {
		s.Error("another Machine was made while the first one is still going")
	}
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.NotInitializedReason)

	s.workload.fallSilent()
	patch(s, s.onlyMachine(), func(m *clusterv1.Machine) { m.Finalizers = nil })
	s.delete(&infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: first.Name}})
	s.delete(&bootstrapv1.IngotConfig{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: first.Name}})
	s.settle()
	if second := s.onlyMachine(); second.Name == first.Name {
		s.Errorf("the second attempt has the name of the first, %s", second.Name)
	}
}

func remediates(s *story) {
	unhealthy := func(m *clusterv1.Machine) {
		for _, condition := range []string{clusterv1.MachineHealthCheckSucceededCondition, clusterv1.MachineOwnerRemediatedCondition} {
			m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
				Type: condition, Status: metav1.ConditionFalse, Reason: "Test", LastTransitionTime: metav1.Now(),
			})
		}
	}
	s.begin()
	s.provisionInfrastructure()
	s.settle()
	first := s.onlyMachine()
	s.adoptByMachine(first)
	s.machineStatus(first, unhealthy)
	s.settle()
	if second := s.onlyMachine(); second.UID == first.UID {
		s.Error("a first Machine that a health check gave up on was kept")
	}

	s.workload.answer()
	s.settle()
	kept := s.onlyMachine()
	s.machineStatus(kept, unhealthy)
	s.settle()
	if s.onlyMachine().UID != kept.UID {
		s.Fatal("the Machine with the only copy of etcd's data was deleted for a health check")
	}
	for _, c := range s.onlyMachine().Status.Conditions {
		if c.Type == clusterv1.MachineOwnerRemediatedCondition && c.Reason != "CannotBeRemediated" {
			s.Errorf("the health check was not answered: %+v", c)
		}
	}
	s.expectQuiet()
}

func waitsForTemplate(s *story) {
	s.begin(func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("late")
	})
	s.provisionInfrastructure()
	result := s.settle()
	if result.RequeueAfter == 0 {
		s.Error("nobody looks for the template again")
	}
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.TemplateMissingReason)
	s.create(template("late"))
	s.settle()
	s.onlyMachine()
}

func refusesForeignMachines(s *story) {
	s.begin()
	s.provisionInfrastructure()
	foreign := &clusterv1.Machine{
		ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName, clusterv1.MachineControlPlaneLabel: ""}},
		Spec: clusterv1.MachineSpec{
			ClusterName: clusterName, Bootstrap: clusterv1.Bootstrap{DataSecretName: new("none")},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachine", Name: "other"},
		},
	}
	s.create(foreign)
	s.settle()
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.ForeignMachinesReason)
	if m := s.onlyMachine(); m.Name != "other" || len(m.OwnerReferences) != 0 || m.ResourceVersion != foreign.ResourceVersion {
		s.Errorf("the foreign Machine was touched: %+v", m.ObjectMeta)
	}
}

func pauses(s *story) {
	s.begin()
	s.settle()
	patch(s, s.cluster(), func(c *clusterv1.Cluster) { c.Spec.Paused = new(true) })
	s.provisionInfrastructure()
	s.settle()
	s.expectCondition(clusterv1.PausedCondition, metav1.ConditionTrue, clusterv1.PausedReason)
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.WaitingForClusterInfrastructureReason)
	if n := len(s.machines()); n != 0 {
		s.Errorf("%d Machines were made while paused", n)
	}
	patch(s, s.cluster(), func(c *clusterv1.Cluster) { c.Spec.Paused = nil })
	s.settle()
	s.onlyMachine()
}

func reportsRefusal(s *story) {
	s.begin()
	broken := template("broken")
	broken.Spec.Template.ObjectMeta.Annotations = map[string]string{"not a key": "the schema of a template does not check keys"}
	s.create(broken)
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("broken")
	})
	s.provisionInfrastructure()
	for range 4 {
		if _, err := s.pass(); err != nil && !strings.Contains(err.Error(), "annotations") {
			s.Fatal(err)
		}
	}
	message := s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, clusterv1.InternalErrorReason)
	if !strings.Contains(message, "annotations") {
		s.Errorf("the message does not say what was refused: %s", message)
	}
}
