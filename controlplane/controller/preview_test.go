// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
)

func previewStories() map[string]func(*story) {
	return map[string]func(*story){
		"what is foreseen for a new cluster is what is done":            foreseesNew,
		"a cluster that does not exist yet can be planned for":          foreseesUnborn,
		"what is foreseen for a change is what is done":                 foreseesChange,
		"what is foreseen for a Machine that goes is what is done":      foreseesLeaving,
		"what is foreseen for a deleted control plane is what is done":  foreseesDeletion,
		"what holds a change is told before it is made":                 foreseesHolds,
		"a rollout is told before it begins, backup and all":            foreseesRollout,
		"a change that admission refuses is refused before it is made":  refusesChange,
		"a person who may not see everything is told what is not known": foreseesBlindly,
		"what a change says of other things is ignored, and named":      ignoresOthers,
	}
}

// told are the events of a story.
type told struct {
	mu    sync.Mutex
	notes []string
	made  []string
}

// Eventf implements events.EventRecorder.
func (t *told) Eventf(_, related runtime.Object, _, reason, _, note string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(note, args...))
	if machine, is := related.(*clusterv1.Machine); is && reason == "MachineCreated" {
		t.made = append(t.made, machine.Name)
	}
}

// planner asks as ingotctl plan does.
func (s *story) planner(c client.Client) preview.Planner {
	return preview.Planner{Client: c, View: controller.Preview{Client: c, Workloads: s.workload, Drivers: s.reconciler.Drivers, Clock: s.clock}}
}

// foresee plans for a change, and checks that nothing is written.
func (s *story) foresee(change ...*unstructured.Unstructured) preview.Report {
	s.Helper()
	before := s.everything()
	report, err := s.planner(s.client).Plan(s.Context(), preview.Request{
		Cluster: s.key(clusterName), Change: change, FieldManager: "kubectl", ForceConflicts: true,
	})
	if err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(before, s.everything()); diff != "" {
		s.Errorf("looking has changed something:\n%s", diff)
	}
	return report
}

// everything is which objects there are in which version.
func (s *story) everything() []string {
	s.Helper()
	var all []string
	for _, list := range []client.ObjectList{
		&clusterv1.ClusterList{}, &clusterv1.MachineList{}, &controlplanev1.IngotControlPlaneList{}, &bootstrapv1.IngotConfigList{},
		&infrav1.IngotMachineList{}, &infrav1.IngotMachineTemplateList{}, &corev1.SecretList{},
	} {
		if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
			s.Fatal(err)
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(list)
		if err != nil {
			s.Fatal(err)
		}
		items, _, _ := unstructured.NestedSlice(content, "items")
		for _, item := range items {
			if object, is := item.(map[string]any); is {
				u := unstructured.Unstructured{Object: object}
				all = append(all, fmt.Sprintf("%T %s %s", list, u.GetName(), u.GetResourceVersion()))
			}
		}
	}
	return all
}

// manifest is what a person writes to change the control plane's spec.
func (s *story) manifest(spec string) *unstructured.Unstructured {
	s.Helper()
	objects, err := preview.ReadChange(strings.NewReader(fmt.Sprintf(
		"apiVersion: %s\nkind: IngotControlPlane\nmetadata: {name: demo-cp}\nspec: %s\n", controlplanev1.GroupVersion, spec)), s.namespace)
	if err != nil {
		s.Fatal(err)
	}
	return objects[0]
}

// asManifest writes an object down as a person would.
func (s *story) asManifest(object client.Object, kind schema.GroupVersionKind) *unstructured.Unstructured {
	s.Helper()
	object.GetObjectKind().SetGroupVersionKind(kind)
	data, err := yaml.Marshal(object)
	if err != nil {
		s.Fatal(err)
	}
	objects, err := preview.ReadChange(strings.NewReader(string(data)), s.namespace)
	if err != nil {
		s.Fatal(err)
	}
	unstructured.RemoveNestedField(objects[0].Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(objects[0].Object, "status")
	return objects[0]
}

func (s *story) applyForReal(objects ...*unstructured.Unstructured) {
	s.Helper()
	for _, object := range objects {
		err := s.client.Apply(s.Context(), client.ApplyConfigurationFromUnstructured(object.DeepCopy()), client.FieldOwner("kubectl"), client.ForceOwnership)
		if err != nil {
			s.Fatal(err)
		}
	}
}

// expectForeseen lets all go well until nothing changes any more, and compares what was done and what for, step by step, with
// what was foreseen.
func (s *story) expectForeseen(report preview.Report) {
	s.Helper()
	s.told.mu.Lock()
	s.told.notes, s.told.made = nil, nil
	s.told.mu.Unlock()
	for range 12 {
		if _, exists := get(s, "demo-cp", &controlplanev1.IngotControlPlane{}); !exists {
			break
		}
		s.settle()
		s.goWell()
	}
	var names []string
	for i, name := range s.told.made {
		names = append(names, plan.Placeholder(i+1), name)
	}
	var foreseen []string
	for _, step := range report.Steps {
		foreseen = append(foreseen, strings.NewReplacer(names...).Replace(step.Text+": "+strings.Join(step.Why, "; ")))
	}
	if diff := cmp.Diff(foreseen, s.told.notes); diff != "" || len(foreseen) == 0 {
		s.Errorf("what was foreseen was not done (-foreseen +done):\n%s", diff)
	}
}

// goWell has Cluster API and the machines do what they do when all goes well.
func (s *story) goWell() {
	s.Helper()
	for _, m := range s.machines() {
		switch {
		case m.DeletionTimestamp.IsZero():
			s.joinWell(&m)
		case s.hooked(m.Name):
			s.machineStatus(&m, func(m *clusterv1.Machine) {
				m.Status.Conditions = []metav1.Condition{{
					Type: clusterv1.MachineDeletingCondition, Status: metav1.ConditionTrue,
					Reason: clusterv1.MachineDeletingWaitingForPreTerminateHookReason, LastTransitionTime: metav1.Now(),
				}}
			})
		default:
			s.delete(&infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Namespace: s.namespace}})
			s.delete(&bootstrapv1.IngotConfig{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Namespace: s.namespace}})
			patch(s, &m, func(m *clusterv1.Machine) { m.Finalizers = nil })
		}
	}
}

func (s *story) joinWell(m *clusterv1.Machine) {
	s.Helper()
	if m.Status.NodeRef.IsDefined() {
		return
	}
	s.adoptByMachine(m)
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = []string{clusterv1.MachineFinalizer} })
	if s.workload.client.Load() == nil {
		s.workload.answer()
	}
	s.join(m)
	if s.etcd.members != nil && !slices.ContainsFunc(s.etcd.members, func(o plan.Member) bool { return o.Name == m.Name }) {
		s.etcd.members = append(s.etcd.members, plan.Member{ID: m.Name, Name: m.Name, Healthy: true})
	}
}

func foreseesUnborn(s *story) {
	report := s.foresee(
		s.asManifest(newCluster(), clusterv1.GroupVersion.WithKind("Cluster")),
		s.asManifest(template("demo-cp-1"), infrav1.GroupVersion.WithKind("IngotMachineTemplate")),
		s.asManifest(newControlPlane(), controlplanev1.GroupVersion.WithKind("IngotControlPlane")),
	)
	for _, proposed := range report.Change {
		if proposed.Effect != preview.New {
			s.Errorf("%s is %s", proposed.Object, proposed.Effect)
		}
	}
	if len(report.Held) != 1 || report.Held[0].Reason != controlplanev1.WaitingForClusterInfrastructureReason || report.WantedReplicas != 1 {
		s.Errorf("the report is %+v", report)
	}
	old := s.asManifest(newCluster(), clusterv1.GroupVersion.WithKind("Cluster"))
	old.SetAPIVersion("cluster.x-k8s.io/v1beta1")
	request := preview.Request{Cluster: s.key(clusterName), Change: []*unstructured.Unstructured{old}, FieldManager: "kubectl"}
	if _, err := s.planner(s.client).Plan(s.Context(), request); err == nil || !strings.Contains(err.Error(), "write it as cluster.x-k8s.io/v1beta2") {
		s.Errorf("another version of a kind leads to the error %v", err)
	}
}

func foreseesNew(s *story) {
	s.begin()
	s.provisionInfrastructure()
	s.expectForeseen(s.foresee())
	if report := s.foresee(); !report.NothingToDo {
		s.Errorf("in the end there is something to do: %s", report.Summary)
	}
}

// foreseesChange: while the API server has not answered, a change replaces the first Machine.
func foreseesChange(s *story) {
	s.begin()
	s.provisionInfrastructure()
	s.settle()
	first := s.onlyMachine()
	s.adoptByMachine(first)
	patch(s, first, func(m *clusterv1.Machine) { m.Finalizers = []string{clusterv1.MachineFinalizer} })
	s.machineStatus(first, func(m *clusterv1.Machine) { m.Status.NodeRef.Name = m.Name })

	change := []*unstructured.Unstructured{
		s.asManifest(template("demo-cp-2"), infrav1.GroupVersion.WithKind("IngotMachineTemplate")),
		s.manifest("{machineTemplate: {spec: {infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: IngotMachineTemplate, name: demo-cp-2}}}}"),
	}
	report := s.foresee(change...)
	want := []preview.Proposed{{Object: "IngotMachineTemplate/demo-cp-2", Effect: preview.New}, {Object: "IngotControlPlane/demo-cp", Effect: preview.Changed}}
	if diff := cmp.Diff(want, report.Change); diff != "" {
		s.Errorf("the change (-want +got):\n%s", diff)
	}
	s.applyForReal(change...)
	s.expectForeseen(report)
	if again := s.foresee(change...); !again.NothingToDo || again.Change[0].Effect != preview.Unchanged || again.Change[1].Effect != preview.Unchanged {
		s.Errorf("in the end there is something to do: %s %v", again.Summary, again.Change)
	}
}

// foreseesLeaving: another Machine takes the place of the one that a person deletes.
func foreseesLeaving(s *story) {
	m := s.beginInitialized()
	s.drained(m)
	report := s.foresee()
	if report.Machines[0].Outcome != plan.Replaced {
		s.Errorf("the Machine is %s", report.Machines[0].Outcome)
	}
	s.expectForeseen(report)
}

func foreseesDeletion(s *story) {
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = []string{clusterv1.MachineFinalizer} })
	s.delete(s.controlPlane())
	s.expectForeseen(s.foresee())
}

// foreseesRollout: another template makes another Machine, after a backup, and the first one goes.
func foreseesRollout(s *story) {
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = []string{clusterv1.MachineFinalizer} })
	change := s.manifest("{replicas: 1, config: {controlPlane: {imageRepository: registry.example}}}")
	report := s.foresee(change)
	if report.Machines[0].Outcome != plan.Replaced {
		s.Errorf("the Machine is %s", report.Machines[0].Outcome)
	}
	s.applyForReal(change)
	s.expectForeseen(report)
}

func foreseesHolds(s *story) {
	m := s.beginInitialized()
	s.workload.fail(s, "kube-scheduler-"+m.Name, "CrashLoopBackOff")
	change := s.manifest("{replicas: 3}")
	report := s.foresee(change)
	if len(report.Steps) > 0 || len(report.Held) != 1 || report.Held[0].Reason != controlplanev1.MachineUnhealthyReason {
		s.Fatalf("foreseen: %s, held: %v", report.Summary, report.Held)
	}
	s.applyForReal(change)
	s.settle()
	message := s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.MachineUnhealthyReason)
	if !strings.Contains(message, report.Held[0].Message) {
		s.Errorf("foreseen was %q, the condition says %q", report.Held[0].Message, message)
	}
}

func refusesChange(s *story) {
	s.beginInitialized()
	request := preview.Request{Cluster: s.key(clusterName), FieldManager: "kubectl", ForceConflicts: true}
	for spec, want := range map[string]string{
		"{version: latest}": "IngotControlPlane/demo-cp would be refused: ",
		"{colour: red}":     "IngotControlPlane/demo-cp would be refused: ",
	} {
		request.Change = []*unstructured.Unstructured{s.manifest(spec)}
		if _, err := s.planner(s.client).Plan(s.Context(), request); err == nil || !strings.Contains(err.Error(), want) {
			s.Errorf("spec %s leads to the error %v", spec, err)
		}
	}
	request.ForceConflicts, request.Change = false, []*unstructured.Unstructured{s.manifest("{version: v1.36.4}")}
	if _, err := s.planner(s.client).Plan(s.Context(), request); err == nil || !strings.Contains(err.Error(), "--force-conflicts") {
		s.Errorf("a conflict leads to the error %v", err)
	}
	request.Change, request.Cluster.Name = nil, "other"
	if _, err := s.planner(s.client).Plan(s.Context(), request); err == nil || !strings.Contains(err.Error(), "there is no Cluster other") {
		s.Errorf("a Cluster that does not exist leads to the error %v", err)
	}
}

func foreseesBlindly(s *story) {
	s.beginInitialized()
	blind := interceptor.NewClient(s.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if _, is := object.(*corev1.Secret); is {
				return apierrors.NewForbidden(corev1.Resource("secrets"), key.Name, nil)
			}
			return c.Get(ctx, key, object, options...)
		},
	})
	request := preview.Request{Cluster: s.key(clusterName), Change: []*unstructured.Unstructured{s.manifest("{version: v1.36.4}")}, FieldManager: "kubectl", ForceConflicts: true}
	report, err := s.planner(blind).Plan(s.Context(), request)
	if err != nil || len(report.Unknown) != 2 || report.Held[0].Reason != controlplanev1.EtcdUnseenReason {
		s.Errorf("without Secrets: %v, not known: %q, held: %v", err, report.Unknown, report.Held)
	}
	s.etcd.silent = true
	if report := s.foresee(); len(report.Unknown) != 1 || !strings.Contains(report.Unknown[0], "no route to host") {
		s.Errorf("without etcd there is not known: %q", report.Unknown)
	}
}

func ignoresOthers(s *story) {
	s.beginInitialized()
	objects, err := preview.ReadChange(strings.NewReader(`
apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineDeployment
metadata: {name: demo-workers}
---
# nothing
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: other}}
- {apiVersion: cluster.x-k8s.io/v1beta2, kind: Cluster, metadata: {name: other}}
`), s.namespace)
	if err != nil {
		s.Fatal(err)
	}
	report := s.foresee(objects...)
	for _, proposed := range report.Change {
		if proposed.Effect != preview.Ignored {
			s.Errorf("%s is %s", proposed.Object, proposed.Effect)
		}
	}
	if len(report.Change) != 3 || !report.NothingToDo || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "MachineDeployment/demo-workers") {
		s.Errorf("the report is %+v", report)
	}
}
