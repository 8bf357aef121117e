// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

func isEmpty(list client.ObjectList) bool { return meta.LenList(list) == 0 }

// unrest says what is not as it is wanted at rest, empty where nothing is. What costs little is asked first.
func (w *world) unrest() string {
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	machines, wrong := w.unrestOfObjects(ctx, shared.cache)
	if wrong == "" {
		machines, wrong = w.unrestOfObjects(ctx, shared.client)
	}
	if wrong != "" {
		return wrong
	}
	if wrong := w.unrestOfEtcd(ctx, machines); wrong != "" {
		return wrong
	}
	return w.unrestOfWorkload(ctx, machines)
}

// unrestOfObjects returns the names of the Machines, sorted.
func (w *world) unrestOfObjects(ctx context.Context, reader client.Reader) (names []string, wrong string) {
	cp := &controlplanev1.IngotControlPlane{}
	if err := reader.Get(ctx, w.key(controlPlaneName), cp); err != nil {
		return nil, err.Error()
	}
	machines, infra, configs := &clusterv1.MachineList{}, &infrav1.IngotMachineList{}, &bootstrapv1.IngotConfigList{}
	for _, list := range []client.ObjectList{machines, infra, configs} {
		if err := reader.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
			return nil, err.Error()
		}
	}
	want := int(w.shape.replicas)
	if len(machines.Items) != want || len(infra.Items) != want || len(configs.Items) != want {
		return nil, fmt.Sprintf("there are %d Machines, %d IngotMachines and %d IngotConfigs, and %d are wanted", len(machines.Items), len(infra.Items), len(configs.Items), want)
	}
	for _, m := range machines.Items {
		if !m.DeletionTimestamp.IsZero() || !m.Status.NodeRef.IsDefined() {
			return nil, fmt.Sprintf("Machine %s is being deleted or has no Node", m.Name)
		}
		names = append(names, m.Name)
	}
	slices.Sort(names)
	for _, m := range infra.Items {
		if from := m.Annotations[clusterv1.TemplateClonedFromNameAnnotation]; from != cp.Spec.MachineTemplate.Spec.InfrastructureRef.Name {
			return nil, fmt.Sprintf("Machine %s is from %s", m.Name, from)
		}
		if !m.DeletionTimestamp.IsZero() || !slices.Contains(names, m.Name) {
			return nil, fmt.Sprintf("IngotMachine %s is nobody's", m.Name)
		}
	}
	return names, unrestOfStatus(cp)
}

// unrestOfStatus says what the control plane itself says is not as it is wanted.
func unrestOfStatus(cp *controlplanev1.IngotControlPlane) string {
	if n := ptr.Deref(cp.Status.UpToDateReplicas, 0); n != *cp.Spec.Replicas {
		return fmt.Sprintf("%d Machines are said to be up to date", n)
	}
	for condition, want := range map[string]metav1.ConditionStatus{
		controlplanev1.RollingOutCondition: metav1.ConditionFalse, controlplanev1.ScalingUpCondition: metav1.ConditionFalse,
		controlplanev1.ScalingDownCondition: metav1.ConditionFalse, controlplanev1.EtcdHealthyCondition: metav1.ConditionTrue,
		controlplanev1.InitializedCondition: metav1.ConditionTrue,
	} {
		if c := conditions.Get(cp, condition); c == nil || c.Status != want {
			return fmt.Sprintf("condition %s is %v", condition, c)
		}
	}
	return ""
}

// unrestOfEtcd asks every member.
func (w *world) unrestOfEtcd(ctx context.Context, machines []string) string {
	var names []string
	var members *clientv3.MemberListResponse
	err := w.through(func(c *clientv3.Client) (err error) {
		members, err = c.MemberList(ctx)
		return err
	})
	if err != nil {
		return err.Error()
	}
	for _, m := range members.Members {
		if m.IsLearner {
			return fmt.Sprintf("member %s has no vote", m.Name)
		}
		names = append(names, m.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, machines) {
		return fmt.Sprintf("members are %v, Machines %v", names, machines)
	}
	for _, name := range names {
		n := w.node(name)
		if n == nil {
			return "there is no node " + name
		}
		if trouble := n.trouble(); trouble != "" {
			return name + " is " + trouble
		}
		c, err := n.direct()
		if err != nil {
			return err.Error()
		}
		if status, err := c.Status(ctx, c.Endpoints()[0]); err != nil || status.Leader == 0 || len(status.Errors) > 0 {
			return fmt.Sprintf("member %s is not healthy: %v, %v", name, status, err)
		}
	}
	return ""
}

// unrestOfWorkload looks at Nodes and the canary.
func (w *world) unrestOfWorkload(ctx context.Context, machines []string) string {
	c, err := w.connect(ctx)
	if err != nil {
		return err.Error()
	}
	list := &corev1.NodeList{}
	if err := c.List(ctx, list); err != nil {
		return err.Error()
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	if slices.Sort(names); !slices.Equal(names, machines) {
		return fmt.Sprintf("Nodes are %v, Machines %v", names, machines)
	}
	if w.sung == 0 {
		return ""
	}
	canary := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "canary"}, canary); err != nil {
		return err.Error()
	}
	if song := canary.Data["song"]; song != strconv.Itoa(w.sung) {
		w.accuse("the canary sings %q, and was taught %d: data is lost", song, w.sung)
		return "the canary is dead"
	}
	return ""
}

// describe says how everything is, for whoever has to find out why a run failed.
func (w *world) describe() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), 10*time.Second)
	defer cancel()
	var out strings.Builder
	fmt.Fprintf(&out, "seed %d, %s; what is held:\n", *seed, w.shape.name)
	cp := &controlplanev1.IngotControlPlane{}
	_ = shared.client.Get(ctx, w.key(controlPlaneName), cp)
	for _, c := range cp.Status.Conditions {
		fmt.Fprintf(&out, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	machines := &clusterv1.MachineList{}
	_ = shared.client.List(ctx, machines, client.InNamespace(w.namespace))
	for _, m := range machines.Items {
		fmt.Fprintf(&out, "Machine %s: node %q, deleted %v, hooks %v, %s\n", m.Name, m.Status.NodeRef.Name, m.DeletionTimestamp, m.Annotations, conditions.GetMessage(&m, clusterv1.MachineDeletingCondition))
	}
	for _, n := range w.all() {
		fmt.Fprintf(&out, "node %s: stage %d, id %x, %q\n", n.name, n.stage, n.id, n.trouble())
		fmt.Fprintln(&out, process.Tail(filepath.Join(n.dir(), "etcd.log"), 10))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&out, "members as last agreed: %v\nthe story:\n  %s", w.agreed, strings.Join(w.log[max(0, len(w.log)-120):], "\n  "))
	return out.String()
}
