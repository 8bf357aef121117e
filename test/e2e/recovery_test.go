// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// The control plane's VM is destroyed, with its disk, in the middle of a rollout: what is left of the cluster is its workers,
// the Secrets of the management cluster, and the snapshot that the rollout began with.
var _ = Describe("a control plane that is lost", Ordered, Label("recovery"), func() {
	var s *suite

	BeforeAll(func(ctx SpecContext) {
		Expect(os.Geteuid()).To(BeZero(), "network namespaces and libvirtd need root")
		s = newSuite("recovery")
		DeferCleanup(func(ctx SpecContext) {
			out, err := s.command(ctx, "quickstart", "down", "--state", s.state).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
			Expect(os.RemoveAll(filepath.Dir(s.state))).To(Succeed())
		}, NodeTimeout(5*time.Minute))
		out, err := s.command(ctx, "quickstart", "--yes", "--state", s.state).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
	}, NodeTimeout(30*time.Minute))

	AfterEach(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			s.keep(ctx)
		}
	}, NodeTimeout(2*time.Minute))

	It("begins with the last snapshot, and its workers stay", func(ctx SpecContext) {
		workload := newClient(s.workloadKubeconfig())
		Expect(workload.Create(ctx, note("before"))).To(Succeed())
		workers := s.workerNodes(ctx, workload)
		Expect(workers).NotTo(BeEmpty())
		s.rollTo(ctx, toImage, "")
		var snapshot string
		Eventually(func(g Gomega) {
			snapshot = s.controlPlane(ctx).Status.LastBackup.Name
			g.Expect(snapshot).NotTo(BeEmpty())
		}).WithContext(ctx).WithTimeout(5 * time.Minute).Should(Succeed())
		Expect(workload.Create(ctx, note("after"))).To(Succeed())

		By("destroying the control plane's VM; the one that is to replace it has no VM yet, or no node")
		lost := s.controlPlaneMachines(ctx)
		began := time.Now()
		for _, m := range s.machinesOfControlPlane(ctx) {
			if m.Status.NodeRef.IsDefined() {
				s.destroyVM(ctx, m.Name)
			}
		}
		s.restoreFrom(ctx, snapshot)
		Eventually(func(g Gomega) {
			g.Expect(s.controlPlane(ctx).Status.Conditions).To(ContainElement(HaveField("Reason", controlplanev1.RestoreHeldReason)), "nothing is given up before a person says so")
		}).WithContext(ctx).WithTimeout(2 * time.Minute).Should(Succeed())
		s.giveUp(ctx, lost)
		Eventually(func(g Gomega) {
			cp := s.controlPlane(ctx)
			g.Expect(cp.Annotations[controlplanev1.RestoredFromAnnotation]).To(Equal(snapshot))
			for _, condition := range []string{controlplanev1.AvailableCondition, controlplanev1.EtcdHealthyCondition, controlplanev1.ComponentsHealthyCondition} {
				g.Expect(meta.IsStatusConditionTrue(cp.Status.Conditions, condition)).To(BeTrue(), condition)
			}
		}).WithContext(ctx).WithTimeout(onePlane).Should(Succeed())
		AddReportEntry("restored", fmt.Sprintf("%s after %s", snapshot, time.Since(began).Round(time.Second)))

		now := s.controlPlaneMachines(ctx)
		Expect(now).To(HaveLen(1))
		Expect(lost).NotTo(ContainElement(now[0]))
		s.expectRestored(ctx, snapshot)
		for _, m := range lost {
			Expect(apierrors.IsNotFound(workload.Get(ctx, client.ObjectKey{Name: m}, &corev1.Node{}))).To(BeTrue(), "Node %s of a VM that is gone", m)
		}
		Eventually(func(g Gomega) {
			g.Expect(s.workerNodes(ctx, workload)).To(Equal(workers))
		}).WithContext(ctx).WithTimeout(5 * time.Minute).Should(Succeed())
	}, SpecTimeout(2*onePlane))
})

// restoreFrom has a control plane begin with a snapshot.
func (s *suite) restoreFrom(ctx context.Context, snapshot string) {
	GinkgoHelper()
	cp := s.controlPlane(ctx)
	before := cp.DeepCopy()
	cp.Spec.RestoreFrom.Snapshot = snapshot
	Expect(s.management().Patch(ctx, cp, client.MergeFrom(before))).To(Succeed())
}

// giveUp deletes Machines.
func (s *suite) giveUp(ctx context.Context, machines []string) {
	GinkgoHelper()
	for _, m := range machines {
		Expect(client.IgnoreNotFound(s.management().Delete(ctx, &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: m}}))).To(Succeed())
	}
}

// expectRestored checks that the cluster holds what was written before the snapshot, and not what was written after it.
func (s *suite) expectRestored(ctx context.Context, snapshot string) {
	GinkgoHelper()
	Expect(s.controlPlane(ctx).Annotations).To(HaveKeyWithValue(controlplanev1.RestoredFromAnnotation, snapshot))
	workload := newClient(s.workloadKubeconfig())
	Expect(workload.Get(ctx, client.ObjectKeyFromObject(note("before")), &corev1.ConfigMap{})).To(Succeed())
	Expect(apierrors.IsNotFound(workload.Get(ctx, client.ObjectKeyFromObject(note("after")), &corev1.ConfigMap{}))).To(BeTrue(), "it was written after the snapshot")
}

// note is something that a user of the cluster wrote.
func note(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

// workerNodes are the UIDs of the Nodes of workers that are ready, by name.
func (s *suite) workerNodes(ctx context.Context, workload client.Client) map[string]string {
	GinkgoHelper()
	list := &corev1.NodeList{}
	Expect(workload.List(ctx, list)).To(Succeed())
	ready := map[string]string{}
	for _, n := range list.Items {
		if _, is := n.Labels["node-role.kubernetes.io/control-plane"]; is {
			continue
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				ready[n.Name] = string(n.UID)
			}
		}
	}
	return ready
}
