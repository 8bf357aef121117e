// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// cloudInitImage is the other flavor of our node image.
const cloudInitImage = "ingot-os-cloud-init-" + fromImage

// joinWithCloudInit adds a worker from the flavor of the image that cloud-init configures to the cluster of the quickstart,
// shows that it joins, and removes it again.
func (s *suite) joinWithCloudInit(ctx context.Context) {
	GinkgoHelper()
	vms := len(s.virsh(ctx, "list", "--all", "--uuid"))
	s.publishImage(ctx, fromImage, "--flavor", "cloud-init")
	Expect(s.management().Create(ctx, s.cloudInitTemplate(ctx))).To(Succeed())
	out, err := s.kubectl(ctx, s.managementKubeconfig(), cloudInitWorkers, "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred(), out)
	began := time.Now()
	var joined clusterv1.Machine
	Eventually(func(g Gomega) {
		list := &clusterv1.MachineList{}
		g.Expect(s.management().List(ctx, list, client.InNamespace("default"), client.MatchingLabels{clusterv1.MachineDeploymentNameLabel: "cloud-init"})).To(Succeed())
		g.Expect(list.Items).To(HaveLen(1))
		joined = list.Items[0]
		g.Expect(conditions.IsTrue(&joined, clusterv1.MachineNodeReadyCondition)).To(BeTrue())
	}).WithContext(ctx).WithTimeout(15 * time.Minute).Should(Succeed())
	Expect(joined.Status.NodeInfo.OSImage).To(ContainSubstring("cloud-init"))
	AddReportEntry("joined with cloud-init", joined.Status.NodeInfo.OSImage+" after "+time.Since(began).Round(time.Second).String())
	Eventually(func() string {
		return strings.Join(s.virsh(ctx, "vol-list", "ingot"), "\n")
	}).WithContext(ctx).WithTimeout(2*time.Minute).ShouldNot(ContainSubstring("bootstrap"), "what it joined with is taken away")
	Expect(s.management().Delete(ctx, &clusterv1.MachineDeployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "cloud-init"}})).To(Succeed())
	Eventually(func(g Gomega) {
		g.Expect(s.virsh(ctx, "list", "--all", "--uuid")).To(HaveLen(vms))
		g.Expect(apierrors.IsNotFound(s.management().Get(ctx, client.ObjectKeyFromObject(&joined), &clusterv1.Machine{}))).To(BeTrue())
	}).WithContext(ctx).WithTimeout(5 * time.Minute).Should(Succeed())
}

// workers are the quickstart's own.
func (s *suite) workers(ctx context.Context) *clusterv1.MachineDeployment {
	GinkgoHelper()
	workers := &clusterv1.MachineDeployment{}
	Expect(s.management().Get(ctx, client.ObjectKey{Namespace: "default", Name: "quickstart-md-0"}, workers)).To(Succeed())
	return workers
}

// cloudInitTemplate is the template of the quickstart's workers with the other flavor.
func (s *suite) cloudInitTemplate(ctx context.Context) *infrav1.IngotMachineTemplate {
	GinkgoHelper()
	template := &infrav1.IngotMachineTemplate{}
	Expect(s.management().Get(ctx, client.ObjectKey{Namespace: "default", Name: s.workers(ctx).Spec.Template.Spec.InfrastructureRef.Name}, template)).To(Succeed())
	next := &infrav1.IngotMachineTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "cloud-init"}, Spec: *template.Spec.DeepCopy()}
	next.Spec.Template.Spec.Image.Name = cloudInitImage
	return next
}

const cloudInitWorkers = `apiVersion: bootstrap.cluster.x-k8s.io/v1alpha1
kind: IngotConfigTemplate
metadata:
  name: cloud-init
  namespace: default
spec:
  template:
    spec:
      joinTimeoutSeconds: 900
      cloudInit: {}
---
apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineDeployment
metadata:
  name: cloud-init
  namespace: default
spec:
  clusterName: quickstart
  replicas: 1
  selector:
    matchLabels:
      cluster.x-k8s.io/deployment-name: cloud-init
  template:
    metadata:
      labels:
        cluster.x-k8s.io/deployment-name: cloud-init
    spec:
      clusterName: quickstart
      version: v1.36.3
      bootstrap:
        configRef: {apiGroup: bootstrap.cluster.x-k8s.io, kind: IngotConfigTemplate, name: cloud-init}
      infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: IngotMachineTemplate, name: cloud-init}
`
