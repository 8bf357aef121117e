// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// TestReleasedClasses takes each ClusterClass of the release as clusterctl generates it with its Cluster. Cluster API's own
// webhooks judge class and variables, its topology controller makes everything of them, and Ingot's webhooks judge that. No
// machine needs to boot for it. A patch that names a field which is not there would show here only.
func TestReleasedClasses(t *testing.T) {
	for class, c := range map[string]struct {
		encrypts bool
		judge    func(controlPlane, worker bootstrapv1.IngotConfigSpec) bool
	}{
		"flatcar": {true, func(controlPlane, worker bootstrapv1.IngotConfigSpec) bool {
			variant := bootstrapv1.IgnitionVariantFlatcar
			return controlPlane.Ignition.Variant == variant && len(controlPlane.Ignition.Sysexts) == 2 && controlPlane.ControlPlane.VIP.VirtualRouterID == 77 &&
				controlPlane.ControlPlane.ImageRepository == "registry.example.com" && worker.Ignition.Variant == variant &&
				len(worker.Ignition.Sysexts) == 1 && worker.Ignition.Sysexts[0].URL == "https://mirror.example.com/kubernetes-x86-64.raw"
		}},
		"fedora-coreos": {true, func(controlPlane, worker bootstrapv1.IngotConfigSpec) bool {
			variant := bootstrapv1.IgnitionVariantFedoraCoreOS
			return controlPlane.Ignition.Variant == variant && worker.Ignition.Variant == variant && controlPlane.ControlPlane.ImageRepository == "registry.example.com"
		}},
		"cloud-init": {false, func(controlPlane, worker bootstrapv1.IngotConfigSpec) bool {
			return controlPlane.CloudInit != nil && worker.CloudInit != nil && controlPlane.ControlPlane.VIP.VirtualRouterID == 77
		}},
		"talos": {true, func(controlPlane, worker bootstrapv1.IngotConfigSpec) bool {
			return controlPlane.Talos != nil && worker.Talos != nil && controlPlane.ControlPlane.VIP.Interface == "enp1s0"
		}},
	} {
		t.Run(class, func(t *testing.T) {
			name := "released-" + class
			w := newWorld(t, name)
			w.startManager()
			w.applyReleased(class)
			w.eventually("the cluster is as its class says", w.topologyReconciled)

			controlPlane, worker := w.madeOfClass()
			if !c.judge(controlPlane.Spec.Config, worker.Spec.Template.Spec) {
				t.Errorf("not what the variables say\ncontrol plane: %+v\nworkers: %+v", controlPlane.Spec.Config, worker.Spec.Template.Spec)
			}
			for _, config := range []bootstrapv1.IngotConfigSpec{controlPlane.Spec.Config, worker.Spec.Template.Spec} {
				if encrypted := config.DiskEncryption.Key == bootstrapv1.DiskKeyTPM2; encrypted != c.encrypts {
					t.Errorf("the disk is encrypted: %t, want %t", encrypted, c.encrypts)
				}
			}
			w.expectMachinesOfClass(c.encrypts)
			w.deleteCluster()
		})
	}
}

// applyReleased applies what clusterctl generates, with another image and another size for the workers.
func (w *world) applyReleased(class string) {
	w.Helper()
	manifests, err := repository.Generate(w.Context(), shared.clusterctl, repository.Cluster{
		Name: w.cluster, Namespace: w.namespace, KubernetesVersion: builder.KubernetesVersion,
		ControlPlanes: 3, Workers: 2, Flavor: "topology-" + class,
		Variables: map[string]string{
			"CONTROL_PLANE_ENDPOINT_HOST": "192.0.2.10", "INGOT_ENDPOINT": w.cluster,
			"INGOT_IMAGE": "released-1", "INGOT_WORKER_IMAGE": "released-2",
			"INGOT_CONTROL_PLANE_CPUS": "3", "INGOT_CONTROL_PLANE_MEMORY": "5Gi", "INGOT_WORKER_CPUS": "7", "INGOT_WORKER_MEMORY": "9Gi",
			"INGOT_NETWORK": "machines", "INGOT_STORAGE_POOL": "fast", "INGOT_ENCRYPT_DISK": "true",
			"INGOT_VIRTUAL_ROUTER_ID": "77", "INGOT_IMAGE_REPOSITORY": "registry.example.com", "INGOT_VIP_INTERFACE": "enp1s0",
			"INGOT_KUBERNETES_SYSEXT_URL":    "https://mirror.example.com/kubernetes-x86-64.raw",
			"INGOT_KUBERNETES_SYSEXT_SHA256": strings.Repeat("a0", 32),
			"INGOT_KEEPALIVED_SYSEXT_URL":    "https://mirror.example.com/keepalived-x86-64.raw",
			"INGOT_KEEPALIVED_SYSEXT_SHA256": strings.Repeat("b1", 32),
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	objects, err := utilyaml.ToUnstructured(manifests)
	if err != nil {
		w.Fatal(err)
	}
	if err := apply(w.Context(), w.management, objects); err != nil {
		w.Fatal(err)
	}
}

// madeOfClass are what the topology controller made of the class.
func (w *world) madeOfClass() (*controlplanev1.IngotControlPlane, *bootstrapv1.IngotConfigTemplate) {
	w.Helper()
	cluster := &clusterv1.Cluster{}
	controlPlane, worker := &controlplanev1.IngotControlPlane{}, &bootstrapv1.IngotConfigTemplate{}
	if err := w.management.Get(w.Context(), w.key(w.cluster), cluster); err != nil {
		w.Fatal(err)
	}
	if err := w.management.Get(w.Context(), w.key(cluster.Spec.ControlPlaneRef.Name), controlPlane); err != nil {
		w.Fatal(err)
	}
	if err := w.management.Get(w.Context(), w.key(w.workersOfClass().Spec.Template.Spec.Bootstrap.ConfigRef.Name), worker); err != nil {
		w.Fatal(err)
	}
	return controlPlane, worker
}

func (w *world) workersOfClass() *clusterv1.MachineDeployment {
	w.Helper()
	list := &clusterv1.MachineDeploymentList{}
	if err := w.management.List(w.Context(), list, client.InNamespace(w.namespace)); err != nil || len(list.Items) != 1 {
		w.Fatalf("there are %d MachineDeployments (%v)", len(list.Items), err)
	}
	return &list.Items[0]
}

// expectMachinesOfClass compares the machine templates with the variables, and with what workers override.
func (w *world) expectMachinesOfClass(encrypted bool) {
	w.Helper()
	controlPlane, _ := w.madeOfClass()
	for of, c := range map[string]struct{ template, want string }{
		"control plane": {controlPlane.Spec.MachineTemplate.Spec.InfrastructureRef.Name, "released-1 3 5Gi"},
		"workers":       {w.workersOfClass().Spec.Template.Spec.InfrastructureRef.Name, "released-2 7 9Gi"},
	} {
		template := &infrav1.IngotMachineTemplate{}
		if err := w.management.Get(w.Context(), w.key(c.template), template); err != nil {
			w.Fatal(err)
		}
		spec := template.Spec.Template.Spec
		tpm := spec.TrustedBoot.VirtualTPM != nil && *spec.TrustedBoot.VirtualTPM
		got := fmt.Sprintf("%s %d %s on %s, %s, %s, TPM %s", spec.Image.Name, spec.Resources.CPUs, spec.Resources.Memory.String(),
			spec.Platform.Libvirt.EndpointName, spec.Platform.Libvirt.StoragePool, spec.Networks[0].Name, strconv.FormatBool(tpm))
		if want := fmt.Sprintf("%s on %s, fast, machines, TPM %t", c.want, w.cluster, encrypted); got != want {
			w.Errorf("%s: %s, want %s", of, got, want)
		}
	}
}
