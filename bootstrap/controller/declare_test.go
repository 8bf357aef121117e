// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// recordConfiguration leaves in the workload cluster what kubeadm init leaves there.
func (s *story) recordConfiguration(text string) {
	s.Helper()
	record := builder.ClusterConfiguration()
	record.Data["ClusterConfiguration"] = text
	if err := s.client.Create(s.Context(), record); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := client.IgnoreNotFound(s.client.Delete(context.WithoutCancel(s.Context()), record)); err != nil {
			s.Error(err)
		}
	})
}

// recorded is what machines that join read.
func (s *story) recorded() string {
	s.Helper()
	record := builder.ClusterConfiguration()
	if err := s.client.Get(s.Context(), client.ObjectKeyFromObject(record), record); err != nil {
		s.Fatal(err)
	}
	return record.Data["ClusterConfiguration"]
}

const olderConfiguration = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.0\n"

// declareStories: kubeadm join makes the static Pods of a control plane node from what its cluster says. A machine of another
// version that is let in before the cluster says so asks for the container images of the old one.
func declareStories() map[string]func(*story) {
	return map[string]func(*story){
		"the cluster says what a control plane machine is before it may be made": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleControlPlane)
			s.recordConfiguration(olderConfiguration)
			s.settle()
			if got := s.recorded(); !strings.Contains(got, "kubernetesVersion: v1.36.3\n") {
				s.Errorf("the machine would read\n%s", got)
			}
			s.expectCondition(bootstrapv1.DataSecretAvailableCondition, metav1.ConditionTrue, bootstrapv1.DataSecretAvailableReason)
		},
		"a manager that is killed in between says it all the same": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleControlPlane)
			s.recordConfiguration(olderConfiguration)
			s.writes.KillAt = 4 // after the finalizer, a condition, and the Secret
			s.settleOverCrash()
			if got := s.recorded(); !strings.Contains(got, "kubernetesVersion: v1.36.3\n") {
				s.Errorf("the machine would read\n%s", got)
			}
		},
		"a worker changes nothing of it": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.recordConfiguration(olderConfiguration)
			s.settle()
			if got := s.recorded(); got != olderConfiguration {
				s.Errorf("it was written anew:\n%s", got)
			}
		},
		"what cannot be understood holds the machine, and says what to do": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleControlPlane)
			s.recordConfiguration("apiVersion: kubeadm.k8s.io/v1beta9\n")
			s.settle()
			says := s.expectCondition(bootstrapv1.DataSecretAvailableCondition, metav1.ConditionFalse, bootstrapv1.DeclarationFailedReason)
			for _, want := range []string{"ConfigMap kube-system/kubeadm-config", "v1beta9", "v1beta4"} {
				if !strings.Contains(says, want) {
					s.Errorf("the message does not say %q: %s", want, says)
				}
			}
			if s.config().Status.DataSecretName != "" {
				s.Error("Cluster API may make the machine")
			}
			patch(s, &corev1.ConfigMap{ObjectMeta: builder.ClusterConfiguration().ObjectMeta}, func(m *corev1.ConfigMap) {
				m.Data = map[string]string{"ClusterConfiguration": olderConfiguration}
			})
			s.settle()
			s.expectCondition(bootstrapv1.DataSecretAvailableCondition, metav1.ConditionTrue, bootstrapv1.DataSecretAvailableReason)
		},
		"once the machine is there, the cluster may say something else": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleControlPlane)
			s.recordConfiguration(olderConfiguration)
			s.settle()
			patch(s, &corev1.ConfigMap{ObjectMeta: builder.ClusterConfiguration().ObjectMeta}, func(m *corev1.ConfigMap) {
				m.Data = map[string]string{"ClusterConfiguration": olderConfiguration}
			})
			s.join()
			patch(s, s.machine(), func(m *clusterv1.Machine) { metav1.SetMetaDataAnnotation(&m.ObjectMeta, "wake", "up") })
			s.settle()
			if got := s.recorded(); got != olderConfiguration {
				s.Errorf("a machine that has joined reads nothing any more, and it was written anew:\n%s", got)
			}
		},
	}
}
