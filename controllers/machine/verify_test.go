// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

func TestVerification(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a node that was changed in place is found, and so is its way back":        changesInPlace,
		"what is verified is told on the Machine only where somebody looks at it":  asksForTheCondition,
		"a node is judged although its host does not answer":                       judgedWithoutHost,
		"an image that was deleted says nothing about its nodes any more":          forgetsDeclaration,
		"a report of the machine itself is believed for the boot that it is about": readsReport,
		"a cluster that does not answer changes no verdict":                        keepsVerdict,
	})
}

// runs changes what the Node says of itself, as Cluster API copies it to the Machine.
func (s *story) runs(change func(*corev1.NodeSystemInfo)) {
	s.Helper()
	patchStatus(s, s.machineNow(), func(m *clusterv1.Machine) { change(m.Status.NodeInfo) })
	s.settle()
}

// onMachine is the condition as MachineHealthChecks and readiness gates see it; nil where the Machine has none.
func (s *story) onMachine() *metav1.Condition {
	s.Helper()
	return conditions.Get(s.machineNow(), infrav1.MachineImageVerifiedCondition)
}

// changesInPlace: whoever updates a node by hand makes a machine that is nobody's declaration. It is no reason to call the
// machine broken: that is for those who declare what follows.
func changesInPlace(s *story) {
	s.begin()
	s.live()
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionTrue, infrav1.ImageParsedReason)
	if s.onMachine() != nil {
		s.Error("a write for each machine that is as declared")
	}
	s.runs(func(i *corev1.NodeSystemInfo) { i.OSImage = "Ingot OS v1.0.1 (by hand)" })
	message := s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionFalse, infrav1.OSVersionMismatchReason)
	s.expectMessage(message, "Ingot OS v1.0.1 (by hand)")
	s.expectMessage(message, s.image.Spec.NodeIdentity.OSImage)
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	if told := s.onMachine(); told == nil || told.Status != metav1.ConditionFalse || told.Message != message {
		s.Errorf("the Machine has %v", told)
	}
	s.expectQuiet()
	s.runs(func(i *corev1.NodeSystemInfo) { i.OSImage = s.image.Spec.NodeIdentity.OSImage })
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionTrue, infrav1.ImageParsedReason)
	if told := s.onMachine(); told == nil || told.Status != metav1.ConditionTrue {
		s.Errorf("the Machine has %v", told)
	}
	s.expectQuiet()
	s.runs(func(i *corev1.NodeSystemInfo) { i.KubeletVersion = "v1.36.4" })
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionFalse, infrav1.KubeletMismatchReason)
	s.expectEvents("InstanceProvisioned", infrav1.OSVersionMismatchReason, infrav1.KubeletMismatchReason)
}

// asksForTheCondition: a readiness gate holds a rollout until each new node is known to be what was declared.
func asksForTheCondition(s *story) {
	s.machine.Spec.ReadinessGates = []clusterv1.MachineReadinessGate{{ConditionType: infrav1.MachineImageVerifiedCondition}}
	s.begin()
	s.live()
	if told := s.onMachine(); told == nil || told.Status != metav1.ConditionTrue || told.Reason != infrav1.ImageParsedReason {
		s.Errorf("the Machine has %v", told)
	}
	s.expectQuiet()
}

// judgedWithoutHost: the host has nothing to say about what a node runs.
func judgedWithoutHost(s *story) {
	s.begin()
	s.live()
	s.sever()
	s.connect()
	s.runs(func(i *corev1.NodeSystemInfo) { i.OSImage = "Ingot OS v1.0.1" })
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionUnknown, infrav1.EndpointUnavailableReason)
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionFalse, infrav1.OSVersionMismatchReason)
}

// forgetsDeclaration: one that is made again under the same name may say anything.
func forgetsDeclaration(s *story) {
	s.begin()
	s.live()
	s.delete(s.image)
	s.settle()
	s.expectMessage(s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionUnknown, infrav1.ImageDeclarationGoneReason), s.namespace)
	s.expectRunning()
}

// reports makes the image one that tells its version in os-release only, and returns what reports for its node.
func reports(s *story) (report func(string)) {
	s.image.Spec.NodeIdentity = ingotv1.NodeIdentity{OSImage: "Ingot OS v1.0.0 (" + s.namespace + ")", OSRelease: map[string]ingotv1.OSReleaseValue{"BUILD_ID": "abc"}}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: machineName}}
	node.Status.NodeInfo = corev1.NodeSystemInfo{OSImage: s.image.Spec.NodeIdentity.OSImage, KubeletVersion: "v1.36.3", BootID: "first"}
	workload := clientfake.NewClientBuilder().WithObjects(node).Build()
	s.workload = workload
	return func(annotation string) {
		s.Helper()
		before := client.MergeFrom(node.DeepCopy())
		metav1.SetMetaDataAnnotation(&node.ObjectMeta, ingotv1.NodeIdentityAnnotation, annotation)
		if err := workload.Patch(s.Context(), node, before); err != nil {
			s.Fatal(err)
		}
		s.settle()
	}
}

// readsReport: an operating system that has the same name in every version says more in its os-release.
func readsReport(s *story) {
	report := reports(s)
	s.begin()
	s.live()
	s.expectMessage(s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionUnknown, infrav1.IdentityNotReportedReason), "identityReport")
	report("boot=first BUILD_ID=abc")
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionTrue, infrav1.ImageReportedReason)
	report("boot=earlier BUILD_ID=abc")
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionUnknown, infrav1.IdentityNotReportedReason)
	report("boot=first BUILD_ID=def")
	message := s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionFalse, infrav1.OSVersionMismatchReason)
	s.expectMessage(message, `declared "abc", running "def"`)
	s.expectQuiet()
}

// keepsVerdict: a break of the connection is no news about nodes, and would be a write for each of them.
func keepsVerdict(s *story) {
	report := reports(s)
	connected := s.workload
	s.workload = nil
	s.begin()
	s.live()
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionUnknown, infrav1.NodeUnknownReason)
	s.workload = connected
	report("boot=first BUILD_ID=abc")
	s.workload = nil
	s.expectQuiet()
	s.expect(infrav1.ImageVerifiedCondition, metav1.ConditionTrue, infrav1.ImageReportedReason)
}
