// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// IngotConfigFinalizer keeps an IngotConfig until its join token is withdrawn from the workload cluster.
const IngotConfigFinalizer = "bootstrap.cluster.x-k8s.io/ingotconfig"

// Role is what a node does in its cluster.
// +kubebuilder:validation:Enum=Init;ControlPlane;Worker
type Role string

const (
	// RoleInit is the first control plane node, which makes the cluster.
	RoleInit Role = "Init"
	// RoleControlPlane is a control plane node that joins.
	RoleControlPlane Role = "ControlPlane"
	// RoleWorker is a node that runs workloads only.
	RoleWorker Role = "Worker"
)

// SelfUpdate says whether the operating system may change itself.
// +kubebuilder:validation:Enum=Disabled;Allowed
type SelfUpdate string

const (
	// SelfUpdateDisabled turns the operating system's own updates off: nodes are replaced, not patched.
	SelfUpdateDisabled SelfUpdate = "Disabled"
	// SelfUpdateAllowed leaves the operating system's own updates as the image has them.
	SelfUpdateAllowed SelfUpdate = "Allowed"
)

// IngotConfigSpec describes how a node comes up: portable settings, and exactly one operating system block.
// +kubebuilder:validation:XValidation:rule="[has(self.ignition), has(self.cloudInit), has(self.talos), has(self.bottlerocket), has(self.kairos)].exists_one(x, x)",message="exactly one operating system block must be set: ignition, cloudInit, talos, bottlerocket or kairos"
// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom) || !has(self.role) || self.role == 'Init'",message="restoreFrom is for the first control plane node, whose role is Init: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.bottlerocket) || !has(self.role) || self.role == 'Worker'",message="Bottlerocket runs workers only, upstream supports no control plane on it: give the control plane another operating system, for example Talos or Flatcar"
// +kubebuilder:validation:XValidation:rule="!has(self.kairos) || self.kairos.distribution == 'kubeadm' || !has(self.role) || self.role == 'Worker'",message="Ingot drives no control plane of k3s or k0s: use an image that carries kubeadm, with kairos.distribution: kubeadm, or let another provider run the control plane"
// +kubebuilder:validation:XValidation:rule="!has(self.joinTimeoutSeconds) || !(has(self.talos) || has(self.bottlerocket) || (has(self.kairos) && self.kairos.distribution != 'kubeadm'))",message="joinTimeoutSeconds is for kubeadm, which neither Talos nor Bottlerocket nor k3s nor k0s runs: remove it"
type IngotConfigSpec struct {
	// role is what the node does. IngotControlPlane sets it on the configs that it makes. Unset means Worker for a
	// worker Machine and ControlPlane for a control plane Machine. Do not set it.
	// +optional
	Role Role `json:"role,omitempty"`

	// restoreFrom makes the first control plane node start with the etcd data of a snapshot instead of an empty cluster.
	// IngotControlPlane sets it on the config of the first machine when a cluster is restored. It goes with role Init only.
	// Do not set it.
	// +optional
	RestoreFrom RestoreReference `json:"restoreFrom,omitempty,omitzero"`

	// node are settings of the Node object and its kubelet.
	// +optional
	Node NodeSettings `json:"node,omitempty,omitzero"`

	// controlPlane are settings of the control plane. Workers ignore them.
	// +optional
	ControlPlane ControlPlaneSettings `json:"controlPlane,omitempty,omitzero"`

	// selfUpdate says whether the operating system may change itself. Defaults to Disabled.
	// +optional
	// +kubebuilder:default=Disabled
	SelfUpdate SelfUpdate `json:"selfUpdate,omitempty"`

	// joinTimeoutSeconds is how long, in seconds, each step of kubeadm may take on the machine before it gives up.
	// Unset means kubeadm's own timeouts. Raise it where CPUs are emulated.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=7200
	JoinTimeoutSeconds *int32 `json:"joinTimeoutSeconds,omitempty"`

	// registries say how the node reaches registries of container images: mirrors, authorities, credentials.
	// +optional
	// +listType=map
	// +listMapKey=host
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Registries []Registry `json:"registries,omitempty"`

	// additionalTrustBundle are PEM certificates of authorities that the node trusts beside those of its image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	AdditionalTrustBundle string `json:"additionalTrustBundle,omitempty"`

	// ntp says where the node has the time from.
	// +optional
	NTP NTPSettings `json:"ntp,omitempty,omitzero"`

	// proxy are the proxies through which the node reaches what is outside.
	// +optional
	Proxy ProxySettings `json:"proxy,omitempty,omitzero"`

	// sysctls are kernel parameters, for example vm.max_map_count.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 128 && k.matches('^[a-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)+$'))",message="the name of a sysctl has parts with dots or slashes between them, like net.core.somaxconn"
	Sysctls map[string]SysctlValue `json:"sysctls,omitempty"`

	// kernelModules are loaded at every boot. A node does not come up without them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	KernelModules []KernelModule `json:"kernelModules,omitempty"`

	// files are further files.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Files []File `json:"files,omitempty"`

	// units are further systemd units, or extend those of the image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Units []Unit `json:"units,omitempty"`

	// diskEncryption encrypts what the machine keeps on its system disk: everything but what the image itself brings. Unset
	// means that the disk is not encrypted by the machine.
	// +optional
	DiskEncryption DiskEncryption `json:"diskEncryption,omitempty,omitzero"`

	// ignition renders for images that run Ignition 3.x on first boot.
	// +optional
	Ignition IgnitionConfig `json:"ignition,omitempty,omitzero"`

	// cloudInit renders for images that run cloud-init on first boot and carry containerd, kubelet and kubeadm, for
	// example Photon, a bootc derivative, or a distribution turned read-only. It has no fields; write cloudInit: {}.
	// +optional
	CloudInit *CloudInitConfig `json:"cloudInit,omitempty"`

	// talos renders for images of Talos Linux that are on the machine's disk when it starts. Workers of it join control planes
	// of it only. No field is required; write talos: {}.
	// +optional
	Talos *TalosConfig `json:"talos,omitempty"`

	// bottlerocket renders for images of Bottlerocket that run on vSphere. Workers only. No field is required; write
	// bottlerocket: {}.
	// +optional
	Bottlerocket *BottlerocketConfig `json:"bottlerocket,omitempty"`

	// kairos renders for images of Kairos and Hadron that carry kubeadm, k3s or k0s. With k3s and k0s it is for workers only:
	// they join a control plane that another provider runs.
	// +optional
	Kairos KairosConfig `json:"kairos,omitempty,omitzero"`
}

// RestoreReference names what says where a node fetches its etcd data from.
type RestoreReference struct {
	// name is a Secret in the same namespace. Its key restore.json lists the files, each with its address and its digest;
	// the addresses are secret, since etcd holds every secret of the cluster. The node does not come up before the Secret
	// is there and can be read. Once the bootstrap data is made, the Secret is not read again.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// NodeSettings are settings of the Node object and its kubelet.
// +kubebuilder:validation:MinProperties=1
type NodeSettings struct {
	// labels are put on the Node when it registers. The kubelet may set only labels outside the kubernetes.io and
	// k8s.io domains and those below node.kubernetes.io and kubelet.kubernetes.io; set others on the Machine.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k.startsWith('node-role.kubernetes.io/') || k.startsWith('node-restriction.kubernetes.io/')))",message="the kubelet may not set node-role.kubernetes.io and node-restriction.kubernetes.io labels: set them on the Machine's metadata, Cluster API copies them"
	Labels map[string]string `json:"labels,omitempty"`

	// annotations are put on the Node once it has joined, by Ingot: no kubelet can set them when it registers. They are
	// written once, and never changed or removed afterwards.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$'))",message="the key of an annotation is a name, with a domain and a slash before it where it has one"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('^([^/]*[.])?(kubernetes|k8s|x-k8s)[.]io/'))",message="annotations of Kubernetes and Cluster API are set by those whose they are: remove them"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`

	// taints are put on the Node when it registers. Unset means the default of its role: none for workers,
	// node-role.kubernetes.io/control-plane:NoSchedule for control planes. An empty list means none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Taints *[]corev1.Taint `json:"taints,omitempty"`

	// kubeletExtraArgs are further kubelet flags, without leading dashes. provider-id, node-labels,
	// register-with-taints, hostname-override, kubeconfig and bootstrap-kubeconfig are Ingot's.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(a, !(a.name in ['provider-id', 'node-labels', 'register-with-taints', 'hostname-override', 'kubeconfig', 'bootstrap-kubeconfig']))",message="provider-id, node-labels, register-with-taints, hostname-override, kubeconfig and bootstrap-kubeconfig are set by Ingot: use labels and taints"
	KubeletExtraArgs []Arg `json:"kubeletExtraArgs,omitempty"`

	// kubelet are settings of the kubelet that most operating systems have.
	// +optional
	Kubelet KubeletSettings `json:"kubelet,omitempty,omitzero"`

	// identityReport says whether the machine itself reports on each boot what its root is, as the Node's annotation
	// ingot.dev/node-identity. NodeImage.spec.nodeIdentity.osRelease is compared with it. Only images that tell their version
	// in no other way need it; they must have curl. Unset means None.
	// +optional
	IdentityReport IdentityReport `json:"identityReport,omitempty"`
}

// IdentityReport says what a machine reports of its root.
// +kubebuilder:validation:Enum=None;OSRelease
type IdentityReport string

const (
	// IdentityReportNone reports nothing.
	IdentityReportNone IdentityReport = "None"
	// IdentityReportOSRelease reports fields of os-release.
	IdentityReportOSRelease IdentityReport = "OSRelease"
)

// Arg is one command line flag.
type Arg struct {
	// name is the flag without leading dashes.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9-]*$`
	Name string `json:"name,omitempty"`

	// value is the value of the flag.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	// name is the name of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	Name string `json:"name,omitempty"`

	// value is the value of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// KeyAlgorithm is how keys on the machine are made.
// +kubebuilder:validation:Enum=RSA-2048;RSA-3072;RSA-4096;ECDSA-P256;ECDSA-P384
type KeyAlgorithm string

// ControlPlaneSettings are settings of a control plane.
// +kubebuilder:validation:MinProperties=1
type ControlPlaneSettings struct {
	// vip makes control plane nodes hold the Cluster's control plane endpoint themselves, by VRRP. Unset means that
	// something else answers there, for example a load balancer. The endpoint's host must be an IPv4 address.
	// +optional
	VIP ControlPlaneVIP `json:"vip,omitempty,omitzero"`

	// imageRepository is the prefix of the control plane's container images. Unset means kubeadm's own default. Set it
	// to what the NodeImage has preloaded.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ImageRepository string `json:"imageRepository,omitempty"`

	// keyAlgorithm is how keys on the machine are made. Unset means kubeadm's own default.
	// +optional
	KeyAlgorithm KeyAlgorithm `json:"keyAlgorithm,omitempty"`

	// skipPhases are phases of kubeadm init that are left out, for example addon/kube-proxy.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	SkipPhases []string `json:"skipPhases,omitempty"`

	// apiServer are settings of kube-apiserver.
	// +optional
	APIServer ComponentSettings `json:"apiServer,omitempty,omitzero"`

	// controllerManager are settings of kube-controller-manager.
	// +optional
	ControllerManager ComponentSettings `json:"controllerManager,omitempty,omitzero"`

	// scheduler are settings of kube-scheduler.
	// +optional
	Scheduler ComponentSettings `json:"scheduler,omitempty,omitzero"`

	// etcd are settings of etcd.
	// +optional
	Etcd ComponentSettings `json:"etcd,omitempty,omitzero"`

	// certSANs are further names and addresses that the API server's certificate is valid for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	CertSANs []string `json:"certSANs,omitempty"`
}

// ControlPlaneVIP makes control plane nodes hold the endpoint address themselves.
type ControlPlaneVIP struct {
	// virtualRouterID is the VRRP router number. It must be unique among the virtual addresses of one network.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=255
	VirtualRouterID int32 `json:"virtualRouterID,omitempty"`

	// interface is the network interface that holds the address. Unset means the one with the default route.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9._-]+$`
	Interface string `json:"interface,omitempty"`
}

// ComponentSettings are settings of one control plane component.
// +kubebuilder:validation:MinProperties=1
type ComponentSettings struct {
	// extraArgs are further flags, without leading dashes.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ExtraArgs []Arg `json:"extraArgs,omitempty"`

	// extraEnvs are further environment variables.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ExtraEnvs []EnvVar `json:"extraEnvs,omitempty"`

	// cpuRequest is the CPU request of the component's static Pod, for example 500m. Unset means kubeadm's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^[0-9]+m?$`
	CPURequest string `json:"cpuRequest,omitempty"`
}

// IgnitionVariant is a kind of image that runs Ignition 3.x.
// +kubebuilder:validation:Enum=Generic;Flatcar;FedoraCoreOS
type IgnitionVariant string

const (
	// IgnitionVariantGeneric is any image that carries containerd, kubelet and kubeadm, and Ignition that accepts
	// specification 3.4.0.
	IgnitionVariantGeneric IgnitionVariant = "Generic"
	// IgnitionVariantFlatcar is Flatcar Container Linux. kubelet and kubeadm are in the image, or come as a system extension.
	IgnitionVariantFlatcar IgnitionVariant = "Flatcar"
	// IgnitionVariantFedoraCoreOS is Fedora CoreOS, an image derived from it, or RHCOS outside of OpenShift. kubelet and
	// kubeadm are in the image, or come as a system extension.
	IgnitionVariantFedoraCoreOS IgnitionVariant = "FedoraCoreOS"
)

// IgnitionConfig renders for images that run Ignition 3.x on first boot.
// +kubebuilder:validation:XValidation:rule="!has(self.sysexts) || (has(self.variant) && self.variant != 'Generic')",message="sysexts are for the variants Flatcar and FedoraCoreOS: build what they hold into the image, or set variant"
type IgnitionConfig struct {
	// variant is the kind of image. Defaults to Generic.
	// +optional
	// +kubebuilder:default=Generic
	Variant IgnitionVariant `json:"variant,omitempty"`

	// sysexts are system extensions: images that systemd-sysext merges into /usr at every boot, for example one with
	// kubelet and kubeadm. The machine fetches each on its first boot, and no other than the one with the digest. They are
	// never updated: another extension is another machine.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Sysexts []Sysext `json:"sysexts,omitempty"`

	// butane are snippets in the language of Butane, without variant and version, that are added to the machine's
	// configuration: files, units, users, disks. A snippet may add, and may not replace or undo what Ingot or an earlier
	// snippet writes. Nothing is read from files of the management cluster, and what the machine fetches needs
	// verification.hash. Do not write secrets into a snippet.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32768
	Butane []string `json:"butane,omitempty"`
}

// Sysext is a system extension that the machine fetches on its first boot.
// +kubebuilder:validation:XValidation:rule="has(self.sha512) != has(self.sha256)",message="exactly one digest must be set: sha512 or sha256"
type Sysext struct {
	// name is the name of the extension: the image must hold /usr/lib/extension-release.d/extension-release.<name>.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// url is where the machine fetches the image from, by https or http. It must be a raw disk image, not compressed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^\s]+$`
	URL string `json:"url,omitempty"`

	// sha512 is the digest of the image in hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=128
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{128}$`
	SHA512 string `json:"sha512,omitempty"`

	// sha256 is the digest of the image in hexadecimal, where no SHA-512 is known.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256,omitempty"`
}

// CloudInitConfig renders for images that run cloud-init on first boot.
type CloudInitConfig struct {
	// userData is further user data in cloud-config: users, groups, disk_setup, fs_setup, mounts, growpart, resize_rootfs,
	// timezone and locale. It adds to what Ingot sets, and may not replace it. It must not hold secrets: whoever may read the
	// config may read it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	UserData string `json:"userData,omitempty"`
}

// TalosContract is a release of Talos whose documents can be written.
// +kubebuilder:validation:Enum="1.12";"1.13";"1.14"
type TalosContract string

// TalosConfig renders for images of Talos Linux.
type TalosConfig struct {
	// contract is the release of Talos whose documents are written, 1.12 to 1.14. Unset means that of the machine's NodeImage.
	// Talos reads documents of its own release and of older ones, never of a newer one. Set it to keep patches that were
	// written for an older release, or where another provider makes the machines, so that Ingot knows no image of them.
	// +optional
	Contract TalosContract `json:"contract,omitempty"`

	// patches are strategic merge patches of Talos in YAML, applied one after another to what Ingot writes. Each may hold
	// several documents. JSON patches are not accepted: Talos knows none for several documents. They may neither replace what
	// is Ingot's, which is the cluster, its secrets, the machine's name and its image, nor turn a guard rail off, unless
	// selfUpdate is Allowed. They must not hold secrets: whoever may read the config may read them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32768
	Patches []string `json:"patches,omitempty"`
}

// BottlerocketRelease is a release of Bottlerocket.
// +kubebuilder:validation:Enum="1.50";"1.51";"1.52";"1.53";"1.54";"1.55";"1.56";"1.57"
type BottlerocketRelease string

// BottlerocketConfig renders for images of Bottlerocket.
type BottlerocketConfig struct {
	// release is the release of Bottlerocket whose settings may be used, 1.50 to 1.57. Defaults to 1.50. The image must be of
	// that release or of a newer one: Bottlerocket does not come up when it finds a setting that it does not know.
	// +optional
	// +kubebuilder:default="1.50"
	Release BottlerocketRelease `json:"release,omitempty"`

	// settings are further settings of Bottlerocket in TOML, below the table settings, as Bottlerocket documents them. They
	// add to what Ingot sets, and may neither replace it nor turn a guard rail off, unless selfUpdate is Allowed. They must
	// not hold secrets: whoever may read the config may read them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Settings string `json:"settings,omitempty"`
}

// KairosDistribution is a distribution of Kubernetes that images of Kairos carry.
// +kubebuilder:validation:Enum=kubeadm;k3s;k0s
type KairosDistribution string

const (
	// KairosDistributionKubeadm is containerd, kubelet and kubeadm in /usr/bin, as other families have them.
	KairosDistributionKubeadm KairosDistribution = "kubeadm"
	// KairosDistributionK3s is k3s.
	KairosDistributionK3s KairosDistribution = "k3s"
	// KairosDistributionK0s is k0s.
	KairosDistributionK0s KairosDistribution = "k0s"
)

// KairosConfig renders for images of Kairos and Hadron.
type KairosConfig struct {
	// distribution is the distribution of Kubernetes that the image carries: kubeadm, k3s or k0s.
	// +required
	Distribution KairosDistribution `json:"distribution,omitempty"`

	// cloudConfig is further cloud-config of Kairos: users, ssh_authorized_keys, write_files, runcmd, growpart, bundles,
	// stages and env. It adds to what Ingot sets, and may neither replace it nor turn a guard rail off, unless selfUpdate is
	// Allowed. It must not hold secrets: whoever may read the config may read it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	CloudConfig string `json:"cloudConfig,omitempty"`
}

// IngotConfigInitializationStatus tells Cluster API that the bootstrap data is there.
// +kubebuilder:validation:MinProperties=1
type IngotConfigInitializationStatus struct {
	// dataSecretCreated is true once the Secret with the bootstrap data exists.
	// +optional
	DataSecretCreated *bool `json:"dataSecretCreated,omitempty"`
}

// IngotConfigStatus reports on an IngotConfig.
type IngotConfigStatus struct {
	// initialization tells Cluster API that the bootstrap data is there.
	// +optional
	Initialization IngotConfigInitializationStatus `json:"initialization,omitempty,omitzero"`

	// dataSecretName is the Secret with the bootstrap data, in the same namespace. Its keys are value and format.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	DataSecretName string `json:"dataSecretName,omitempty"`

	// conditions report on the config. Known types: Ready, CertificatesAvailable, DataSecretAvailable, Paused.
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

// IngotConfig is the bootstrap configuration of one machine.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotconfigs,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster"
// +kubebuilder:printcolumn:name="Role",type="string",JSONPath=".spec.role",description="What the node does"
// +kubebuilder:printcolumn:name="Data secret",type="string",JSONPath=".status.dataSecretName",description="Secret with the bootstrap data"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether the bootstrap data is there"
// +kubebuilder:printcolumn:name="Reason",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].reason",description="Why it is not ready"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotConfig struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes how the node comes up. It is immutable: a node with another configuration is another machine.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: a node with another configuration is another machine"
	Spec IngotConfigSpec `json:"spec,omitempty,omitzero"`

	// status reports on the config.
	// +optional
	Status IngotConfigStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the config.
func (c *IngotConfig) GetConditions() []metav1.Condition { return c.Status.Conditions }

// SetConditions replaces the conditions of the config.
func (c *IngotConfig) SetConditions(conditions []metav1.Condition) { c.Status.Conditions = conditions }

// IngotConfigList is a list of IngotConfigs.
//
// +kubebuilder:object:root=true
type IngotConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotConfig `json:"items"`
}

// IngotConfigTemplateSpec holds the template of an IngotConfig. It is immutable; the rule is a
// ValidatingAdmissionPolicy (config/admission), because it must let the dry runs of the topology controller through.
type IngotConfigTemplateSpec struct {
	// template is the IngotConfig to create.
	// +required
	Template IngotConfigTemplateResource `json:"template,omitempty,omitzero"`
}

// IngotConfigTemplateResource is the template of an IngotConfig.
type IngotConfigTemplateResource struct {
	// metadata is put on the IngotConfig.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the spec of the IngotConfig.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.role)",message="role belongs to one machine: remove it from the template"
	// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom)",message="restoreFrom belongs to one machine: remove it from the template"
	Spec IngotConfigSpec `json:"spec,omitempty,omitzero"`
}

// IngotConfigTemplate is a template of IngotConfigs. It is immutable: to change nodes, make another template and
// reference it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotconfigtemplates,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotConfigTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec holds the template.
	// +required
	Spec IngotConfigTemplateSpec `json:"spec,omitempty,omitzero"`
}

// IngotConfigTemplateList is a list of IngotConfigTemplates.
//
// +kubebuilder:object:root=true
type IngotConfigTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotConfigTemplate `json:"items"`
}
