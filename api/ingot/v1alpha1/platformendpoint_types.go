// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Acceleration says how a libvirt host runs guests.
// +kubebuilder:validation:Enum=KVM;Emulated
type Acceleration string

const (
	// AccelerationKVM runs guests on the host's CPUs. Machines are refused where the host cannot.
	AccelerationKVM Acceleration = "KVM"
	// AccelerationEmulated runs guests on QEMU's emulated CPUs, ten times slower and more. For trials and tests.
	AccelerationEmulated Acceleration = "Emulated"
)

// PlatformEndpointFinalizer keeps a PlatformEndpoint until no machine and no replica is left on it: without the endpoint
// nobody could remove them.
const PlatformEndpointFinalizer = "ingot.dev/platformendpoint"

// PlatformEndpointSpec says where one platform is and who may use it. Exactly one platform is set.
// +kubebuilder:validation:XValidation:rule="[has(self.libvirt), has(self.vsphere)].exists_one(x, x)",message="exactly one platform must be set: libvirt or vsphere"
// +kubebuilder:validation:XValidation:rule="has(self.libvirt) == has(oldSelf.libvirt)",message="an endpoint stays on its platform, because its machines do: make another PlatformEndpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.failureDomain) || !has(self.vsphere) || !has(self.vsphere.failureDomains)",message="failureDomain and vsphere.failureDomains exclude each other: an endpoint is in one failure domain, or has several; remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.vsphere) || has(self.credentialsRef)",message="vsphere needs credentialsRef: name a Secret with username and password, and with ca.crt where vCenter's certificate is signed by an authority of your own"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.managementClusterID) || (has(self.managementClusterID) && self.managementClusterID == oldSelf.managementClusterID)",message="spec.managementClusterID proves what is ours on this endpoint and cannot change once set"
// +kubebuilder:validation:XValidation:rule="!has(self.libvirt) || !self.libvirt.uri.matches('^qemu[+](tls|libssh)://') || has(self.credentialsRef)",message="libvirt.uri needs credentialsRef: name a Secret with ca.crt, tls.crt and tls.key for qemu+tls, or with ssh-privatekey and known_hosts for qemu+libssh"
// +kubebuilder:validation:XValidation:rule="!has(self.credentialsRef) || !has(self.libvirt) || !self.libvirt.uri.matches('^qemu([+](unix|tcp))?://')",message="libvirt.uri has no use for credentialsRef: remove credentialsRef, or connect by qemu+tls or qemu+libssh"
type PlatformEndpointSpec struct {
	// libvirt is a host that runs libvirtd.
	// +optional
	Libvirt LibvirtEndpoint `json:"libvirt,omitempty,omitzero"`

	// vsphere is a vCenter.
	// +optional
	VSphere VSphereEndpoint `json:"vsphere,omitempty,omitzero"`

	// credentialsRef names the Secret with the credentials of the endpoint. Its content may change at any time: the session
	// is renewed with it. Which keys it has is said at the platform.
	// +optional
	CredentialsRef SecretReference `json:"credentialsRef,omitempty,omitzero"`

	// failureDomain is the failure domain that the endpoint is in. Machines with a failure domain are placed only on
	// endpoints in it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	FailureDomain string `json:"failureDomain,omitempty"`

	// unschedulable keeps new machines away. Those that are placed already are not touched.
	// +optional
	Unschedulable *bool `json:"unschedulable,omitempty"`

	// capacity limits what the machines on the endpoint may have together.
	// +optional
	Capacity EndpointCapacity `json:"capacity,omitempty,omitzero"`

	// budget limits how much is done on the endpoint at once.
	// +optional
	Budget EndpointBudget `json:"budget,omitempty,omitzero"`

	// orphans says what happens to objects that carry our owner token and belong to no IngotMachine.
	// +optional
	Orphans OrphanPolicy `json:"orphans,omitempty,omitzero"`

	// replicas says how long an image stays on the endpoint after the last machine that needed it.
	// +optional
	Replicas ReplicaPolicy `json:"replicas,omitempty,omitzero"`

	// managementClusterID marks every external object that Ingot makes on this endpoint, together with the machine's
	// uuid. Ingot chooses it once; it moves with this object, so that the next management cluster can prove that the
	// machines are its own. Two management clusters must never share it. Do not set it.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	// +kubebuilder:validation:MaxLength=36
	ManagementClusterID string `json:"managementClusterID,omitempty"`

	// allowedNamespaces restricts which namespaces may place machines here. Unset means all.
	// +optional
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitempty,omitzero"`
}

// LibvirtEndpoint is a host that runs libvirtd.
type LibvirtEndpoint struct {
	// uri is the libvirt connection URI of a system instance, without secrets:
	//   qemu:///system or qemu+unix:///system?socket=/run/libvirt/libvirt-sock   on the host of the manager
	//   qemu+tcp://host[:16509]/system        without encryption: for networks that nobody else can reach
	//   qemu+tls://host[:16514]/system        Secret keys: ca.crt, tls.crt, tls.key
	//   qemu+libssh://user@host[:22]/system[?socket=PATH]   Secret keys: ssh-privatekey, known_hosts
	// The certificate or host key is always verified. Secrets come from spec.credentialsRef of the PlatformEndpoint.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^qemu([+]unix)?:///system([?].*)?$') || self.matches('^qemu[+](tcp|tls|libssh)://([^/?#@]*@)?([^][/?#@:]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]+)?/system([?].*)?$')",message="uri must be qemu:///system, qemu+unix:///system, or qemu+tcp://, qemu+tls:// or qemu+libssh:// followed by host and /system"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[^/]*//[^/@]*:[^/@]*@')",message="uri must not hold a password: put credentials into the Secret of spec.credentialsRef"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('qemu+libssh://') || self.matches('^[^/]*//[^/@]+@')",message="uri must name the user to log in as: qemu+libssh://user@host/system"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('qemu+libssh://') || !self.matches('^[^/]*//[^/]*@')",message="uri must not name a user: only qemu+libssh logs in"
	// +kubebuilder:validation:XValidation:rule="!isURL(self) || url(self).getPort() == '' || (url(self).getPort().size() < 6 && int(url(self).getPort()) > 0 && int(url(self).getPort()) < 65536)",message="the port in uri must be between 1 and 65535"
	// +kubebuilder:validation:XValidation:rule="!self.contains('?') || self.matches('^qemu([+]unix)?:[^?]*[?]socket=/[^?&#]+$') || self.matches('^qemu[+]libssh:[^?]*[?]socket=/[^?&#]+$')",message="uri may have the parameter socket=/PATH of qemu, qemu+unix and qemu+libssh, and no other: keys and certificates come from spec.credentialsRef"
	URI string `json:"uri,omitempty"`

	// acceleration says how guests run. Defaults to KVM. There is no fallback: a host without KVM refuses machines
	// until this is set to Emulated.
	// +optional
	// +kubebuilder:default=KVM
	Acceleration Acceleration `json:"acceleration,omitempty"`
}

// VSphereEndpoint is a vCenter. Its Secret has the keys username and password. vCenter's certificate is always verified: by
// thumbprint, by the key ca.crt of the Secret, or by the authorities that the manager's system trusts.
type VSphereEndpoint struct {
	// server is the host name or address of vCenter, with a port if it is not 443, for example vcenter.example.org.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isURL('https://' + self + '/') && url('https://' + self + '/').getHost() == self && !self.contains('@') && !self.contains('/')",message="server must be HOST or HOST:PORT, without a scheme, a user or a path"
	Server string `json:"server,omitempty"`

	// thumbprint is the SHA-256 fingerprint of vCenter's certificate, 32 pairs of hexadecimal digits with colons between
	// them. It is for certificates that no trusted authority has signed.
	// +optional
	// +kubebuilder:validation:MinLength=95
	// +kubebuilder:validation:MaxLength=95
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9A-F]{2}:){31}[0-9A-F]{2}$')",message="thumbprint must be a SHA-256 fingerprint as openssl x509 -fingerprint -sha256 prints it: 32 pairs of hexadecimal digits in upper case with colons between them"
	Thumbprint string `json:"thumbprint,omitempty"`

	// failureDomains are places inside the vCenter that machines can be spread over. A Machine with the failure domain of that
	// name is put there. Changes count for machines that are placed from then on.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	FailureDomains []VSphereFailureDomain `json:"failureDomains,omitempty"`

	// images say where in a datacenter OVAs and VMDKs are imported to, and templates are copied. A datacenter that is not listed
	// has them imported to its own folder, in the root pool of a cluster or host that has the datastore. A changed folder counts
	// for images that are copied to a datastore from then on: each ImageReplica keeps the folder that it was made with.
	// +optional
	// +listType=map
	// +listMapKey=datacenter
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Images []VSphereImages `json:"images,omitempty"`
}

// VSphereImages is where images are put in a datacenter.
// +kubebuilder:validation:XValidation:rule="has(self.folder) || has(self.resourcePools)",message="images of a datacenter must name folder or resourcePools: nothing else is chosen here"
type VSphereImages struct {
	// datacenter is the name of the datacenter, as in spec.platform.vsphere.datacenter of machines.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:XValidation:rule="!self.contains('/')",message="datacenter must be the name of a datacenter in the root folder of vCenter, without a slash"
	Datacenter string `json:"datacenter,omitempty"`

	// folder is the folder that OVAs and VMDKs are imported to, as a path below the datacenter's virtual machines. It must exist.
	// Unset means the datacenter's own. Copies of templates are next to the template.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="folder must be a path below the datacenter's virtual machines, for example kubernetes/images, without a slash at its begin or end"
	Folder string `json:"folder,omitempty"`

	// resourcePools are the clusters or hosts, or resource pools in them, in which images are imported and templates copied, as
	// paths below the datacenter's hosts, for example cluster-1/Resources/kubernetes. The first one with a host that has the
	// datastore is used: name one for each cluster whose datastores hold images. Nothing ever runs there. Unset means the root pool
	// of whichever cluster or host has the datastore.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.all(p, !p.startsWith('/') && !p.endsWith('/') && !p.contains('//'))",message="resourcePools must be paths below the datacenter's hosts, for example cluster-1/Resources/kubernetes, without a slash at their begin or end"
	ResourcePools []string `json:"resourcePools,omitempty"`
}

// VSphereFailureDomain is a place inside a vCenter. What it names takes the place of what machines name; all else is as they
// say.
// +kubebuilder:validation:XValidation:rule="has(self.resourcePool) || has(self.datastore) || has(self.storagePolicy) || has(self.hostGroup) || has(self.networks)",message="a failure domain must name at least one of resourcePool, datastore, storagePolicy, hostGroup and networks: nothing else tells it from another"
type VSphereFailureDomain struct {
	// name is the name of the failure domain, as in IngotCluster.spec.failureDomains and Machine.spec.failureDomain.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// resourcePool takes the place of the machine's spec.platform.vsphere.resourcePool: a cluster or host, or a resource pool in
	// it, for example cluster-1/Resources/kubernetes.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="resourcePool must be a path below the datacenter's hosts, for example cluster-1/Resources/kubernetes, without a slash at its begin or end"
	ResourcePool string `json:"resourcePool,omitempty"`

	// datastore takes the place of the machine's spec.platform.vsphere.datastore.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:XValidation:rule="!self.contains('/')",message="datastore must be the name of a datastore, without a slash"
	Datastore string `json:"datastore,omitempty"`

	// storagePolicy takes the place of the machine's spec.platform.vsphere.storagePolicy. Where neither the machine nor the
	// failure domain names a datastore, one is chosen by it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	StoragePolicy string `json:"storagePolicy,omitempty"`

	// hostGroup binds the machines to a group of the hosts of the compute cluster, which needs DRS. Unset means any of its hosts.
	// +optional
	HostGroup VSphereHostGroup `json:"hostGroup,omitempty,omitzero"`

	// networks say which port groups are meant by names in the machine's spec.networks. A network that is not listed has the
	// name that the machine says.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Networks []VSphereNetwork `json:"networks,omitempty"`
}

// VSphereHostGroup binds machines to a group of hosts by a rule of DRS. It needs the privilege Host.Inventory.EditCluster on the
// compute cluster.
type VSphereHostGroup struct {
	// name is the name of a host group in the compute cluster. It must exist; Ingot never changes it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	Name string `json:"name,omitempty"`

	// affinity says whether the machines may ever run on other hosts.
	// +required
	Affinity HostAffinity `json:"affinity,omitempty"`
}

// HostAffinity says how machines are bound to hosts.
// +kubebuilder:validation:Enum=Required;Preferred
type HostAffinity string

const (
	// HostAffinityRequired never runs machines on other hosts: they must run on hosts of the group. A machine whose hosts are
	// full or gone does not run.
	HostAffinityRequired HostAffinity = "Required"
	// HostAffinityPreferred has DRS run machines on other hosts while those of the group are full or gone: they should run on
	// hosts of the group.
	HostAffinityPreferred HostAffinity = "Preferred"
)

// VSphereNetwork says what the name of a network means in a failure domain.
type VSphereNetwork struct {
	// name is the name that machines have in spec.networks.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="name must be the name of a network as machines say it, which has no slash at its begin or end"
	Name string `json:"name,omitempty"`

	// portGroup is the network or port group that it is in this failure domain, written as machines write theirs: its name, a
	// path below the datacenter's networks as FOLDER/NAME or SWITCH/NAME, or with its reference as NAME@REFERENCE.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",message="portGroup must be the name of a network or port group in the datacenter, or a path below its networks, for example prod/nodes, without a slash at its begin or end"
	PortGroup string `json:"portGroup,omitempty"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// namespace is the namespace of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="namespace must be the name of a namespace: a-z, 0-9 and -"
	Namespace string `json:"namespace,omitempty"`

	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the name of a Secret: a-z, 0-9, - and ."
	Name string `json:"name,omitempty"`
}

// EndpointCapacity limits what the machines on an endpoint may have together. What other programs use there is not
// counted: leave room for it.
// +kubebuilder:validation:MinProperties=1
type EndpointCapacity struct {
	// cpus is how many virtual CPUs all machines may have. Unset means no limit: CPUs are shared.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	CPUs int32 `json:"cpus,omitempty"`

	// memory is how much memory all machines may have. Unset means what the host has, as status.capacity tells it.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity('256Mi'))",message="capacity.memory must be at least 256Mi, which the smallest machine has: set unschedulable to keep machines away"
	Memory *resource.Quantity `json:"memory,omitempty"`

	// reservedForControlPlanePercent is the part of CPUs and memory that only control plane machines may use, so that one
	// can always be replaced. Defaults to 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=90
	ReservedForControlPlanePercent *int32 `json:"reservedForControlPlanePercent,omitempty"`
}

// EndpointBudget limits how much is done on an endpoint at once.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.urgentRequestsPercent) || has(self.requestsPerSecond)",message="budget.urgentRequestsPercent is a part of budget.requestsPerSecond: set that too, or remove it"
type EndpointBudget struct {
	// createsInFlight is how many instances may be between their creation and their first address at once. One more place
	// is kept for control plane machines. Defaults to 8.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	CreatesInFlight *int32 `json:"createsInFlight,omitempty"`

	// requestsPerSecond is how many requests per second the endpoint is sent at most for machines and images. What keeps the
	// session is not counted. Unset means no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RequestsPerSecond *int32 `json:"requestsPerSecond,omitempty"`

	// urgentRequestsPercent is the part of requestsPerSecond that is kept for control plane machines and for deletions. All
	// else has at least one request per second. Defaults to 20.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=90
	UrgentRequestsPercent *int32 `json:"urgentRequestsPercent,omitempty"`
}

// OrphanMode says what happens to orphans.
// +kubebuilder:validation:Enum=Report;Collect
type OrphanMode string

const (
	// OrphanModeReport reports orphans in status, by an event and as a metric, and leaves them alone.
	OrphanModeReport OrphanMode = "Report"
	// OrphanModeCollect also removes them once they have been orphans for spec.orphans.minAgeMinutes.
	OrphanModeCollect OrphanMode = "Collect"
)

// OrphanPolicy says what happens to orphans: objects with our owner token that belong to no IngotMachine. Two management
// clusters with copies of one PlatformEndpoint see each other's machines as orphans: never use Collect then.
// +kubebuilder:validation:MinProperties=1
type OrphanPolicy struct {
	// mode says whether orphans are only reported or also removed. Defaults to Report.
	// +optional
	// +kubebuilder:default=Report
	Mode OrphanMode `json:"mode,omitempty"`

	// minAgeMinutes is how long something must have been seen as an orphan before it is removed. Defaults to 60.
	// +optional
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=525600
	MinAgeMinutes int32 `json:"minAgeMinutes,omitempty"`
}

// ReplicaPolicy says how long images stay on an endpoint.
// +kubebuilder:validation:MinProperties=1
type ReplicaPolicy struct {
	// keepUnusedMinutes is how long a copy stays after the last machine that needed it. Defaults to 1440, one day. A copy
	// that disks depend on is never removed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5256000
	KeepUnusedMinutes *int32 `json:"keepUnusedMinutes,omitempty"`
}

// AllowedNamespaces selects namespaces by name or by label.
// +kubebuilder:validation:MinProperties=1
type AllowedNamespaces struct {
	// names are namespaces that may use the endpoint.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="names must be names of namespaces, a-z, 0-9 and -: use selector to allow namespaces by their labels"
	Names []string `json:"names,omitempty"`

	// selector selects namespaces by their labels. A namespace may use the endpoint when it is named or selected.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator == 'In' || e.operator == 'NotIn' ? has(e.values) && e.values.size() > 0 : (e.operator == 'Exists' || e.operator == 'DoesNotExist') && (!has(e.values) || e.values.size() == 0))",message="selector has the operators In and NotIn with values, and Exists and DoesNotExist without"
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// PlatformEndpointStatus reports on the connection.
type PlatformEndpointStatus struct {
	// conditions report on the endpoint. Known types: Ready, PrivilegesGranted, NoOrphans.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// version is the version of the platform, as it reports it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Version string `json:"version,omitempty"`

	// capacity is what the endpoint has, as it told when the session was made.
	// +optional
	Capacity ObservedCapacity `json:"capacity,omitempty,omitzero"`

	// orphans are objects on the endpoint that carry our owner token and belong to no IngotMachine, oldest first. Of more
	// than 64 the oldest are listed.
	// +optional
	// +listType=map
	// +listMapKey=uuid
	// +kubebuilder:validation:MaxItems=64
	Orphans []Orphan `json:"orphans,omitempty"`

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ObservedCapacity is what an endpoint has.
// +kubebuilder:validation:MinProperties=1
type ObservedCapacity struct {
	// cpus is how many CPUs the host has.
	// +optional
	// +kubebuilder:validation:Minimum=1
	CPUs int32 `json:"cpus,omitempty"`

	// memory is how much memory the host has.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	Memory *resource.Quantity `json:"memory,omitempty"`
}

// Orphan is something on an endpoint that carries our owner token and belongs to no IngotMachine.
type Orphan struct {
	// uuid is the machine that it was made for.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	// +kubebuilder:validation:MaxLength=36
	UUID string `json:"uuid,omitempty"`

	// name is what the platform calls it, for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// storage is where its disks are.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Storage string `json:"storage,omitempty"`

	// running is whether it runs.
	// +optional
	Running *bool `json:"running,omitempty"`

	// firstSeen is when it was first seen as an orphan.
	// +required
	FirstSeen metav1.Time `json:"firstSeen,omitempty,omitzero"`
}

// PlatformEndpoint is one place where instances can live: a libvirt host or a vCenter.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=platformendpoints,scope=Cluster,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move-hierarchy="}
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether the endpoint answers"
// +kubebuilder:printcolumn:name="Version",type="string",JSONPath=".status.version",description="Version of the platform"
// +kubebuilder:printcolumn:name="Domain",type="string",JSONPath=".spec.failureDomain",description="Failure domain"
// +kubebuilder:printcolumn:name="Orphans",type="string",JSONPath=".status.conditions[?(@.type==\"NoOrphans\")].reason",description="Whether anything on it belongs to nobody"
// +kubebuilder:printcolumn:name="URI",type="string",JSONPath=".spec.libvirt.uri",description="Address of a libvirt host"
// +kubebuilder:printcolumn:name="Server",type="string",priority=1,JSONPath=".spec.vsphere.server",description="Address of a vCenter"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type PlatformEndpoint struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says where the platform is and who may use it.
	// +required
	Spec PlatformEndpointSpec `json:"spec,omitempty,omitzero"`

	// status reports on the connection.
	// +optional
	Status PlatformEndpointStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the endpoint.
func (e *PlatformEndpoint) GetConditions() []metav1.Condition { return e.Status.Conditions }

// SetConditions replaces the conditions of the endpoint.
func (e *PlatformEndpoint) SetConditions(conditions []metav1.Condition) {
	e.Status.Conditions = conditions
}

// PlatformEndpointList is a list of PlatformEndpoints.
//
// +kubebuilder:object:root=true
type PlatformEndpointList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PlatformEndpoint `json:"items"`
}
