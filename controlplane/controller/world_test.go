// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// This file holds the rest of a story's world: the objects that a user makes, and what Cluster API, the other providers
// and the machines do.

// begin creates Cluster, template and control plane. The Cluster has neither infrastructure nor endpoint yet.
func (s *story) begin(change ...func(*controlplanev1.IngotControlPlane)) {
	s.Helper()
	cluster := newCluster()
	s.create(cluster)
	s.create(template("demo-cp-1"))
	cp := newControlPlane()
	cp.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: clusterName, UID: cluster.UID}}
	for _, c := range change {
		c(cp)
	}
	s.create(cp)
}

func newCluster() *clusterv1.Cluster {
	return &clusterv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: clusterName},
		Spec: clusterv1.ClusterSpec{
			ControlPlaneRef:   clusterv1.ContractVersionedObjectReference{APIGroup: controlplanev1.GroupVersion.Group, Kind: "IngotControlPlane", Name: "demo-cp"},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotCluster", Name: clusterName},
		},
	}
}

func newControlPlane() *controlplanev1.IngotControlPlane {
	return &controlplanev1.IngotControlPlane{
		ObjectMeta: metav1.ObjectMeta{
			Name:   "demo-cp",
			Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName},
		},
		Spec: controlplanev1.IngotControlPlaneSpec{
			Version: "v1.36.3",
			MachineTemplate: controlplanev1.IngotControlPlaneMachineTemplate{
				Spec: controlplanev1.IngotControlPlaneMachineTemplateSpec{InfrastructureRef: templateRef("demo-cp-1")},
			},
			Config: bootstrapv1.IngotConfigSpec{
				ControlPlane: bootstrapv1.ControlPlaneSettings{KeyAlgorithm: "ECDSA-P256"},
				Ignition:     bootstrapv1.IgnitionConfig{Variant: bootstrapv1.IgnitionVariantGeneric},
			},
		},
	}
}

func templateRef(name string) clusterv1.ContractVersionedObjectReference {
	return clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachineTemplate", Name: name}
}

func template(name string) *infrav1.IngotMachineTemplate {
	return &infrav1.IngotMachineTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: infrav1.IngotMachineTemplateSpec{Template: infrav1.IngotMachineTemplateResource{
			ObjectMeta: clusterv1.ObjectMeta{Labels: map[string]string{"from": "template"}},
			Spec: infrav1.IngotMachineSpec{
				Image:     infrav1.ImageReference{Name: "ingot-os-1"},
				Resources: infrav1.MachineResources{CPUs: 2, Memory: resource.MustParse("4Gi")},
				Networks:  []infrav1.MachineNetwork{{Name: "default"}},
				Platform:  infrav1.MachinePlatform{Libvirt: infrav1.LibvirtMachine{EndpointName: "local"}},
			},
		}},
	}
}

// provisionInfrastructure does what Cluster API does once the InfraCluster is provisioned.
func (s *story) provisionInfrastructure() {
	s.Helper()
	patch(s, s.cluster(), func(c *clusterv1.Cluster) {
		c.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "192.0.2.10", Port: 6443}
	})
	patchStatus(s, s.cluster(), func(c *clusterv1.Cluster) {
		c.Status.Initialization.InfrastructureProvisioned = new(true)
		c.Status.FailureDomains = []clusterv1.FailureDomain{{Name: "rack-a", ControlPlane: new(true)}, {Name: "rack-w"}}
	})
}

// beginInitialized goes on until the API server has answered and Cluster API reports a good Machine.
func (s *story) beginInitialized(change ...func(*controlplanev1.IngotControlPlane)) *clusterv1.Machine {
	s.Helper()
	s.begin(change...)
	s.provisionInfrastructure()
	s.settle()
	s.adoptByMachine(s.onlyMachine())
	s.workload.answer()
	s.settle()
	s.join(s.onlyMachine())
	s.settle()
	return s.onlyMachine()
}

// grow lets Machines join, one after the other, until there are as many as wanted, and returns them.
func (s *story) grow(wanted int) []clusterv1.Machine {
	s.Helper()
	for range wanted {
		s.settle()
		machines := s.machines()
		for _, m := range machines {
			if !m.Status.NodeRef.IsDefined() {
				s.adoptByMachine(&m)
				s.join(&m)
				s.etcd.members = append(s.etcd.members, plan.Member{ID: m.Name, Name: m.Name, Healthy: true})
			}
		}
	}
	s.settle()
	machines := s.machines()
	if len(machines) != wanted {
		s.Fatalf("there are %d control plane Machines, not %d", len(machines), wanted)
	}
	return machines
}

// join does what Cluster API and a node do when the node joins: it runs the components of a control plane.
func (s *story) join(m *clusterv1.Machine) {
	s.Helper()
	s.workload.run(s, m.Name, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
	s.machineStatus(m, func(m *clusterv1.Machine) {
		now := metav1.Now()
		m.Status.NodeRef.Name = m.Name
		m.Status.NodeInfo = &corev1.NodeSystemInfo{KubeletVersion: "v1.36.3"}
		m.Status.Conditions = append(m.Status.Conditions,
			metav1.Condition{Type: clusterv1.MachineReadyCondition, Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: now},
			metav1.Condition{Type: clusterv1.MachineAvailableCondition, Status: metav1.ConditionTrue, Reason: "Available", LastTransitionTime: now})
	})
}

func (s *story) machineStatus(m *clusterv1.Machine, change func(*clusterv1.Machine)) {
	s.Helper()
	patchStatus(s, m, change)
}

// adoptByMachine does what Cluster API does with a new Machine: it becomes the owner of what was made for it.
func (s *story) adoptByMachine(m *clusterv1.Machine) {
	s.Helper()
	owner := *metav1.NewControllerRef(m, clusterv1.GroupVersion.WithKind("Machine"))
	for _, object := range []client.Object{&infrav1.IngotMachine{}, &bootstrapv1.IngotConfig{}} {
		found, exists := get(s, m.Name, object)
		if !exists {
			s.Fatalf("%T %s does not exist", object, m.Name)
		}
		patch(s, found, func(o client.Object) { o.SetOwnerReferences([]metav1.OwnerReference{owner}) })
	}
}

// loseMachine does what deleting a Machine ends in: it and everything made for it are gone.
func (s *story) loseMachine(m *clusterv1.Machine) {
	s.Helper()
	s.delete(m)
	s.loseMade(m.Name)
}

// loseMade has everything be gone that was made for a Machine.
func (s *story) loseMade(name string) {
	s.Helper()
	s.delete(&infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}})
	s.delete(&bootstrapv1.IngotConfig{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}})
}

// workload is a workload cluster that does not answer until told to.
type workload struct{ client atomic.Pointer[client.Client] }

func (w *workload) answer() {
	c := client.Client(fake.NewClientBuilder().WithObjects(builder.ClusterConfiguration()).Build())
	w.client.Store(&c)
}

// run puts Pods of a control plane on a node, all of them ready.
func (w *workload) run(s *story, node string, names ...string) {
	s.Helper()
	for _, name := range names {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceSystem, Name: name + "-" + node,
				Labels: map[string]string{"tier": "control-plane", "component": name},
			},
			Spec:   corev1.PodSpec{NodeName: node},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		if err := (*w.client.Load()).Create(s.Context(), pod); err != nil {
			s.Fatal(err)
		}
	}
}

// fail has a Pod wait for something.
func (w *workload) fail(s *story, name, reason string) {
	s.Helper()
	pod := &corev1.Pod{}
	c := *w.client.Load()
	if err := c.Get(s.Context(), client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: name}, pod); err != nil {
		s.Fatal(err)
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "program", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}},
	}}
	if err := c.Status().Update(s.Context(), pod); err != nil {
		s.Fatal(err)
	}
}

func (w *workload) fallSilent() { w.client.Store(nil) }

// GetUncachedClient returns the client of the workload cluster.
func (w *workload) GetUncachedClient(context.Context, client.ObjectKey) (client.Client, error) {
	if c := w.client.Load(); c != nil {
		return *c, nil
	}
	return nil, clustercache.ErrClusterNotConnected
}

// GetClusterSource returns a source that never speaks.
func (w *workload) GetClusterSource(_ string, _ func(context.Context, client.Object) []ctrl.Request, _ ...clustercache.GetClusterSourceOption) source.Source {
	return source.Channel(make(chan event.GenericEvent), &handler.EnqueueRequestForObject{})
}
