// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CloneMode says how the root disk of a vSphere machine is made.
// +kubebuilder:validation:Enum=Linked;Full
type CloneMode string

const (
	// CloneModeLinked makes the root disk a layer over the image: fast and small, and the image stays while the machine does.
	CloneModeLinked CloneMode = "Linked"
	// CloneModeFull makes the root disk a copy of the image.
	CloneModeFull CloneMode = "Full"
)

// AntiAffinity says whether machines are kept on different hosts.
// +kubebuilder:validation:Enum=Preferred;Required
type AntiAffinity string

const (
	// AntiAffinityPreferred has the condition KeptApart alone tell that machines cannot be kept apart.
	AntiAffinityPreferred AntiAffinity = "Preferred"
	// AntiAffinityRequired makes a machine Ready only once the platform keeps it apart.
	AntiAffinityRequired AntiAffinity = "Required"
)

// VSphereMachine places a machine in a vCenter.
// +kubebuilder:validation:XValidation:rule="has(self.datastore) || has(self.storagePolicy)",message="datastore or storagePolicy must be set: name the datastore, or the policy that one is chosen by"
// +kubebuilder:validation:XValidation:rule="!(has(self.pciDevices) || has(self.virtualGPUs)) || !has(self.reservations) || !has(self.reservations.memory)",message="reservations.memory must be unset with pciDevices or virtualGPUs, for which all memory is reserved: remove it"
// +kubebuilder:validation:XValidation:rule="has(self.endpointName) != has(self.endpointSelector)",message="exactly one of endpointName and endpointSelector must be set"
type VSphereMachine struct {
	// endpointName is the PlatformEndpoint of the vCenter. When the Machine has a failure domain, the endpoint must be in it, or
	// have it among its own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="endpointName must be the name of a PlatformEndpoint as kubectl get platformendpoints shows it: a-z, 0-9, - and ."
	EndpointName string `json:"endpointName,omitempty"`

	// endpointSelector selects PlatformEndpoints by their labels, as platform.libvirt.endpointSelector does. All of them must
	// have the datacenter, datastore or storage policy, and networks of the machine.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator == 'In' || e.operator == 'NotIn' ? has(e.values) && e.values.size() > 0 : (e.operator == 'Exists' || e.operator == 'DoesNotExist') && (!has(e.values) || e.values.size() == 0))",message="endpointSelector has the operators In and NotIn with values, and Exists and DoesNotExist without"
	EndpointSelector *metav1.LabelSelector `json:"endpointSelector,omitempty"`

	// datacenter is the name of the datacenter.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:XValidation:rule="!self.contains('/')",message="datacenter must be the name of a datacenter in the root folder of vCenter, without a slash"
	Datacenter string `json:"datacenter,omitempty"`

	// datastore is the name of the datastore for the copy of the image and the machine's disks. A failure domain may name
	// another. Unset means one that storagePolicy allows: Ingot chooses it before anything is made, and writes it to
	// spec.placement.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:XValidation:rule="!self.contains('/')",message="datastore must be the name of a datastore, without a slash"
	Datastore string `json:"datastore,omitempty"`

	// resourcePool is the cluster or host, or a resource pool in it, that the machine runs in, as a path below the
	// datacenter's hosts, for example cluster-1 or cluster-1/Resources/kubernetes. A failure domain may name another.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="resourcePool must be a path below the datacenter's hosts, for example cluster-1/Resources/kubernetes, without a slash at its begin or end"
	ResourcePool string `json:"resourcePool,omitempty"`

	// folder is the folder of the machine, as a path below the datacenter's virtual machines. It must exist. Unset means the
	// datacenter's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="folder must be a path below the datacenter's virtual machines, for example kubernetes/prod, without a slash at its begin or end"
	Folder string `json:"folder,omitempty"`

	// antiAffinity keeps the control plane machines of one Cluster that share a compute cluster on different hosts, by one rule of
	// DRS for all of them. Unset makes no rule. It needs DRS, and the privilege Host.Inventory.EditCluster; where these are missing,
	// a machine with Preferred is Ready all the same and its condition KeptApart says why it is not kept apart, and one with Required
	// is not Ready. It is for control plane machines only.
	// +optional
	AntiAffinity AntiAffinity `json:"antiAffinity,omitempty"`

	// nameTemplate is how the machine is called in vCenter. {machine} and {namespace} are name and namespace of the
	// IngotMachine, {cluster} is the name of the Cluster, and {id} are the first eight digits of the machine's uuid. What
	// comes of it can have 80 characters, and a machine whose name something else in the folder has is refused. Nothing is
	// ever found by it. Unset means {machine}-{id}, where a long name of a machine is cut.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=160
	// +kubebuilder:validation:XValidation:rule="self.matches('^([-A-Za-z0-9._]|[{](machine|namespace|cluster|id)[}])+$')",message="nameTemplate must be made of letters, digits, -, . and _, and of {machine}, {namespace}, {cluster} and {id}"
	// +kubebuilder:validation:XValidation:rule="self.contains('{machine}') || self.contains('{id}')",message="nameTemplate must contain {machine} or {id}: two machines cannot have one name"
	NameTemplate string `json:"nameTemplate,omitempty"`

	// cloneMode says how the root disk is made. Neither is ever made in place of the other. Defaults to Linked.
	// +optional
	// +kubebuilder:default=Linked
	CloneMode CloneMode `json:"cloneMode,omitempty"`

	// hardwareVersion is the least version of the virtual hardware, for example 21. All hosts of the cluster must offer it, or
	// the machine is refused. An image of an older version is cloned first and started after its hardware was upgraded. Unset
	// means the version of the image.
	// +optional
	// +kubebuilder:validation:Minimum=13
	// +kubebuilder:validation:Maximum=99
	HardwareVersion int32 `json:"hardwareVersion,omitempty"`

	// tags are put on the machine before it first starts. They must exist, and no other may have the same name; vCenter takes
	// them away with the machine. A tag that somebody puts on it or takes off later is left as it is.
	// +optional
	// +listType=map
	// +listMapKey=category
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Tags []VSphereTag `json:"tags,omitempty"`

	// storagePolicy is the name of the storage policy for everything of the machine that lies on the datastore: its folder,
	// the root disk and disks. vCenter must say that the datastore is compatible with it, or the machine is refused. A failure
	// domain may name another. Without a datastore, the machine gets the one with the most free space among those that are
	// compatible and that all working hosts behind resourcePool have mounted. Unset means the policy that the datastore has by
	// default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	StoragePolicy string `json:"storagePolicy,omitempty"`

	// reservations are what the host keeps for the machine alone, whether it uses it or not. Unset means nothing, also where
	// the template that the image was made from has some: limits and reservations of a template are not taken over.
	// +optional
	Reservations VSphereReservations `json:"reservations,omitempty,omitzero"`

	// pciDevices are devices of the host that are handed to the machine: any of the kind that is free where the machine is
	// started (Dynamic DirectPath I/O). A host of the cluster must offer them. All memory of the machine is reserved, and the
	// machine cannot be moved while it runs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(d, self.exists_one(e, e.vendorID == d.vendorID && e.deviceID == d.deviceID))",message="pciDevices must name a device once: set count to have more of it"
	PCIDevices []PCIDevice `json:"pciDevices,omitempty"`

	// virtualGPUs are the profiles of the machine's virtual GPUs, one for each, as the vendor names them, for example
	// grid_a100-10c. A host of the cluster must offer them. All memory of the machine is reserved.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	VirtualGPUs []string `json:"virtualGPUs,omitempty"`
}

// VSphereTag is a tag of vCenter.
type VSphereTag struct {
	// category is the name of the tag's category.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Category string `json:"category,omitempty"`

	// name is the name of the tag in its category.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
}

// VSphereReservations are what the host keeps for a machine alone. A host that cannot does not start the machine.
// +kubebuilder:validation:MinProperties=1
type VSphereReservations struct {
	// cpuMHz is the CPU time of all CPUs of the machine together, in MHz of the host's CPUs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	CPUMHz int32 `json:"cpuMHz,omitempty"`

	// memory is the part of resources.memory that always lies in the host's memory, for example 4Gi.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('1Mi')) && quantity(string(self)).isInteger() && quantity(string(self)).asInteger() % 1048576 == 0",message="memory must be a multiple of 1Mi: round it"
	Memory *resource.Quantity `json:"memory,omitempty"`
}
