// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

const (
	wrongImage   = "ingot-os-mislabelled"
	wrongVersion = "v9.9.9"
)

// expectWrongImageFound declares the artefact that the worker runs to be another version, has the worker replaced by one from
// that image, and waits until both values are told of it. Until then all machines are what they were declared to be.
func (s *suite) expectWrongImageFound(ctx context.Context) {
	GinkgoHelper()
	c := s.management()
	md := s.workers(ctx)
	template := &infrav1.IngotMachineTemplate{}
	Expect(c.Get(ctx, client.ObjectKey{Namespace: md.Namespace, Name: md.Spec.Template.Spec.InfrastructureRef.Name}, template)).To(Succeed())
	image := &ingotv1.NodeImage{}
	Expect(c.Get(ctx, client.ObjectKey{Name: template.Spec.Template.Spec.Image.Name}, image)).To(Succeed())
	truth := image.Spec.NodeIdentity.OSImage
	machines := &infrav1.IngotMachineList{}
	Expect(c.List(ctx, machines)).To(Succeed())
	for i := range machines.Items {
		verified := conditions.Get(&machines.Items[i], infrav1.ImageVerifiedCondition)
		Expect(verified).NotTo(BeNil(), machines.Items[i].Name)
		Expect(verified.Status).To(Equal(metav1.ConditionTrue), verified.Message)
	}

	By("declaring the artefact of " + image.Name + " to be " + wrongVersion)
	mislabelled := &ingotv1.NodeImage{ObjectMeta: metav1.ObjectMeta{Name: wrongImage}, Spec: *image.Spec.DeepCopy()}
	mislabelled.Spec.OS.Version = wrongVersion
	mislabelled.Spec.NodeIdentity.OSImage = "Ingot OS " + wrongVersion
	Expect(c.Create(ctx, mislabelled)).To(Succeed())
	copied := &infrav1.IngotMachineTemplate{
		ObjectMeta: metav1.ObjectMeta{Namespace: md.Namespace, Name: md.Name + "-" + wrongImage}, Spec: *template.Spec.DeepCopy(),
	}
	copied.Spec.Template.Spec.Image.Name = wrongImage
	Expect(c.Create(ctx, copied)).To(Succeed())
	before := client.MergeFrom(md.DeepCopy())
	md.Spec.Template.Spec.InfrastructureRef.Name = copied.Name
	Expect(c.Patch(ctx, md, before)).To(Succeed())

	By("waiting until its node has joined and is found to be " + truth)
	Eventually(func(g Gomega) {
		g.Expect(c.List(ctx, machines)).To(Succeed())
		var verified *metav1.Condition
		for i := range machines.Items {
			if machines.Items[i].Spec.PinnedImage.Name == wrongImage {
				verified = conditions.Get(&machines.Items[i], infrav1.ImageVerifiedCondition)
			}
		}
		g.Expect(verified).NotTo(BeNil())
		g.Expect(verified.Status).To(Equal(metav1.ConditionFalse), verified.Message)
		g.Expect(verified.Reason).To(Equal(infrav1.OSVersionMismatchReason))
		g.Expect(verified.Message).To(ContainSubstring(wrongVersion))
		g.Expect(verified.Message).To(ContainSubstring(truth))
		AddReportEntry("the condition", verified.Message)
	}).WithContext(ctx).WithTimeout(15 * time.Minute).WithPolling(5 * time.Second).Should(Succeed())
}
