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

// AddressFinalizer keeps an IPAddressClaim of an IngotMachine until its instance is proved gone: an address that is given
// back while somebody answers under it is given to a second machine.
const AddressFinalizer = "infrastructure.cluster.x-k8s.io/ingotmachine-address"

// BootAnnotation is on an IngotMachine with a boot timeout. It says since when the machine boots, how far a power cycle is, and
// that the Node has joined. Ingot writes it before it switches anything, so that it is done once, also after a move to another
// management cluster, and there to no machine that had joined before.
const BootAnnotation = "infrastructure.cluster.x-k8s.io/ingotmachine-boot"

// IngotMachineSpec describes one machine. Everything that decides what the machine is made of is immutable once set;
// another machine is another IngotMachine. The rules for that are on IngotMachine's spec, not here: a template has a
// policy of its own.
// +kubebuilder:validation:XValidation:rule="!has(self.trustedBoot) || !has(self.trustedBoot.secureBoot) || !self.trustedBoot.secureBoot || !has(self.firmware) || self.firmware == 'UEFI'",message="trustedBoot.secureBoot needs firmware UEFI: set firmware to UEFI, or remove secureBoot"
// +kubebuilder:validation:XValidation:rule="!has(self.pinnedImage) || !has(self.image.name) || self.pinnedImage.name == self.image.name",message="pinnedImage.name must be image.name: remove pinnedImage, Ingot writes it"
// +kubebuilder:validation:XValidation:rule="!has(self.placement) || !has(self.platform.libvirt) || !has(self.platform.libvirt.endpointName) || self.placement.endpointName == self.platform.libvirt.endpointName",message="placement.endpointName must be platform.libvirt.endpointName: remove placement, Ingot writes it"
// +kubebuilder:validation:XValidation:rule="!has(self.placement) || !has(self.platform.vsphere) || !has(self.platform.vsphere.endpointName) || self.placement.endpointName == self.platform.vsphere.endpointName",message="placement.endpointName must be platform.vsphere.endpointName: remove placement, Ingot writes it"
// +kubebuilder:validation:XValidation:rule="!has(self.platform.vsphere) || !has(self.resources.cpuPolicy) || self.resources.cpuPolicy == 'Shared'",message="resources.cpuPolicy must be Shared on vsphere: this version dedicates no CPUs there"
// +kubebuilder:validation:XValidation:rule="!has(self.platform.vsphere) || (!has(self.resources.hugePages) && !has(self.resources.numaPolicy))",message="resources.hugePages and resources.numaPolicy are the host's choice on vsphere: remove them"
// +kubebuilder:validation:XValidation:rule="!has(self.platform.vsphere) || (quantity(string(self.resources.memory)).isInteger() && quantity(string(self.resources.memory)).asInteger() % 4194304 == 0)",message="resources.memory must be a multiple of 4Mi on vsphere: round it"
// +kubebuilder:validation:XValidation:rule="has(self.platform.vsphere) || !has(self.disks) || self.disks.size() <= 16",message="disks can be at most 16 on libvirt: what a guest there has places for"
// +kubebuilder:validation:XValidation:rule="!has(self.platform.vsphere) || !has(self.platform.vsphere.reservations) || !has(self.platform.vsphere.reservations.memory) || !quantity(string(self.platform.vsphere.reservations.memory)).isGreaterThan(quantity(string(self.resources.memory)))",message="platform.vsphere.reservations.memory must be at most resources.memory: lower it"
// +kubebuilder:validation:XValidation:rule="!has(self.platform.vsphere) || self.platform.vsphere.cloneMode != 'Linked' || !has(self.rootDisk)",message="rootDisk must be unset when platform.vsphere.cloneMode is Linked, because the disk of a linked clone has the size of the image: remove it, or set cloneMode to Full"
// +kubebuilder:validation:XValidation:rule="has(self.platform.vsphere) || self.networks.all(n, !n.name.contains('/'))",message="networks[].name must be the name of a network without a slash on libvirt, as virsh net-list shows it: paths are for vsphere"
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

	// placement is where the machine was put. Ingot writes it once, before the first call to a platform; it never
	// changes. Do not set it.
	// +optional
	Placement MachinePlacement `json:"placement,omitempty,omitzero"`

	// resources are the machine's CPUs and memory.
	// +required
	Resources MachineResources `json:"resources,omitempty,omitzero"`

	// rootDisk is the disk that holds the image. Unset means the size that the image has.
	// +optional
	RootDisk RootDisk `json:"rootDisk,omitempty,omitzero"`

	// disks are further, empty disks, in order. They are made with the machine and go with it. There can be 16 on libvirt, and 59 on
	// vsphere: what hangs on four controllers beside the root disk.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=59
	Disks []MachineDisk `json:"disks,omitempty"`

	// networks are the network interfaces, in order. The first one is the interface of the Node's address.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Networks []MachineNetwork `json:"networks,omitempty"`

	// firmware is the firmware interface that the machine boots with. The image must support it. Defaults to UEFI.
	// +optional
	// +kubebuilder:default=UEFI
	Firmware ingotv1.Firmware `json:"firmware,omitempty"`

	// trustedBoot gives the machine secure boot and a virtual TPM.
	// +optional
	TrustedBoot TrustedBoot `json:"trustedBoot,omitempty,omitzero"`

	// powerOff says how a running machine is stopped when it is deleted. It may be changed at any time.
	// +optional
	PowerOff PowerOff `json:"powerOff,omitempty,omitzero"`

	// bootTimeoutSeconds is how long, in seconds, the machine may take from its start until its Node has joined. One that
	// takes longer is switched off and on again, once; where that does not help within the same time either, NodeJoined says
	// so. It never happens to a machine whose Node has joined. Unset means that nothing is done, however long it takes. It may
	// be changed at any time.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=86400
	BootTimeoutSeconds *int32 `json:"bootTimeoutSeconds,omitempty"`

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
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the name of a NodeImage as kubectl get nodeimages shows it: a-z, 0-9, - and ."
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
// +kubebuilder:validation:XValidation:rule="!has(self.hugePages) || (quantity(string(self.memory)).isInteger() && quantity(string(self.memory)).asInteger() % (self.hugePages == '1Gi' ? 1073741824 : 2097152) == 0)",message="memory must be a multiple of hugePages: round memory, or choose smaller pages"
type MachineResources struct {
	// cpus is the number of virtual CPUs.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=512
	CPUs int32 `json:"cpus,omitempty"`

	// memory is the amount of memory, for example 4Gi.
	// +required
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('256Mi'))",message="memory must be at least 256Mi"
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isGreaterThan(quantity('64Ti'))",message="memory must be at most 64Ti"
	Memory resource.Quantity `json:"memory,omitempty,omitzero"`

	// cpuPolicy says whether the machine shares the CPUs of its host with others. Defaults to Shared. Dedicated needs a
	// host that has as many CPUs free for machines of this policy; there is no fallback.
	// +optional
	// +kubebuilder:default=Shared
	CPUPolicy CPUPolicy `json:"cpuPolicy,omitempty"`

	// hugePages backs all memory of the machine with huge pages of this size. The host must have reserved them, and
	// memory must be a multiple. Unset means ordinary pages.
	// +optional
	HugePages HugePageSize `json:"hugePages,omitempty"`

	// numaPolicy says how the machine lies on the host's NUMA nodes. Unset leaves it to the host. Single takes CPUs and
	// memory from one node, and needs a host with a node that is large enough.
	// +optional
	NUMAPolicy NUMAPolicy `json:"numaPolicy,omitempty"`
}

// CPUPolicy says whether a machine shares CPUs.
// +kubebuilder:validation:Enum=Shared;Dedicated
type CPUPolicy string

const (
	// CPUPolicyShared lets the host schedule the machine's CPUs.
	CPUPolicyShared CPUPolicy = "Shared"
	// CPUPolicyDedicated pins each CPU of the machine to a CPU of the host that no other machine of this policy uses.
	CPUPolicyDedicated CPUPolicy = "Dedicated"
)

// HugePageSize is the size of huge pages.
// +kubebuilder:validation:Enum="2Mi";"1Gi"
type HugePageSize string

const (
	// HugePages2Mi are pages of 2 MiB.
	HugePages2Mi HugePageSize = "2Mi"
	// HugePages1Gi are pages of 1 GiB.
	HugePages1Gi HugePageSize = "1Gi"
)

// NUMAPolicy says how a machine lies on the NUMA nodes of its host.
// +kubebuilder:validation:Enum=Single
type NUMAPolicy string

// NUMAPolicySingle takes CPUs and memory from one NUMA node.
const NUMAPolicySingle NUMAPolicy = "Single"

// MachinePlacement is where a machine was put.
type MachinePlacement struct {
	// endpointName is the PlatformEndpoint that the machine lives on.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	EndpointName string `json:"endpointName,omitempty"`

	// failureDomain is the failure domain of that endpoint, if it has one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`

	// vsphere is where inside the vCenter the machine was put, when it was put into a failure domain there or its datastore was
	// chosen by a storage policy. Unset means where spec.platform.vsphere and spec.networks say.
	// +optional
	VSphere VSpherePlacement `json:"vsphere,omitempty,omitzero"`
}

// VSpherePlacement is where inside a vCenter a machine was put.
type VSpherePlacement struct {
	// resourcePool is the cluster or host, or the resource pool in it, as a path below the datacenter's hosts.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ResourcePool string `json:"resourcePool,omitempty"`

	// datastore is the name of the datastore.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	Datastore string `json:"datastore,omitempty"`

	// storagePolicy is the name of the storage policy. Unset means what spec.platform.vsphere says.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	StoragePolicy string `json:"storagePolicy,omitempty"`

	// hostGroup is the group of hosts that the machine is bound to.
	// +optional
	HostGroup ingotv1.VSphereHostGroup `json:"hostGroup,omitempty,omitzero"`

	// networks are the networks or port groups, in the order of spec.networks.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Networks []string `json:"networks,omitempty"`
}

// MachineDisk is an empty disk of a machine.
type MachineDisk struct {
	// name identifies the disk and is its serial number, by which the guest finds it whatever the order of devices:
	// /dev/disk/by-id/virtio-<name> on Linux.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="name must be made of a-z, 0-9 and -, and begin and end with a letter or digit: guests find the disk by it"
	// +kubebuilder:validation:XValidation:rule="self != 'root'",message="the name root is taken by the disk that holds the image: give the disk another name"
	Name string `json:"name,omitempty"`

	// size is the size that the guest sees, for example 20Gi.
	// +required
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('1Mi'))",message="size must be at least 1Mi"
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isGreaterThan(quantity('64Ti'))",message="size must be at most 64Ti"
	Size resource.Quantity `json:"size,omitempty,omitzero"`
}

// TrustedBoot gives a machine secure boot and a virtual TPM.
// +kubebuilder:validation:MinProperties=1
type TrustedBoot struct {
	// secureBoot lets the firmware start only what is signed by a key that it knows: the keys that the platform enrols by
	// default. It needs firmware UEFI and an image that says spec.secureBoot.
	// +optional
	SecureBoot *bool `json:"secureBoot,omitempty"`

	// virtualTPM gives the machine a TPM 2.0 whose state goes with the machine.
	// +optional
	VirtualTPM *bool `json:"virtualTPM,omitempty"`
}

// PowerOff says how a running machine is stopped when it is deleted.
// +kubebuilder:validation:MinProperties=1
type PowerOff struct {
	// gracePeriodSeconds is how long the guest may take to shut down after it was asked to; then the machine is switched
	// off. Unset or 0 switches it off at once: Cluster API has drained the Node before.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	GracePeriodSeconds *int32 `json:"gracePeriodSeconds,omitempty"`
}

// RootDisk is the disk that holds the image.
// +kubebuilder:validation:MinProperties=1
type RootDisk struct {
	// size is the size that the guest sees, for example 20Gi. It cannot be smaller than the image.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('1Mi'))",message="size must be at least 1Mi"
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isGreaterThan(quantity('64Ti'))",message="size must be at most 64Ti"
	Size *resource.Quantity `json:"size,omitempty"`
}

// MachineNetwork is one network interface.
type MachineNetwork struct {
	// name is the name of the network on the platform: a libvirt network, or a network or port group in the datacenter of
	// vSphere. There it may be a path below the datacenter's networks, FOLDER/NAME or SWITCH/NAME, where a slash in a name is
	// written %2f. A name that more than one has is refused; NAME@REFERENCE, with vCenter's own reference to it, is always one's
	// alone, for example nodes@dvportgroup-53.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="name must be the name of a network, as virsh net-list shows it, or on vsphere of a port group or a path to one below the datacenter's networks, for example prod/nodes, without a slash at its begin or end"
	Name string `json:"name,omitempty"`

	// mtu is the largest packet in bytes. Unset means what the network has.
	// +optional
	// +kubebuilder:validation:Minimum=1280
	// +kubebuilder:validation:Maximum=65535
	MTU int32 `json:"mtu,omitempty"`

	// addressesFromPools are the pools that the interface gets static addresses from, one from each, by the IPAM contract
	// of Cluster API. Unset means that the network gives out the address. An address is claimed before the machine is made
	// and given back after it is proved gone.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q == p))",message="addressesFromPools must name a pool once: an interface gets one address from each"
	AddressesFromPools []AddressPoolReference `json:"addressesFromPools,omitempty"`
}

// AddressPoolReference names an address pool in the namespace of the machine, or a cluster-scoped one.
type AddressPoolReference struct {
	// apiGroup is the API group of the pool, for example ipam.cluster.x-k8s.io.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="apiGroup must be a group without a version, for example ipam.cluster.x-k8s.io"
	APIGroup string `json:"apiGroup,omitempty"`

	// kind is the kind of the pool, for example InClusterIPPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$')",message="kind must be the kind of a pool, for example InClusterIPPool"
	Kind string `json:"kind,omitempty"`

	// name is the name of the pool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the name of a pool: a-z, 0-9, - and ."
	Name string `json:"name,omitempty"`
}

// MachinePlatform says where a machine lives. Exactly one of its fields is set.
// +kubebuilder:validation:XValidation:rule="[has(self.libvirt), has(self.vsphere)].exists_one(x, x)",message="exactly one platform must be set: libvirt or vsphere"
type MachinePlatform struct {
	// libvirt places the machine on a libvirt host.
	// +optional
	Libvirt LibvirtMachine `json:"libvirt,omitempty,omitzero"`

	// vsphere places the machine in a vCenter.
	// +optional
	VSphere VSphereMachine `json:"vsphere,omitempty,omitzero"`
}

// LibvirtMachine places a machine on a libvirt host.
// +kubebuilder:validation:XValidation:rule="has(self.endpointName) != has(self.endpointSelector)",message="exactly one of endpointName and endpointSelector must be set"
type LibvirtMachine struct {
	// endpointName is the PlatformEndpoint of the host. When the Machine has a failure domain, the endpoint must be in it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="endpointName must be the name of a PlatformEndpoint as kubectl get platformendpoints shows it: a-z, 0-9, - and ."
	EndpointName string `json:"endpointName,omitempty"`

	// endpointSelector selects PlatformEndpoints by their labels; {} selects all. Of those that are Ready, that the
	// namespace may use and that are in the Machine's failure domain, if it has one, the machine gets the one with the most
	// room. What was chosen is written to spec.placement.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator == 'In' || e.operator == 'NotIn' ? has(e.values) && e.values.size() > 0 : (e.operator == 'Exists' || e.operator == 'DoesNotExist') && (!has(e.values) || e.values.size() == 0))",message="endpointSelector has the operators In and NotIn with values, and Exists and DoesNotExist without"
	EndpointSelector *metav1.LabelSelector `json:"endpointSelector,omitempty"`

	// storagePool is the storage pool for the image replica and the machine's volumes. Defaults to default.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.contains('/')",message="storagePool must be the name of a libvirt storage pool as virsh pool-list shows it, not a path"
	StoragePool string `json:"storagePool,omitempty"`

	// pciDevices are devices of the host that are handed to the machine. The host needs an IOMMU, and a device that no
	// other machine has; there is no fallback.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(d, self.exists_one(e, e.vendorID == d.vendorID && e.deviceID == d.deviceID))",message="pciDevices must name a device once: set count to have more of it"
	PCIDevices []PCIDevice `json:"pciDevices,omitempty"`
}

// PCIDevice selects devices of a host by what they are.
type PCIDevice struct {
	// vendorID is the vendor of the device, four hexadecimal digits as lspci -n shows them, for example 10de.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{4}$')",message="vendorID must be four hexadecimal digits in lower case as lspci -n shows them, for example 10de"
	VendorID string `json:"vendorID,omitempty"`

	// deviceID is the model of the device, four hexadecimal digits, for example 1eb8.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{4}$')",message="deviceID must be four hexadecimal digits in lower case as lspci -n shows them, for example 1eb8"
	DeviceID string `json:"deviceID,omitempty"`

	// count is how many such devices the machine gets. Defaults to 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Count int32 `json:"count,omitempty"`
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

	// conditions report on the machine. Known types: Ready, ImageResolved, Placed, ImageReplicated,
	// AddressesClaimed, BootstrapAvailable, InstanceReady, NodeJoined, KeptApart, ImageVerified, Deleting, Paused.
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
// +kubebuilder:printcolumn:name="Verified",type="string",JSONPath=".status.conditions[?(@.type==\"ImageVerified\")].status",description="Whether the Node is what was declared"
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
	// +kubebuilder:validation:XValidation:rule="!has(oldSelf.placement) || (has(self.placement) && self.placement == oldSelf.placement)",message="spec.placement is where the machine lives and cannot change once set: replace the machine"
	// +kubebuilder:validation:XValidation:rule="has(self.disks) == has(oldSelf.disks) && (!has(self.disks) || self.disks == oldSelf.disks)",message="spec.disks is immutable: nodes are replaced, not patched"
	// +kubebuilder:validation:XValidation:rule="has(self.trustedBoot) == has(oldSelf.trustedBoot) && (!has(self.trustedBoot) || self.trustedBoot == oldSelf.trustedBoot)",message="spec.trustedBoot is immutable: nodes are replaced, not patched"
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

	// spec is the spec of the IngotMachine. providerID, pinnedImage and placement belong to one machine and cannot be templated.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.providerID)",message="providerID belongs to one machine: remove it from the template"
	// +kubebuilder:validation:XValidation:rule="!has(self.pinnedImage)",message="pinnedImage belongs to one machine: set image instead"
	// +kubebuilder:validation:XValidation:rule="!has(self.placement)",message="placement belongs to one machine: set platform instead"
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
