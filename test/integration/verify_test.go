// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// foundWithin is how long a node that was changed in place may pass for what was declared.
const foundWithin = time.Minute

// expectChangeFound changes the Node of the worker as an update in place would, and has the MachineHealthCheck of the
// documentation replace its Machine.
func (w *world) expectChangeFound(image string) {
	w.Helper()
	controlPlane, workers := w.machines()
	for _, m := range append(controlPlane, workers...) {
		if !conditions.IsTrue(&m, infrav1.ImageVerifiedCondition) {
			w.Errorf("%s runs what was declared, and is %v", m.Name, conditions.Get(&m, infrav1.ImageVerifiedCondition))
		}
	}
	const changed = "Ingot OS v1.0.1 (by hand)"
	node := w.nodeOf(workers[0])
	node.Status.NodeInfo.OSImage = changed
	begin := time.Now()
	if err := w.workload.Status().Update(w.Context(), node); err != nil {
		w.Fatal(err)
	}
	worker := &workers[0]
	w.eventually("the change is found", func() string {
		if err := w.management.Get(w.Context(), client.ObjectKeyFromObject(worker), worker); err != nil {
			w.Fatal(err)
		}
		found := conditions.Get(worker, infrav1.ImageVerifiedCondition)
		return unless(found.Status == metav1.ConditionFalse && strings.Contains(found.Message, changed) && strings.Contains(found.Message, image),
			fmt.Sprintf("it is %s: %s", found.Status, found.Message))
	})
	took := time.Since(begin)
	w.Logf("found after %s", took.Round(time.Millisecond))
	if took > foundWithin {
		w.Errorf("that is more than %s", foundWithin)
	}
	if !conditions.IsTrue(worker, infrav1.ReadyCondition) {
		w.Error("a mismatch by itself makes no machine unready")
	}
	check := w.documentedHealthCheck()
	w.create(check)
	w.eventually("the Machine is replaced", func() string {
		err := w.management.Get(w.Context(), client.ObjectKeyFromObject(worker), worker)
		return unless(apierrors.IsNotFound(err), fmt.Sprintf("it is there (%v)", err))
	})
	if err := w.management.Delete(w.Context(), check); err != nil {
		w.Fatal(err)
	}
}

// reportingImage is the image whose machines report their os-release themselves.
const reportingImage = "life-2"

// expectReportSeen has the worker report what its root is, as its unit does: Cluster API copies no annotations, so nobody but
// Ingot's own watch of the Nodes can see it.
func (w *world) expectReportSeen() {
	w.Helper()
	_, workers := w.machines()
	node := w.nodeOf(workers[0])
	node.Status.NodeInfo.BootID = "first"
	if err := w.workload.Status().Update(w.Context(), node); err != nil {
		w.Fatal(err)
	}
	for _, step := range []struct {
		report, reason string
	}{
		{"boot=earlier BUILD_ID=abc", infrav1.IdentityNotReportedReason},
		{"boot=first BUILD_ID=abc", infrav1.ImageReportedReason},
		{"boot=first BUILD_ID=def", infrav1.OSVersionMismatchReason},
		{"boot=first BUILD_ID=abc", infrav1.ImageReportedReason},
	} {
		before := client.MergeFrom(node.DeepCopy())
		metav1.SetMetaDataAnnotation(&node.ObjectMeta, ingotv1.NodeIdentityAnnotation, step.report)
		if err := w.workload.Patch(w.Context(), node, before); err != nil {
			w.Fatal(err)
		}
		w.eventually(step.report+" is seen", func() string {
			_, workers := w.machines()
			verified := conditions.Get(&workers[0], infrav1.ImageVerifiedCondition)
			return unless(verified.Reason == step.reason, verified.Reason+": "+verified.Message)
		})
	}
}

func (w *world) nodeOf(machine infrav1.IngotMachine) *corev1.Node {
	w.Helper()
	nodes := &corev1.NodeList{}
	if err := w.workload.List(w.Context(), nodes); err != nil {
		w.Fatal(err)
	}
	for i := range nodes.Items {
		if nodes.Items[i].Spec.ProviderID == machine.Spec.ProviderID {
			return &nodes.Items[i]
		}
	}
	w.Fatalf("%s has no Node", machine.Name)
	return nil
}

// documentedHealthCheck is the example of the documentation for this world's cluster, which has only one worker to lose, and
// no time to lose it in.
func (w *world) documentedHealthCheck() *clusterv1.MachineHealthCheck {
	w.Helper()
	text, err := os.ReadFile("../../docs/image-verification.md")
	if err != nil {
		w.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- example: test/integration applies it -->\n```yaml\n")
	example, _, ends := strings.Cut(rest, "```\n")
	check := &clusterv1.MachineHealthCheck{}
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(example, "demo", w.cluster)), check); err != nil || !found || !ends {
		w.Fatalf("the documentation has no MachineHealthCheck (%v)", err)
	}
	check.Namespace = w.namespace
	check.Spec.Remediation.TriggerIf.UnhealthyLessThanOrEqualTo.StrVal = "100%"
	check.Spec.Checks.UnhealthyMachineConditions[0].TimeoutSeconds = new(int32(1))
	return check
}
