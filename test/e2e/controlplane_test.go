// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

const (
	nextImage      = "v1.2.0"
	nextKubernetes = "v1.36.4"

	// onePlane is how long one control plane machine may take to come, and one to go, on emulated CPUs.
	onePlane = 15 * time.Minute
)

// The control plane is replaced on real VMs while somebody writes, loses a machine, and is lost as a whole. Three machines ask
// for more than two emulated CPUs can do: each needs most of one while nothing happens.
var _ = Describe("a control plane", func() {
	Describe("of one", Ordered, Label("one"), func() { replacement(1) })
	Describe("of three", Ordered, Label("three"), func() { replacement(3) })
})

// replacement is the life of a control plane of some machines.
func replacement(machines int) {
	var s *suite

	BeforeAll(func(ctx SpecContext) {
		Expect(os.Geteuid()).To(BeZero(), "network namespaces and libvirtd need root")
		s = newSuite(fmt.Sprintf("replacement-%d", machines))
		DeferCleanup(func(ctx SpecContext) {
			out, err := s.command(ctx, "quickstart", "down", "--state", s.state).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
			Expect(os.RemoveAll(filepath.Dir(s.state))).To(Succeed())
		}, NodeTimeout(5*time.Minute))
		// Whatever else is emulated takes time from control planes, so there are no workers.
		out, err := s.command(ctx, "quickstart", "--yes", "--control-planes", strconv.Itoa(machines), "--workers", "0", "--state", s.state).CombinedOutput()
		AddReportEntry("quickstart", string(out))
		Expect(err).NotTo(HaveOccurred(), string(out))
		s.publishImage(ctx, toImage)
	}, NodeTimeout(75*time.Minute))

	AfterEach(func(ctx SpecContext) {
		if CurrentSpecReport().Failed() {
			s.keep(ctx)
		}
	}, NodeTimeout(2*time.Minute))

	It("answers through the VIP, with a member of etcd on each machine", func(ctx SpecContext) {
		s.expectWhole(ctx, machines, fromImage, "", 5*time.Minute)
	}, SpecTimeout(85*time.Minute)) // the first spec's time is also that of BeforeAll

	It("is replaced by another image while a client writes once per second", func(ctx SpecContext) {
		before := s.controlPlaneMachines(ctx)
		w := s.startWriter(ctx)
		began := time.Now()
		plan := s.foretellRollTo(ctx, toImage, "")
		s.rollTo(ctx, toImage, "")
		s.expectWhole(ctx, machines, toImage, "", 3*onePlane)
		AddReportEntry("replaced by another image", fmt.Sprintf("%s; %s", time.Since(began).Round(time.Second), w.stop()))
		plan.expectFulfilled(ctx)
		for _, m := range s.controlPlaneMachines(ctx) {
			Expect(before).NotTo(ContainElement(m), "an old machine is still there")
		}
		s.expectBackup(ctx)
	}, SpecTimeout(3*onePlane+10*time.Minute))

	It("gets the next patch of Kubernetes together with another image", func(ctx SpecContext) {
		s.publishImage(ctx, nextImage, "--kubernetes-version", nextKubernetes)
		workload := newClient(s.workloadKubeconfig())
		Expect(workload.Create(ctx, note("before"))).To(Succeed())
		w := s.startWriter(ctx)
		began := time.Now()
		plan := s.foretellRollTo(ctx, nextImage, nextKubernetes)
		s.rollTo(ctx, nextImage, nextKubernetes)
		s.expectWhole(ctx, machines, nextImage, nextKubernetes, 3*onePlane)
		AddReportEntry("replaced by another Kubernetes", fmt.Sprintf("%s; %s", time.Since(began).Round(time.Second), w.stop()))
		plan.expectFulfilled(ctx)
		Expect(workload.Create(ctx, note("after"))).To(Succeed())
	}, SpecTimeout(3*onePlane+30*time.Minute))

	if machines > 1 {
		It("replaces a machine whose VM was destroyed behind our back", func(ctx SpecContext) {
			out, err := s.kubectl(ctx, s.managementKubeconfig(), healthCheck, "apply", "-f", "-")
			Expect(err).NotTo(HaveOccurred(), out)
			victim := s.controlPlaneMachines(ctx)[1]
			w := s.startWriter(ctx)
			began := time.Now()
			s.pause(ctx, true) // nothing is done before it was foretold
			s.destroyVM(ctx, victim)
			Eventually(func(g Gomega) {
				for _, m := range s.machinesOfControlPlane(ctx) {
					g.Expect(conditions.IsFalse(&m, clusterv1.MachineOwnerRemediatedCondition)).To(Equal(m.Name == victim), m.Name)
				}
			}).WithContext(ctx).WithTimeout(onePlane).Should(Succeed())
			plan := s.foretell(ctx, "")
			s.pause(ctx, false)
			Eventually(func(g Gomega) {
				g.Expect(s.controlPlaneMachines(ctx)).NotTo(ContainElement(victim))
			}).WithContext(ctx).WithTimeout(onePlane).Should(Succeed())
			s.expectWhole(ctx, machines, nextImage, nextKubernetes, 2*onePlane)
			AddReportEntry("healed", fmt.Sprintf("%s; %s", time.Since(began).Round(time.Second), w.stop()))
			plan.expectFulfilled(ctx)
		}, SpecTimeout(3*onePlane+10*time.Minute))
	}

	It("begins with the last snapshot when all of its machines are lost", func(ctx SpecContext) {
		snapshot, lost := s.controlPlane(ctx).Status.LastBackup.Name, s.controlPlaneMachines(ctx)
		began := time.Now()
		for _, m := range lost {
			s.destroyVM(ctx, m)
		}
		s.restoreFrom(ctx, snapshot)
		Eventually(func(g Gomega) {
			g.Expect(s.controlPlane(ctx).Status.Conditions).To(ContainElement(HaveField("Reason", controlplanev1.RestoreHeldReason)), "nothing is given up before a person says so")
		}).WithContext(ctx).WithTimeout(2 * time.Minute).Should(Succeed())
		s.pause(ctx, true) // nothing is done before it was foretold
		s.giveUp(ctx, lost)
		plan := s.foretell(ctx, "")
		s.pause(ctx, false)
		s.expectWhole(ctx, machines, nextImage, nextKubernetes, 3*onePlane)
		plan.expectFulfilled(ctx)
		AddReportEntry("restored", fmt.Sprintf("%s after %s", snapshot, time.Since(began).Round(time.Second)))
		for _, m := range s.controlPlaneMachines(ctx) {
			Expect(lost).NotTo(ContainElement(m))
		}
		s.expectRestored(ctx, snapshot)
	}, SpecTimeout(3*onePlane+10*time.Minute))
}

// healthCheck gives a Node that is gone two minutes. What an emulated VM does in a minute may take a minute.
const healthCheck = `apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineHealthCheck
metadata:
  name: control-plane
  namespace: default
spec:
  clusterName: quickstart
  selector:
    matchLabels:
      cluster.x-k8s.io/control-plane: ""
  checks:
    nodeStartupTimeoutSeconds: 1800
    unhealthyNodeConditions:
    - type: Ready
      status: Unknown
      timeoutSeconds: 120
    - type: Ready
      status: "False"
      timeoutSeconds: 300
`

// expectWhole waits until so many control plane Machines of an image run, with all components healthy, and nothing is left to do.
func (s *suite) expectWhole(ctx context.Context, size int, image, version string, within time.Duration) {
	GinkgoHelper()
	last := ""
	Eventually(func(g Gomega) {
		cp := s.controlPlane(ctx)
		now := s.tellControlPlane(ctx, cp)
		if now != last {
			last = now
			GinkgoWriter.Println(time.Now().Format(time.TimeOnly), now)
		}
		for condition, status := range map[string]metav1.ConditionStatus{
			controlplanev1.AvailableCondition: metav1.ConditionTrue, controlplanev1.EtcdHealthyCondition: metav1.ConditionTrue,
			controlplanev1.ComponentsHealthyCondition: metav1.ConditionTrue, controlplanev1.RollingOutCondition: metav1.ConditionFalse,
			controlplanev1.ScalingUpCondition: metav1.ConditionFalse, controlplanev1.ScalingDownCondition: metav1.ConditionFalse,
		} {
			found := meta.FindStatusCondition(cp.Status.Conditions, condition)
			g.Expect(found).NotTo(BeNil(), condition)
			g.Expect(found.Status).To(Equal(status), "%s: %s: %s", condition, found.Reason, found.Message)
		}
		machines := s.machinesOfControlPlane(ctx)
		g.Expect(machines).To(HaveLen(size))
		for _, m := range machines {
			g.Expect(m.Status.NodeInfo).NotTo(BeNil(), m.Name)
			g.Expect(m.Status.NodeInfo.OSImage).To(ContainSubstring("Ingot OS "+image), m.Name)
			if version != "" {
				g.Expect(m.Status.NodeInfo.KubeletVersion).To(Equal(version), m.Name)
			}
		}
	}).WithContext(ctx).WithTimeout(within).WithPolling(3 * time.Second).Should(Succeed())
}

// tellControlPlane is the state of a control plane in a line.
func (s *suite) tellControlPlane(ctx context.Context, cp *controlplanev1.IngotControlPlane) string {
	var parts []string
	for _, m := range s.machinesOfControlPlane(ctx) {
		state := m.Status.Phase
		if conditions.IsTrue(&m, clusterv1.MachineReadyCondition) {
			state += " ready"
		}
		parts = append(parts, m.Name+" "+state)
	}
	for _, condition := range []string{controlplanev1.RollingOutCondition, controlplanev1.ScalingUpCondition, controlplanev1.ScalingDownCondition, controlplanev1.EtcdHealthyCondition} {
		if c := meta.FindStatusCondition(cp.Status.Conditions, condition); c != nil && c.Message != "" {
			parts = append(parts, condition+" "+string(c.Status)+" "+c.Reason+": "+c.Message)
		}
	}
	return strings.Join(parts, " | ")
}

// publishImage builds a version of our node image, and applies its NodeImage.
func (s *suite) publishImage(ctx context.Context, version string, args ...string) {
	GinkgoHelper()
	images := filepath.Join(filepath.Dir(s.state), "images", version)
	out, err := s.command(ctx, append([]string{"image", "build", "--version", version, "--output", images}, args...)...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	manifests, err := filepath.Glob(filepath.Join(images, "*.nodeimage.yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(manifests).To(HaveLen(1))
	applied, err := s.kubectl(ctx, s.managementKubeconfig(), "", "apply", "-f", manifests[0])
	Expect(err).NotTo(HaveOccurred(), applied)
}

func (s *suite) controlPlane(ctx context.Context) *controlplanev1.IngotControlPlane {
	GinkgoHelper()
	cp := &controlplanev1.IngotControlPlane{}
	Expect(s.management().Get(ctx, client.ObjectKey{Namespace: "default", Name: "quickstart"}, cp)).To(Succeed())
	return cp
}

func (s *suite) machinesOfControlPlane(ctx context.Context) []clusterv1.Machine {
	GinkgoHelper()
	list := &clusterv1.MachineList{}
	Expect(s.management().List(ctx, list, client.InNamespace("default"), client.HasLabels{clusterv1.MachineControlPlaneLabel})).To(Succeed())
	return list.Items
}

// controlPlaneMachines are the names of the control plane Machines, sorted.
func (s *suite) controlPlaneMachines(ctx context.Context) []string {
	GinkgoHelper()
	var names []string
	for _, m := range s.machinesOfControlPlane(ctx) {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// rollTo declares another image, and another version where one is given, as a person would: a new template, and the control
// plane refers to it.
func (s *suite) rollTo(ctx context.Context, image, version string) {
	GinkgoHelper()
	cp := s.controlPlane(ctx)
	next := s.templateOf(ctx, cp, image)
	Expect(s.management().Create(ctx, next)).To(Succeed())
	before := cp.DeepCopy()
	cp.Spec.MachineTemplate.Spec.InfrastructureRef.Name = next.Name
	cp.Spec.Version = cmp.Or(version, cp.Spec.Version)
	Expect(s.management().Patch(ctx, cp, client.MergeFrom(before))).To(Succeed())
}

// templateOf is the template of a control plane with another image.
func (s *suite) templateOf(ctx context.Context, cp *controlplanev1.IngotControlPlane, image string) *infrav1.IngotMachineTemplate {
	GinkgoHelper()
	template := &infrav1.IngotMachineTemplate{}
	Expect(s.management().Get(ctx, client.ObjectKey{Namespace: "default", Name: cp.Spec.MachineTemplate.Spec.InfrastructureRef.Name}, template)).To(Succeed())
	next := &infrav1.IngotMachineTemplate{
		TypeMeta:   metav1.TypeMeta{APIVersion: infrav1.GroupVersion.String(), Kind: "IngotMachineTemplate"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "quickstart-control-plane-ingot-os-" + image},
		Spec:       *template.Spec.DeepCopy(),
	}
	next.Spec.Template.Spec.Image.Name = "ingot-os-" + image
	return next
}

// foretellRollTo asks ingotctl plan what rollTo is going to bring about.
func (s *suite) foretellRollTo(ctx context.Context, image, version string) *foretold {
	GinkgoHelper()
	cp := s.controlPlane(ctx)
	next := s.templateOf(ctx, cp, image)
	template, err := yaml.Marshal(next)
	Expect(err).NotTo(HaveOccurred())
	return s.foretell(ctx, string(template)+fmt.Sprintf(rollout, cmp.Or(version, cp.Spec.Version), next.Name))
}

// rollout is what a person changes of a control plane.
const rollout = `---
apiVersion: controlplane.cluster.x-k8s.io/v1alpha1
kind: IngotControlPlane
metadata:
  name: quickstart
  namespace: default
spec:
  version: %s
  machineTemplate:
    spec:
      infrastructureRef:
        apiGroup: infrastructure.cluster.x-k8s.io
        kind: IngotMachineTemplate
        name: %s
`

// expectBackup checks that etcd was backed up before the first machine went.
func (s *suite) expectBackup(ctx context.Context) {
	GinkgoHelper()
	cp := s.controlPlane(ctx)
	Expect(meta.IsStatusConditionTrue(cp.Status.Conditions, controlplanev1.BackupAvailableCondition)).To(BeTrue())
	Expect(cp.Status.LastBackup.Name).NotTo(BeEmpty())
	AddReportEntry("backup", fmt.Sprintf("%s: revision %d, %d bytes", cp.Status.LastBackup.Name, cp.Status.LastBackup.Revision, cp.Status.LastBackup.SizeBytes))
}

// destroyVM destroys the VM of a Machine, with its disks, as a person at the host would.
func (s *suite) destroyVM(ctx context.Context, machine string) {
	GinkgoHelper()
	infra := &infrav1.IngotMachine{}
	Expect(s.management().Get(ctx, client.ObjectKey{Namespace: "default", Name: machine}, infra)).To(Succeed())
	uuid := strings.TrimPrefix(infra.Spec.ProviderID, "ingot://")
	s.virsh(ctx, "destroy", uuid)
	s.virsh(ctx, "undefine", uuid, "--nvram", "--remove-all-storage")
}

// writer writes through the endpoint of the workload cluster once per second.
type writer struct {
	cancel          context.CancelFunc
	done            chan struct{}
	written, failed int
	longest         time.Duration
	causes          map[string]int
}

func (s *suite) startWriter(ctx context.Context) *writer {
	GinkgoHelper()
	workload := newClient(s.workloadKubeconfig())
	canary := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "canary"}, Data: map[string]string{"count": "0"}}
	Expect(client.IgnoreAlreadyExists(workload.Create(ctx, canary))).To(Succeed())
	ctx, cancel := context.WithCancel(ctx)
	w := &writer{cancel: cancel, done: make(chan struct{}), causes: map[string]int{}}
	go func() {
		defer close(w.done)
		w.run(ctx, workload)
	}()
	return w
}

func (w *writer) run(ctx context.Context, workload client.Client) {
	success := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 10*time.Second)
		canary := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "canary"}}
		patch := fmt.Sprintf(`{"data":{"count":"%d"}}`, w.written+1)
		err := workload.Patch(once, canary, client.RawPatch("application/merge-patch+json", []byte(patch)))
		cancel()
		switch {
		case ctx.Err() != nil:
		case err == nil:
			w.written++
			w.longest, success = max(w.longest, time.Since(success)), time.Now()
		default:
			w.failed++
			w.causes[cause(err)]++
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// cause shortens an error to what it ends with.
func cause(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

// stop ends the writer and says what it saw.
func (w *writer) stop() string {
	w.cancel()
	<-w.done
	return fmt.Sprintf("%d writes, %d failed %v, longest time without a write %s", w.written, w.failed, w.causes, w.longest.Round(100*time.Millisecond))
}
