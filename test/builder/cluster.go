// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// ClusterName is the name of every Cluster and of its IngotCluster; a namespace has at most one.
const ClusterName = "demo"

// Cluster returns a Cluster whose infrastructure is an IngotCluster of the same name.
func Cluster(change ...func(*clusterv1.Cluster)) *clusterv1.Cluster {
	return changed(&clusterv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: ClusterName},
		Spec: clusterv1.ClusterSpec{
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{
				APIGroup: infrav1.GroupVersion.Group, Kind: "IngotCluster", Name: ClusterName,
			},
		},
	}, change)
}

// IngotCluster returns the infrastructure of Cluster, owned by it, with an endpoint.
func IngotCluster(owner *clusterv1.Cluster, change ...func(*infrav1.IngotCluster)) *infrav1.IngotCluster {
	return changed(&infrav1.IngotCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name:   ClusterName,
			Labels: map[string]string{clusterv1.ClusterNameLabel: ClusterName},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: clusterv1.GroupVersion.String(), Kind: "Cluster", Name: owner.Name, UID: owner.UID,
			}},
		},
		Spec: infrav1.IngotClusterSpec{ControlPlaneEndpoint: infrav1.APIEndpoint{Host: "192.0.2.10", Port: 6443}},
	}, change)
}

// ClusterConfiguration returns what kubeadm init leaves in the workload cluster for machines that join, without what no test
// asks for.
func ClusterConfiguration() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "kubeadm-config"},
		Data: map[string]string{
			"ClusterConfiguration": "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: " + KubernetesVersion + "\n",
		},
	}
}

// Machine returns a worker Machine with an IngotMachine and a bootstrap data Secret of the same name.
func Machine(name string, change ...func(*clusterv1.Machine)) *clusterv1.Machine {
	return changed(&clusterv1.Machine{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: ClusterName}},
		Spec: clusterv1.MachineSpec{
			ClusterName: ClusterName,
			Version:     KubernetesVersion,
			Bootstrap:   clusterv1.Bootstrap{DataSecretName: new(name)},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{
				APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachine", Name: name,
			},
		},
	}, change)
}

// IngotMachine returns the infrastructure machine of owner, from an image and on an endpoint.
func IngotMachine(owner *clusterv1.Machine, image, endpoint string, change ...func(*infrav1.IngotMachine)) *infrav1.IngotMachine {
	return changed(&infrav1.IngotMachine{
		ObjectMeta: metav1.ObjectMeta{
			Name:            owner.Name,
			Labels:          map[string]string{clusterv1.ClusterNameLabel: ClusterName},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, clusterv1.GroupVersion.WithKind("Machine"))},
		},
		Spec: IngotMachineSpec(image, endpoint),
	}, change)
}

// IngotMachineSpec returns a machine with two CPUs, from an image and on an endpoint.
func IngotMachineSpec(image, endpoint string) infrav1.IngotMachineSpec {
	return infrav1.IngotMachineSpec{
		Image:     infrav1.ImageReference{Name: image},
		Resources: infrav1.MachineResources{CPUs: 2, Memory: resource.MustParse("4Gi")},
		Networks:  []infrav1.MachineNetwork{{Name: "default"}},
		Platform:  infrav1.MachinePlatform{Libvirt: infrav1.LibvirtMachine{EndpointName: endpoint, StoragePool: "default"}},
	}
}

// IngotMachineTemplate returns a template of such machines.
func IngotMachineTemplate(name, image, endpoint string, change ...func(*infrav1.IngotMachineTemplate)) *infrav1.IngotMachineTemplate {
	return changed(&infrav1.IngotMachineTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: infrav1.IngotMachineTemplateSpec{
			Template: infrav1.IngotMachineTemplateResource{Spec: IngotMachineSpec(image, endpoint)},
		},
	}, change)
}

// BootstrapData returns a Secret as bootstrap providers publish it. Its content is for no real machine.
func BootstrapData(name string, change ...func(*corev1.Secret)) *corev1.Secret {
	return changed(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: ClusterName}},
		Type:       clusterv1.ClusterSecretType,
		Data:       map[string][]byte{"value": []byte(`{"ignition":{"version":"3.4.0"}}`), "format": []byte("ignition")},
	}, change)
}
