// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// What runs a control plane on each of its Nodes are static Pods, as kubeadm makes them, and Talos too, and the label by which
// they are told apart.
const (
	tierLabel        = "tier"
	tierControlPlane = "control-plane"
	componentLabel   = "component"
)

// component is one of the programs that run a control plane, and the condition of a Machine that tells how it is.
type component struct{ label, condition string }

// components are the Pods that run a control plane, by Node and component; nil where they could not be seen.
type components map[string]map[string]*corev1.Pod

// gatherComponents asks the workload cluster for the Pods that run it. Whatever goes wrong is taken as not seen.
func (r *Reconciler) gatherComponents(ctx context.Context, s *snapshot) components {
	if s.nobodyToAsk() {
		return nil
	}
	pods := &corev1.PodList{}
	workload, err := r.ClusterCache.GetUncachedClient(ctx, client.ObjectKeyFromObject(s.cluster))
	if err == nil {
		err = workload.List(ctx, pods, client.InNamespace(metav1.NamespaceSystem), client.MatchingLabels{tierLabel: tierControlPlane})
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).V(2).Info("The components of the control plane are not seen", "cause", err.Error())
		return nil
	}
	found := components{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if found[pod.Spec.NodeName] == nil {
			found[pod.Spec.NodeName] = map[string]*corev1.Pod{}
		}
		found[pod.Spec.NodeName][pod.Labels[componentLabel]] = pod
	}
	return found
}

// componentTrouble is what is wrong with the components on a Machine's Node, empty where nothing is or it cannot be told.
func (s *snapshot) componentTrouble(m *clusterv1.Machine) string {
	if s.components == nil || !m.Status.NodeRef.IsDefined() {
		return ""
	}
	var list []string
	for _, each := range s.driver.components() {
		if state := s.components.state(m, each); state.Status != metav1.ConditionTrue {
			list = append(list, each.label+": "+state.Message)
		}
	}
	return strings.Join(list, "; ")
}

// state is how a component on a Machine's Node is, as a condition of the Machine.
func (c components) state(m *clusterv1.Machine, each component) metav1.Condition {
	switch pod := c[m.Status.NodeRef.Name][each.label]; {
	case c == nil:
		return isUnknown(each.condition, clusterv1.InspectionFailedReason, "the Pods of the control plane were not seen")
	case !m.Status.NodeRef.IsDefined():
		return isUnknown(each.condition, clusterv1.InspectionFailedReason, "the Machine has no Node yet")
	case pod == nil:
		return isFalse(each.condition, controlplanev1.PodDoesNotExistReason, "there is no Pod")
	case isReady(pod):
		return isTrue(each.condition, controlplanev1.PodRunningReason, "")
	default:
		return isFalse(each.condition, controlplanev1.PodNotReadyReason, notReady(pod))
	}
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// notReady says why a Pod is not ready, in words that stay the same while it is so.
func notReady(pod *corev1.Pod) string {
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil && waiting.Reason != "" {
			return fmt.Sprintf("container %s waits: %s", status.Name, waiting.Reason)
		}
		if ended := status.State.Terminated; ended != nil {
			return fmt.Sprintf("container %s has ended: %s", status.Name, ended.Reason)
		}
	}
	return fmt.Sprintf("Pod %s is %s and not ready", pod.Name, pod.Status.Phase)
}

// unseenBound is how long the conditions of Machines keep what was last seen of what runs on them.
const unseenBound = 5 * time.Minute

// machineComponents is how the components and the member of etcd on a Machine are. Nothing is said for a while where they are
// not seen, so that a short interruption does not make every Machine look broken.
func (s *snapshot) machineComponents(m *clusterv1.Machine, now time.Time) []metav1.Condition {
	var report []metav1.Condition
	if s.world.Deleting || !s.world.Initialized {
		return nil
	}
	for _, each := range s.driver.components() {
		report = append(report, s.components.state(m, each))
	}
	report = append(report, s.etcdMember(m))
	last := conditions.Get(s.cp, controlplanev1.ComponentsHealthyCondition)
	lately := last == nil || last.Reason != controlplanev1.ComponentsUnseenReason || now.Sub(last.LastTransitionTime.Time) < unseenBound
	return slices.DeleteFunc(report, func(c metav1.Condition) bool {
		return c.Status == metav1.ConditionUnknown && lately && conditions.Has(m, c.Type)
	})
}

// etcdMember is how the member of etcd on a Machine is.
func (s *snapshot) etcdMember(m *clusterv1.Machine) metav1.Condition {
	const condition = controlplanev1.MachineEtcdMemberHealthyCondition
	switch member, known := s.world.Member(m.Name); {
	case !known:
		return isUnknown(condition, clusterv1.InspectionFailedReason, cmp.Or(s.world.Etcd.Unseen, "it is not known which member of etcd is on the Machine"))
	case member == nil:
		return isFalse(condition, controlplanev1.EtcdNoMemberReason, "etcd has no member on the Machine")
	case !member.Healthy:
		return isFalse(condition, controlplanev1.EtcdMemberUnhealthyReason, "member "+member.Called()+" does not answer, or does not keep up")
	case member.Learner:
		return isFalse(condition, controlplanev1.EtcdMemberUnhealthyReason, "member "+member.Called()+" has no vote yet")
	default:
		return isTrue(condition, controlplanev1.EtcdHealthyReason, "")
	}
}

// componentsHealthy sums up how the components are on all Machines.
func (s *snapshot) componentsHealthy() metav1.Condition {
	const condition = controlplanev1.ComponentsHealthyCondition
	var broken []string
	for _, m := range s.machines {
		if trouble := s.componentTrouble(m); trouble != "" {
			broken = append(broken, fmt.Sprintf("Machine %s: %s", m.Name, trouble))
		}
	}
	switch {
	case s.components == nil:
		return isUnknown(condition, controlplanev1.ComponentsUnseenReason, "the Pods of the control plane were not seen")
	case len(broken) > 0:
		return isFalse(condition, controlplanev1.ComponentsUnhealthyReason, strings.Join(broken, "; "))
	default:
		return isTrue(condition, controlplanev1.ComponentsHealthyReason, "")
	}
}
