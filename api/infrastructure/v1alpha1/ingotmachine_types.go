// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// IngotMachineFinalizer keeps an IngotMachine until its instance is proved gone from the platform.
const IngotMachineFinalizer = "infrastructure.cluster.x-k8s.io/ingotmachine"

// IngotMachineSpec describes one machine. Everything that decides what the machine is made of is immutable once set;
// another machine is another IngotMachine. The rules for that are on IngotMachine's spec, not here: a template has a
// policy of its own.
type IngotMachineSpec struct {
	// providerID is the identity of the machine, ingot://<uuid>. Ingot chooses it in the first reconcile, before any
	// call to a platform. The uuid becomes the UUID of the instance and of its SMBIOS system table. Do not set it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^ingot://[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	ProviderID string `json:"providerID,omitempty"`

	// image says which NodeImage the machine is cast from: by name, or by selection.
	// +required
	Image ImageReference `json:"image,omitempty,omitzero"`

	// pinnedImage is the image that was resolved for this machine. Ingot writes it once; it never changes. Do not set it.
	// +optional
	PinnedImage PinnedImage `json:"pinnedImage,omitempty,omitzero"`

	// resources are the machine's CPUs and memory.
	// +required
	Resources MachineResources `json:"resources,omitempty,omitzero"`

	// rootDisk is the disk that holds the image. Unset means the size that the image has.
	// +optional
	RootDisk RootDisk `json:"rootDisk,omitempty,omitzero"`

	// networks are the network interfaces, in order. The first one is the interface of the Node's address.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	Networks []MachineNetwork `json:"networks,omitempty"`

	// firmware is the firmware interface that the machine boots with. The image must support it. Defaults to UEFI.
	// +optional
	// +kubebuilder:default=UEFI
	Firmware ingotv1.Firmware `json:"firmware,omitempty"`

	// platform says where the machine lives.
	// +required
	Platform MachinePlatform `json:"platform,omitempty,omitzero"`
}

// ImageReference names a NodeImage or selects one. Exactly one of its fields is set.
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="exactly one of name and selector must be set"
type ImageReference struct {
	// name is the name of a NodeImage.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// selector selects the newest usable NodeImage that carries the Machine's Kubernetes version.
	// +optional
	Selector ImageSelector `json:"selector,omitempty,omitzero"`
}

// ImageSelector selects a NodeImage. Set fields must all match; among several matches the highest OS version wins.
// +kubebuilder:validation:MinProperties=1
type ImageSelector struct {
	// family is the operating system family.
	// +optional
	Family ingotv1.OSFamily `json:"family,omitempty"`

	// channel is the release channel.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Channel string `json:"channel,omitempty"`

	// matchLabels are labels that the NodeImage must carry.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}

// PinnedImage is a resolved image.
type PinnedImage struct {
	// name is the name of the NodeImage.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// sha256 is the digest of the artefact for this machine's platform.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256,omitempty"`
}

// MachineResources are CPUs and memory.
type MachineResources struct {
	// cpus is the number of virtual CPUs.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=512
	CPUs int32 `json:"cpus,omitempty"`

	// memory is the amount of memory, for example 4Gi.
	// +required
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('255Mi'))",message="memory must be at least 256Mi"
	Memory resource.Quantity `json:"memory,omitempty,omitzero"`
}

// RootDisk is the disk that holds the image.
// +kubebuilder:validation:MinProperties=1
type RootDisk struct {
	// size is the size that the guest sees, for example 20Gi. It cannot be smaller than the image.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="size must be positive"
	Size *resource.Quantity `json:"size,omitempty"`
}

// MachineNetwork is one network interface.
type MachineNetwork struct {
	// name is the name of the network on the platform: a libvirt network.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// MachinePlatform says where a machine lives. Exactly one of its fields is set.
// +kubebuilder:validation:XValidation:rule="has(self.libvirt)",message="exactly one platform must be set; this version knows libvirt"
type MachinePlatform struct {
	// libvirt places the machine on a libvirt host.
	// +optional
	Libvirt LibvirtMachine `json:"libvirt,omitempty,omitzero"`
}

// LibvirtMachine places a machine on a libvirt host.
type LibvirtMachine struct {
	// endpointName is the PlatformEndpoint of the host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	EndpointName string `json:"endpointName,omitempty"`

	// storagePool is the storage pool for the image replica and the machine's volumes. Defaults to default.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	StoragePool string `json:"storagePool,omitempty"`
}

// IngotMachineInitializationStatus tells Cluster API that the instance is there.
// +kubebuilder:validation:MinProperties=1
type IngotMachineInitializationStatus struct {
	// provisioned is true once the instance runs and has an address. It never goes back to false.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// PowerState is the power state of an instance as it was last observed.
// +kubebuilder:validation:Enum=On;Off;Unknown
type PowerState string

const (
	// PowerStateOn is a running instance.
	PowerStateOn PowerState = "On"
	// PowerStateOff is an instance that does not run.
	PowerStateOff PowerState = "Off"
	// PowerStateUnknown is an instance that could not be observed.
	PowerStateUnknown PowerState = "Unknown"
)

// IngotMachineStatus reports on an IngotMachine.
type IngotMachineStatus struct {
	// initialization tells Cluster API that the instance is there.
	// +optional
	Initialization IngotMachineInitializationStatus `json:"initialization,omitempty,omitzero"`

	// addresses are the addresses of the machine.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Addresses []clusterv1.MachineAddress `json:"addresses,omitempty"`

	// failureDomain is the place that the machine was put in.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`

	// power is the power state as it was last observed.
	// +optional
	Power PowerState `json:"power,omitempty"`

	// nodeOSImage is what the joined Node reports as its operating system image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeOSImage string `json:"nodeOSImage,omitempty"`

	// conditions report on the machine. Known types: Ready, ImageResolved, ImageReplicated, BootstrapAvailable,
	// InstanceReady, NodeJoined, Deleting, Paused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// IngotMachine is one machine that is cast from a NodeImage.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotmachines,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster"
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.pinnedImage.name",description="NodeImage that the machine is cast from"
// +kubebuilder:printcolumn:name="Power",type="string",JSONPath=".status.power",description="Power state"
// +kubebuilder:printcolumn:name="Address",type="string",JSONPath=".status.addresses[?(@.type==\"InternalIP\")].address",description="Address"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether everything is in order"
// +kubebuilder:printcolumn:name="Reason",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].reason",description="Why it is not ready"
// +kubebuilder:printcolumn:name="OS on Node",type="string",priority=1,JSONPath=".status.nodeOSImage",description="What the Node reports"
// +kubebuilder:printcolumn:name="ProviderID",type="string",priority=1,JSONPath=".spec.providerID",description="Identity"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotMachine struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the machine.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(oldSelf.providerID) || (has(self.providerID) && self.providerID == oldSelf.providerID)",message="spec.providerID is the machine's identity and cannot change once set"
	// +kubebuilder:validation:XValidation:rule="!has(oldSelf.pinnedImage) || (has(self.pinnedImage) && self.pinnedImage == oldSelf.pinnedImage)",message="spec.pinnedImage is what the machine was cast from and cannot change once set: replace the machine"
	// +kubebuilder:validation:XValidation:rule="self.image == oldSelf.image",message="spec.image is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="self.resources == oldSelf.resources",message="spec.resources is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="self.platform == oldSelf.platform",message="spec.platform is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="self.networks == oldSelf.networks",message="spec.networks is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="has(self.rootDisk) == has(oldSelf.rootDisk) && (!has(self.rootDisk) || self.rootDisk == oldSelf.rootDisk)",message="spec.rootDisk is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="self.firmware == oldSelf.firmware",message="spec.firmware is immutable: nodes are replaced, not patched"
	Spec IngotMachineSpec `json:"spec,omitempty,omitzero"`

	// status reports on the machine.
	// +optional
	Status IngotMachineStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the machine.
func (m *IngotMachine) GetConditions() []metav1.Condition { return m.Status.Conditions }

// SetConditions replaces the conditions of the machine.
func (m *IngotMachine) SetConditions(conditions []metav1.Condition) { m.Status.Conditions = conditions }

// IngotMachineList is a list of IngotMachines.
//
// +kubebuilder:object:root=true
type IngotMachineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotMachine `json:"items"`
}

// IngotMachineTemplateSpec holds the template of an IngotMachine. It is immutable; the rule is a
// ValidatingAdmissionPolicy (config/admission), because it must let the dry runs of the topology controller through.
type IngotMachineTemplateSpec struct {
	// template is the IngotMachine to create.
	// +required
	Template IngotMachineTemplateResource `json:"template,omitempty,omitzero"`
}

// IngotMachineTemplateResource is the template of an IngotMachine.
type IngotMachineTemplateResource struct {
	// metadata is put on the IngotMachine.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the spec of the IngotMachine. providerID and pinnedImage belong to one machine and cannot be templated.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.providerID)",message="providerID belongs to one machine: remove it from the template"
	// +kubebuilder:validation:XValidation:rule="!has(self.pinnedImage)",message="pinnedImage belongs to one machine: set image instead"
	Spec IngotMachineSpec `json:"spec,omitempty,omitzero"`
}

// IngotMachineTemplateStatus tells the cluster autoscaler what a machine of this template will have.
type IngotMachineTemplateStatus struct {
	// capacity is what a Node of this template has.
	// +optional
	Capacity corev1.ResourceList `json:"capacity,omitempty"`

	// nodeInfo describes a Node of this template.
	// +optional
	NodeInfo NodeInfo `json:"nodeInfo,omitempty,omitzero"`
}

// NodeInfo describes a Node of a template.
// +kubebuilder:validation:MinProperties=1
type NodeInfo struct {
	// architecture is the CPU architecture.
	// +optional
	// +kubebuilder:validation:Enum=amd64;arm64
	Architecture string `json:"architecture,omitempty"`

	// operatingSystem is the operating system, as Kubernetes names it.
	// +optional
	// +kubebuilder:validation:Enum=linux
	OperatingSystem string `json:"operatingSystem,omitempty"`
}

// IngotMachineTemplate is a template of IngotMachines. It is immutable: to change machines, make another template and
// reference it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotmachinetemplates,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.template.spec.image.name",description="NodeImage"
// +kubebuilder:printcolumn:name="CPUs",type="integer",JSONPath=".spec.template.spec.resources.cpus",description="Virtual CPUs"
// +kubebuilder:printcolumn:name="Memory",type="string",JSONPath=".spec.template.spec.resources.memory",description="Memory"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotMachineTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec holds the template.
	// +required
	Spec IngotMachineTemplateSpec `json:"spec,omitempty,omitzero"`

	// status tells the cluster autoscaler what a machine of this template will have.
	// +optional
	Status IngotMachineTemplateStatus `json:"status,omitempty,omitzero"`
}

// IngotMachineTemplateList is a list of IngotMachineTemplates.
//
// +kubebuilder:object:root=true
type IngotMachineTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotMachineTemplate `json:"items"`
}
