// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeadmv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// begin creates what a user and Cluster API create: a Cluster that has nothing yet, a Machine, and what was cloned for
// it. The infrastructure machine has no identity yet.
func (s *story) begin(role bootstrapv1.Role, change ...func(*bootstrapv1.IngotConfig)) {
	s.Helper()
	s.create(&clusterv1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: clusterName},
		Spec: clusterv1.ClusterSpec{
			ClusterNetwork:    clusterv1.ClusterNetwork{Pods: clusterv1.NetworkRanges{CIDRBlocks: []string{"10.244.0.0/16"}}},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotCluster", Name: clusterName},
		},
	})
	s.create(s.infraMachine())
	config := &bootstrapv1.IngotConfig{
		ObjectMeta: metav1.ObjectMeta{Name: machineName, Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName}},
		Spec:       bootstrapv1.IngotConfigSpec{Role: role, Ignition: bootstrapv1.IgnitionConfig{Variant: bootstrapv1.IgnitionVariantGeneric}},
	}
	for _, c := range change {
		c(config)
	}
	s.create(config)
	s.create(newMachine())
	s.own()
}

func newMachine() *clusterv1.Machine {
	return &clusterv1.Machine{
		ObjectMeta: metav1.ObjectMeta{Name: machineName, Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName}},
		Spec: clusterv1.MachineSpec{
			ClusterName:       clusterName,
			Version:           "v1.36.3",
			Bootstrap:         clusterv1.Bootstrap{ConfigRef: clusterv1.ContractVersionedObjectReference{APIGroup: bootstrapv1.GroupVersion.Group, Kind: "IngotConfig", Name: machineName}},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: infrav1.GroupVersion.Group, Kind: "IngotMachine", Name: machineName},
		},
	}
}

// infraMachine is cast from an image of its own, which has the name of the namespace.
func (s *story) infraMachine() *infrav1.IngotMachine {
	return &infrav1.IngotMachine{
		ObjectMeta: metav1.ObjectMeta{Name: machineName},
		Spec: infrav1.IngotMachineSpec{
			Image:     infrav1.ImageReference{Name: s.namespace},
			Resources: infrav1.MachineResources{CPUs: 2, Memory: resource.MustParse("4Gi")},
			Networks:  []infrav1.MachineNetwork{{Name: "default"}},
			Platform:  infrav1.MachinePlatform{Libvirt: infrav1.LibvirtMachine{EndpointName: "local"}},
		},
	}
}

// own does what Cluster API does with a new Machine: it becomes the owner of what was made for it.
func (s *story) own() {
	s.Helper()
	owner := *metav1.NewControllerRef(s.machine(), clusterv1.GroupVersion.WithKind("Machine"))
	patch(s, s.config(), func(c *bootstrapv1.IngotConfig) { c.OwnerReferences = []metav1.OwnerReference{owner} })
}

func (s *story) provisionInfrastructure() {
	s.Helper()
	patchStatus(s, s.cluster(), func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = new(true) })
}

func (s *story) setEndpoint() {
	s.Helper()
	patch(s, s.cluster(), func(c *clusterv1.Cluster) {
		c.Spec.ControlPlaneEndpoint = clusterv1.APIEndpoint{Host: "192.0.2.10", Port: 6443}
	})
}

func (s *story) initializeControlPlane() {
	s.Helper()
	patchStatus(s, s.cluster(), func(c *clusterv1.Cluster) { c.Status.Initialization.ControlPlaneInitialized = new(true) })
}

func (s *story) chooseProviderID() {
	s.Helper()
	machine := &infrav1.IngotMachine{}
	s.get(machineName, machine)
	patch(s, machine, func(m *infrav1.IngotMachine) { m.Spec.ProviderID = providerID })
}

func (s *story) connect() { s.workload.client = s.client }

func (s *story) disconnect() { s.workload.client = nil }

// createCertificates does what a control plane provider does. Making keys takes a while, so all stories share them.
func (s *story) createCertificates(purposes ...secret.Purpose) {
	s.Helper()
	if len(purposes) == 0 {
		purposes = []secret.Purpose{secret.ClusterCA, secret.EtcdCA, secret.FrontProxyCA, secret.ServiceAccount}
	}
	for _, purpose := range purposes {
		certificate := *sharedCertificates(s.T).GetByPurpose(purpose)
		s.create(certificate.AsSecret(s.key(clusterName), metav1.OwnerReference{APIVersion: "v1", Kind: "Any", Name: "any", UID: "any"}))
	}
}

var sharedCertificatesOnce = sync.OnceValues(func() (secret.Certificates, error) {
	certificates := secret.NewCertificatesForInitialControlPlane(&kubeadmv1.ClusterConfiguration{EncryptionAlgorithm: kubeadmv1.EncryptionAlgorithmECDSAP256})
	return certificates, certificates.Generate()
})

func sharedCertificates(t *testing.T) secret.Certificates {
	t.Helper()
	certificates, err := sharedCertificatesOnce()
	if err != nil {
		t.Fatal(err)
	}
	return certificates
}

// readyToPublish goes as far as nothing is missing.
func (s *story) readyToPublish(role bootstrapv1.Role, change ...func(*bootstrapv1.IngotConfig)) {
	s.Helper()
	s.begin(role, change...)
	s.provisionInfrastructure()
	s.setEndpoint()
	s.createCertificates()
	s.chooseProviderID()
	if role != bootstrapv1.RoleInit {
		s.initializeControlPlane()
		s.connect()
	}
}

// join does what Cluster API does once the Node is there.
func (s *story) join() {
	s.Helper()
	patchStatus(s, s.machine(), func(m *clusterv1.Machine) { m.Status.NodeRef = clusterv1.MachineNodeReference{Name: machineName} })
}

// token returns the token that the machine knows.
func (s *story) token() string {
	s.Helper()
	return string(s.dataSecret().Data["bootstrap-token"])
}

// lentToken returns the token of the machine as the workload cluster has it, or nil.
func (s *story) lentToken() *corev1.Secret {
	s.Helper()
	id, _, _ := strings.Cut(s.token(), ".")
	found := &corev1.Secret{}
	err := s.client.Get(s.Context(), client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + id}, found)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return found
}

// expectData checks what the Secret says of its value, that the value is valid, and some of what it holds.
func (s *story) expectData(format, family string, validate func([]byte) error, words ...string) {
	s.Helper()
	data := s.dataSecret().Data
	if string(data["format"]) != format || string(data["os-family"]) != family {
		s.Errorf("format %q and family %q, want %q and %q", data["format"], data["os-family"], format, family)
	}
	if err := validate(data["value"]); err != nil {
		s.Errorf("the data cannot be read: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(string(data["value"]), word) {
			s.Errorf("the data lacks %q", word)
		}
	}
}

// file returns a file of the bootstrap data.
func (s *story) file(path string) string {
	s.Helper()
	config, err := ignition.Decode(s.dataSecret().Data["value"])
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range config.Files {
		if file.Path == path {
			return string(file.Data)
		}
	}
	return ""
}
