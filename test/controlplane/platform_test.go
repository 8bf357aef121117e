// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// playPlatform plays bootstrap and infrastructure provider: what is made for a Machine becomes a node that boots, and what is
// deleted ends.
func (w *world) playPlatform(ctx context.Context) {
	last := ""
	drained := map[string]bool{}
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		err := w.playOnce(ctx, drained)
		if err != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			w.note("the platform: %v", err) // it is tried again
		}
	}
}

func (w *world) playOnce(ctx context.Context, drained map[string]bool) error {
	configs, infra := &bootstrapv1.IngotConfigList{}, &infrav1.IngotMachineList{}
	for _, list := range []client.ObjectList{configs, infra} {
		if err := shared.cache.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
	}
	roles := map[string]bootstrapv1.Role{}
	for i := range configs.Items {
		config := &configs.Items[i]
		roles[config.Name] = config.Spec.Role
		if err := w.playConfig(ctx, config); err != nil {
			return err
		}
	}
	for i := range infra.Items {
		machine := &clusterv1.Machine{}
		if err := shared.cache.Get(ctx, w.key(infra.Items[i].Name), machine); client.IgnoreNotFound(err) != nil {
			return err
		}
		if conditions.GetReason(machine, clusterv1.MachineDeletingCondition) == clusterv1.MachineDeletingWaitingForPreTerminateHookReason && !drained[machine.Name] {
			drained[machine.Name] = true
			w.tell("drained", machine.Name)
		}
		if err := w.playInstance(ctx, &infra.Items[i], machine, roles[infra.Items[i].Name]); err != nil {
			return fmt.Errorf("%s: %w", infra.Items[i].Name, err)
		}
	}
	return nil
}

// playConfig publishes bootstrap data of no content: the nodes know what to do.
func (w *world) playConfig(ctx context.Context, config *bootstrapv1.IngotConfig) error {
	if metav1.GetControllerOf(config) == nil || config.Status.DataSecretName != "" || !config.DeletionTimestamp.IsZero() {
		return nil
	}
	data := builder.BootstrapData(config.Name)
	data.Namespace = w.namespace
	data.OwnerReferences = []metav1.OwnerReference{{APIVersion: bootstrapv1.GroupVersion.String(), Kind: "IngotConfig", Name: config.Name, UID: config.UID}}
	if err := client.IgnoreAlreadyExists(shared.client.Create(ctx, data)); err != nil {
		return err
	}
	config = config.DeepCopy()
	before := config.DeepCopy()
	config.Status.DataSecretName = config.Name
	config.Status.Initialization.DataSecretCreated = new(true)
	return shared.client.Status().Patch(ctx, config, client.MergeFrom(before))
}

func (w *world) playInstance(ctx context.Context, infra *infrav1.IngotMachine, machine *clusterv1.Machine, role bootstrapv1.Role) error {
	infra = infra.DeepCopy()
	before := infra.DeepCopy()
	switch {
	case !infra.DeletionTimestamp.IsZero():
		w.endInstance(ctx, infra.Name)
		controllerutil.RemoveFinalizer(infra, infrav1.IngotMachineFinalizer)
		return client.IgnoreNotFound(shared.client.Patch(ctx, infra, client.MergeFrom(before)))
	case metav1.GetControllerOf(infra) == nil:
		return nil
	case infra.Spec.ProviderID == "":
		controllerutil.AddFinalizer(infra, infrav1.IngotMachineFinalizer)
		infra.Spec.ProviderID = "ingot://" + uuid.NewString()
		return client.IgnoreNotFound(shared.client.Patch(ctx, infra, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
	case machine.Spec.Bootstrap.DataSecretName == nil || infra.Status.Initialization.Provisioned != nil || role == "":
		return nil
	}
	if err := w.beginInstance(infra, role); err != nil {
		return err
	}
	infra.Status.Initialization.Provisioned = new(true)
	infra.Status.Addresses = []clusterv1.MachineAddress{{Type: clusterv1.MachineInternalIP, Address: w.node(infra.Name).ip}}
	return client.IgnoreNotFound(shared.client.Status().Patch(ctx, infra, client.MergeFrom(before)))
}

// beginInstance boots the node of a Machine, once.
func (w *world) beginInstance(infra *infrav1.IngotMachine, role bootstrapv1.Role) error {
	if w.node(infra.Name) != nil {
		return nil
	}
	n, err := newNode(w, infra.Name)
	if err != nil {
		return err
	}
	n.providerID = infra.Spec.ProviderID
	w.mu.Lock()
	w.nodes[n.name] = n
	w.mu.Unlock()
	w.note("%s boots with role %s", n.name, role)
	w.beside.Go(func() { n.boot(role == bootstrapv1.RoleInit) })
	return nil
}

// endInstance ends the node of a Machine.
func (w *world) endInstance(ctx context.Context, name string) {
	n := w.node(name)
	if n == nil {
		return
	}
	w.judgeStop(ctx, n)
	n.stop()
	w.mu.Lock()
	delete(w.nodes, name)
	delete(w.deletes, name)
	w.replaced++
	w.mu.Unlock()
	if err := w.buryPods(ctx, name); err != nil {
		w.note("the Pods of %s stay: %v", name, err) // nobody minds them
	}
	w.tell("gone", name)
}

// registerNode makes the Node of a node.
func (w *world) registerNode(ctx context.Context, n *node) error {
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}},
		Spec:       corev1.NodeSpec{ProviderID: n.providerID},
	}
	if err := client.IgnoreAlreadyExists(c.Create(ctx, object)); err != nil {
		return err
	}
	pods := staticPods()
	if w.shape.talos { // etcd is none there
		pods = pods[:3]
	}
	if err := w.podsReady(ctx, n.name, corev1.ConditionTrue, pods...); err != nil {
		return err
	}
	return w.nodeReady(ctx, n.name, corev1.ConditionTrue)
}

// staticPods are what kubeadm has the kubelet run.
func staticPods() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}
}

// podsReady makes the Pods of components on a Node, and says whether they are ready, as its kubelet does.
func (w *world) podsReady(ctx context.Context, node string, ready corev1.ConditionStatus, names ...string) error {
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceSystem, Name: name + "-" + node,
				Labels:      map[string]string{"tier": "control-plane", "component": name},
				Annotations: map[string]string{corev1.MirrorPodAnnotationKey: node, "kubernetes.io/config.source": "file"},
			},
			Spec: corev1.PodSpec{NodeName: node, HostNetwork: true, Containers: []corev1.Container{{Name: name, Image: name}}},
		}
		if err := client.IgnoreAlreadyExists(c.Create(ctx, pod)); err != nil {
			return err
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
		if err := c.Status().Update(ctx, pod); err != nil {
			return err
		}
	}
	return nil
}

// probe says of a member's Pod what the probes of its kubelet find, as soon as the API server takes it. What was found last is
// what counts.
func (w *world) probe(n *node, ready corev1.ConditionStatus) {
	n.mu.Lock()
	n.ready = ready
	n.mu.Unlock()
	w.beside.Go(func() {
		for n.ctx.Err() == nil && w.Context().Err() == nil {
			n.mu.Lock()
			ready := n.ready
			n.mu.Unlock()
			ctx, cancel := context.WithTimeout(n.ctx, 5*time.Second)
			err := w.podsReady(ctx, n.name, ready, "etcd")
			cancel()
			n.mu.Lock()
			latest := n.ready == ready
			n.mu.Unlock()
			if err == nil && latest {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}

// buryPods deletes the Pods of a Node that is gone.
func (w *world) buryPods(ctx context.Context, node string) error {
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	for _, name := range staticPods() {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name + "-" + node}}
		if err := client.IgnoreNotFound(c.Delete(ctx, pod, client.GracePeriodSeconds(0))); err != nil {
			return err
		}
	}
	return nil
}

// nodeReady says whether a Node is ready, as its kubelet does, or the cluster's controllers do when they hear nothing of it.
func (w *world) nodeReady(ctx context.Context, name string, ready corev1.ConditionStatus) error {
	c, err := w.connect(ctx)
	if err != nil {
		return err
	}
	object := &corev1.Node{}
	if err := c.Get(ctx, client.ObjectKey{Name: name}, object); err != nil {
		return err
	}
	object.Status.NodeInfo.KubeletVersion = builder.KubernetesVersion
	object.Status.NodeInfo.OperatingSystem, object.Status.NodeInfo.Architecture = "linux", "amd64"
	object.Status.Conditions = nil
	for kind, status := range map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady: ready, corev1.NodeMemoryPressure: corev1.ConditionFalse,
		corev1.NodeDiskPressure: corev1.ConditionFalse, corev1.NodePIDPressure: corev1.ConditionFalse,
	} {
		object.Status.Conditions = append(object.Status.Conditions, corev1.NodeCondition{
			Type: kind, Status: status, Reason: "Played", LastTransitionTime: metav1.Now(), LastHeartbeatTime: metav1.Now(),
		})
	}
	return c.Status().Update(ctx, object)
}

// findUnhealthy says on a Machine what Cluster API's MachineHealthCheck says.
func (w *world) findUnhealthy(name string) error {
	w.note("%s is found unhealthy", name)
	return w.eventually(func(ctx context.Context) error {
		m := &clusterv1.Machine{}
		if err := shared.client.Get(ctx, w.key(name), m); err != nil {
			return client.IgnoreNotFound(err)
		}
		before := m.DeepCopy()
		conditions.Set(m, metav1.Condition{
			Type: clusterv1.MachineHealthCheckSucceededCondition, Status: metav1.ConditionFalse,
			Reason: clusterv1.MachineHealthCheckUnhealthyNodeReason, Message: "Health check failed: played",
		})
		conditions.Set(m, metav1.Condition{
			Type: clusterv1.MachineOwnerRemediatedCondition, Status: metav1.ConditionFalse,
			Reason: clusterv1.MachineOwnerRemediatedWaitingForRemediationReason, Message: "Waiting for remediation",
		})
		return shared.client.Status().Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}
