// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeIdentityAnnotation is the annotation of a Node in which the machine itself says, on each boot, what its root is: words
// like VERSION_ID=5.0 from its os-release, after boot= with the ID of the boot that they were read in. An IngotConfig asks
// for it with spec.node.identityReport.
const NodeIdentityAnnotation = "ingot.dev/node-identity"

// OSFamily names an operating system whose machine configuration format Ingot knows. ContainerOptimizedOS, RancherOS and
// K3OS are known by name, so that whoever asks for them reads why they are refused and what to take instead.
// +kubebuilder:validation:Enum=Generic;Talos;Flatcar;FedoraCoreOS;Bottlerocket;Kairos;CloudInit;ContainerOptimizedOS;RancherOS;K3OS
// +kubebuilder:validation:XValidation:rule="self != 'ContainerOptimizedOS'",message="Google's Container-Optimized OS ships for Google's own cloud only, and reads its configuration from nothing but that cloud's metadata service: use Flatcar or FedoraCoreOS"
// +kubebuilder:validation:XValidation:rule="self != 'RancherOS'",message="RancherOS is archived: its kernel gets no fixes any more: use Flatcar, or Kairos for k3s"
// +kubebuilder:validation:XValidation:rule="self != 'K3OS'",message="k3OS is archived: its kernel gets no fixes any more: use Kairos, which runs k3s as well"
type OSFamily string

const (
	// OSFamilyGeneric is any image that runs Ignition 3.x on first boot and carries containerd, kubelet and kubeadm.
	// Ingot OS, the image that this repository builds, is one.
	OSFamilyGeneric OSFamily = "Generic"
	// OSFamilyTalos is Talos Linux.
	OSFamilyTalos OSFamily = "Talos"
	// OSFamilyFlatcar is Flatcar Container Linux.
	OSFamilyFlatcar OSFamily = "Flatcar"
	// OSFamilyFedoraCoreOS is Fedora CoreOS and its relatives.
	OSFamilyFedoraCoreOS OSFamily = "FedoraCoreOS"
	// OSFamilyBottlerocket is Bottlerocket.
	OSFamilyBottlerocket OSFamily = "Bottlerocket"
	// OSFamilyKairos is Kairos and Hadron.
	OSFamilyKairos OSFamily = "Kairos"
	// OSFamilyCloudInit is any image that is configured by cloud-init, for example Photon or a bootc derivative.
	OSFamilyCloudInit OSFamily = "CloudInit"
)

// BootstrapFormat is the format of a bootstrap data Secret, as its key "format" states it.
// +kubebuilder:validation:Enum=ignition;talos;cloud-config;bottlerocket
type BootstrapFormat string

const (
	// BootstrapFormatIgnition is an Ignition 3.x configuration (JSON).
	BootstrapFormatIgnition BootstrapFormat = "ignition"
	// BootstrapFormatTalos is a Talos machine configuration (YAML).
	BootstrapFormatTalos BootstrapFormat = "talos"
	// BootstrapFormatCloudConfig is cloud-init user data. A Secret without a format key holds it.
	BootstrapFormatCloudConfig BootstrapFormat = "cloud-config"
	// BootstrapFormatBottlerocket is Bottlerocket settings (TOML).
	BootstrapFormatBottlerocket BootstrapFormat = "bottlerocket"
)

// Firmware is the firmware interface through which a machine boots.
// +kubebuilder:validation:Enum=UEFI;BIOS
type Firmware string

const (
	// FirmwareUEFI boots through the EFI system partition.
	FirmwareUEFI Firmware = "UEFI"
	// FirmwareBIOS boots through the master boot record.
	FirmwareBIOS Firmware = "BIOS"
)

// ArtefactPlatform names the platform that an artefact is made for.
// +kubebuilder:validation:Enum=libvirt;vsphere;bareMetal
type ArtefactPlatform string

const (
	// ArtefactPlatformLibvirt is an artefact for libvirt hosts.
	ArtefactPlatformLibvirt ArtefactPlatform = "libvirt"
	// ArtefactPlatformVSphere is an artefact for vSphere.
	ArtefactPlatformVSphere ArtefactPlatform = "vsphere"
	// ArtefactPlatformBareMetal is an artefact for servers with a BMC.
	ArtefactPlatformBareMetal ArtefactPlatform = "bareMetal"
)

// DiskFormat is the format of a disk artefact after decompression.
// +kubebuilder:validation:Enum=qcow2;raw;vmdk;ova;iso;template
type DiskFormat string

const (
	// DiskFormatQCOW2 is QEMU's copy-on-write format.
	DiskFormatQCOW2 DiskFormat = "qcow2"
	// DiskFormatRaw is a plain disk image.
	DiskFormatRaw DiskFormat = "raw"
	// DiskFormatVMDK is VMware's disk format, streamOptimized, which is how disks are published.
	DiskFormatVMDK DiskFormat = "vmdk"
	// DiskFormatOVA is an OVF package with one virtual machine that has one disk, in one file.
	DiskFormatOVA DiskFormat = "ova"
	// DiskFormatISO is a bootable ISO 9660 image.
	DiskFormatISO DiskFormat = "iso"
	// DiskFormatTemplate is a template in vCenter.
	DiskFormatTemplate DiskFormat = "template"
)

// Compression is how an artefact is compressed as a whole file. Compression inside a qcow2 file does not count.
// +kubebuilder:validation:Enum=None;gzip;zstd;xz;bzip2
type Compression string

const (
	// CompressionNone is an artefact that is used as it is.
	CompressionNone Compression = "None"
	// CompressionGzip is RFC 1952.
	CompressionGzip Compression = "gzip"
	// CompressionZstd is RFC 8878.
	CompressionZstd Compression = "zstd"
	// CompressionXZ is the .xz format.
	CompressionXZ Compression = "xz"
	// CompressionBzip2 is the .bz2 format.
	CompressionBzip2 Compression = "bzip2"
)

// LifecycleState says whether machines may be started from an image.
// +kubebuilder:validation:Enum=Preview;Supported;Deprecated;Revoked
type LifecycleState string

const (
	// LifecyclePreview is an image for trying out. It starts machines.
	LifecyclePreview LifecycleState = "Preview"
	// LifecycleSupported is an image for production. It starts machines.
	LifecycleSupported LifecycleState = "Supported"
	// LifecycleDeprecated is an image that should be left. It still starts machines, with a warning event.
	LifecycleDeprecated LifecycleState = "Deprecated"
	// LifecycleRevoked is an image that starts no machine any more. Running machines are left alone.
	LifecycleRevoked LifecycleState = "Revoked"
)

// NodeImageSpec is one version of one immutable image. Everything but lifecycle is immutable once created: an image
// with other content is another NodeImage.
// +kubebuilder:validation:XValidation:rule="has(self.secureBoot) == has(oldSelf.secureBoot) && has(self.signature) == has(oldSelf.signature) && has(self.sbom) == has(oldSelf.sbom) && has(self.owner) == has(oldSelf.owner) && has(self.releaseDate) == has(oldSelf.releaseDate) && has(self.fixedCVEs) == has(oldSelf.fixedCVEs)",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
// +kubebuilder:validation:XValidation:rule="!has(self.secureBoot) || !self.secureBoot || 'UEFI' in self.firmware",message="secureBoot needs UEFI in firmware: add UEFI, or remove secureBoot"
// +kubebuilder:validation:XValidation:rule="(self.os.family == 'Talos') == ('talos' in self.bootstrapFormats)",message="bootstrapFormats has talos if os.family is Talos, and only then: correct one of them"
// +kubebuilder:validation:XValidation:rule="(self.os.family == 'Bottlerocket') == ('bottlerocket' in self.bootstrapFormats)",message="bootstrapFormats has bottlerocket if os.family is Bottlerocket, and only then: correct one of them"
// +kubebuilder:validation:XValidation:rule="self.os.family != 'CloudInit' || 'cloud-config' in self.bootstrapFormats",message="bootstrapFormats must have cloud-config if os.family is CloudInit: correct one of them"
// +kubebuilder:validation:XValidation:rule="self.os.family != 'Kairos' || self.bootstrapFormats == ['cloud-config']",message="bootstrapFormats must be [cloud-config] if os.family is Kairos: correct one of them"
// +kubebuilder:validation:XValidation:rule="self.os.family == 'Kairos' || !has(self.nodeIdentity) || !has(self.nodeIdentity.osRelease) || self.nodeIdentity.osRelease.all(k, !k.startsWith('KAIROS_'))",message="machines of os.family Kairos report KAIROS_VERSION and KAIROS_FLAVOR, and no others: remove them, or correct os.family"
// +kubebuilder:validation:XValidation:rule="self.os.family != 'Bottlerocket' || (self.architecture == 'amd64' && self.artefacts.all(a, a.platform == 'vsphere'))",message="of all platforms here, Bottlerocket ships for vSphere only, and there for amd64 only: leave other platforms and architectures out, or use Talos or Flatcar there"
type NodeImageSpec struct {
	// os is the operating system in the image.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	OS NodeImageOS `json:"os,omitempty,omitzero"`

	// architecture is the CPU architecture of the image.
	// +required
	// +kubebuilder:validation:Enum=amd64;arm64
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Architecture string `json:"architecture,omitempty"`

	// kubernetes says which Kubernetes versions a machine from this image can run.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Kubernetes NodeImageKubernetes `json:"kubernetes,omitempty,omitzero"`

	// bootstrapFormats are the bootstrap data formats that the image accepts on first boot, best first.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, y == x))",message="bootstrapFormats must name a format once"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	BootstrapFormats []BootstrapFormat `json:"bootstrapFormats,omitempty"`

	// firmware lists the firmware interfaces that the image boots with, best first.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.exists_one(y, y == x))",message="firmware must name an interface once"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Firmware []Firmware `json:"firmware,omitempty"`

	// secureBoot says that the image's boot chain is signed so that firmware with the keys that platforms enrol by default
	// starts it. Machines with secure boot are refused from images that do not say so.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	SecureBoot *bool `json:"secureBoot,omitempty"`

	// nodeIdentity is what a Node that runs this image reports about itself.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	NodeIdentity NodeIdentity `json:"nodeIdentity,omitempty,omitzero"`

	// artefacts are the files that hold the image, at most one per platform.
	// +required
	// +listType=map
	// +listMapKey=platform
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Artefacts []Artefact `json:"artefacts,omitempty"`

	// signature refers to a detached signature over the artefacts. Ingot records it; it does not verify it yet.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Signature DocumentReference `json:"signature,omitempty,omitzero"`

	// sbom refers to the software bill of materials of the image.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	SBOM DocumentReference `json:"sbom,omitempty,omitzero"`

	// owner is the team that answers for the image, for example an address or a team name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	Owner string `json:"owner,omitempty"`

	// releaseDate is when the image was released.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	ReleaseDate metav1.Time `json:"releaseDate,omitempty,omitzero"`

	// fixedCVEs are the vulnerabilities that this version fixes compared with its predecessor.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:Pattern=`^CVE-[0-9]{4}-[0-9]{4,}$`
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="the content of a NodeImage is immutable (only spec.lifecycle may change): create a new NodeImage"
	FixedCVEs []string `json:"fixedCVEs,omitempty"`

	// lifecycle says whether machines may be started from the image. It is the only part of the spec that may change.
	// +optional
	// +kubebuilder:default={state: Supported}
	Lifecycle ImageLifecycle `json:"lifecycle,omitempty,omitzero"`
}

// NodeImageOS names the operating system of an image.
type NodeImageOS struct {
	// family is the operating system family. It decides which renderer may make the bootstrap data.
	// +required
	Family OSFamily `json:"family,omitempty"`

	// version is the version of the operating system image, for example v1.0.0.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Version string `json:"version,omitempty"`

	// channel is the release channel that the version was published in, for example stable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Channel string `json:"channel,omitempty"`
}

// NodeImageKubernetes says which Kubernetes versions an image can run. Exactly one of its fields is set.
// +kubebuilder:validation:XValidation:rule="has(self.versions) != has(self.range)",message="exactly one of versions and range must be set"
type NodeImageKubernetes struct {
	// versions are the exact Kubernetes versions that the image carries, with a leading v, for example v1.36.3.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^v[0-9]+[.][0-9]+[.][0-9]+([-+].*)?$')",message="versions must be exact with a leading v, for example v1.36.3: use range for more"
	Versions []string `json:"versions,omitempty"`

	// range is a semantic version range for images that fetch Kubernetes themselves, for example ">=1.35.0 <1.37.0".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Range string `json:"range,omitempty"`
}

// NodeIdentity is what a Node reports when it runs an image. Empty fields are not compared. IngotMachine's condition
// ImageVerified is what comes of it.
// +kubebuilder:validation:MinProperties=1
type NodeIdentity struct {
	// osImage is the exact value of Node.status.nodeInfo.osImage, which is PRETTY_NAME of the image's os-release.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	OSImage string `json:"osImage,omitempty"`

	// kernelVersion is the exact value of Node.status.nodeInfo.kernelVersion.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	KernelVersion string `json:"kernelVersion,omitempty"`

	// osRelease are fields of the image's os-release by which its version is known where osImage does not tell it, for
	// example VERSION_ID and BUILD_ID of Photon. They are compared with what the machine itself reports on each boot, so its
	// IngotConfig must ask for that: spec.node.identityReport is OSRelease. Known fields are ID, VERSION_ID, BUILD_ID,
	// VARIANT_ID, IMAGE_ID, IMAGE_VERSION and OSTREE_VERSION, and KAIROS_VERSION and KAIROS_FLAVOR, which images of Kairos have in
	// a file of their own.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=9
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['ID', 'VERSION_ID', 'BUILD_ID', 'VARIANT_ID', 'IMAGE_ID', 'IMAGE_VERSION', 'OSTREE_VERSION', 'KAIROS_VERSION', 'KAIROS_FLAVOR'])",message="osRelease has the fields ID, VERSION_ID, BUILD_ID, VARIANT_ID, IMAGE_ID, IMAGE_VERSION, OSTREE_VERSION, KAIROS_VERSION and KAIROS_FLAVOR: machines report no others"
	OSRelease map[string]OSReleaseValue `json:"osRelease,omitempty"`
}

// OSReleaseValue is a value as os-release has it, without quotes.
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~^+:-]+$`
type OSReleaseValue string

// Artefact is one file that holds an image for one platform.
// +kubebuilder:validation:XValidation:rule="self.platform != 'libvirt' || self.format in ['qcow2', 'raw']",message="format must be qcow2 or raw for platform libvirt: convert the artefact"
// +kubebuilder:validation:XValidation:rule="self.platform != 'vsphere' || self.format in ['ova', 'vmdk', 'template']",message="format must be ova, vmdk or template for platform vsphere: convert the artefact"
// +kubebuilder:validation:XValidation:rule="(self.format == 'template') == self.source.startsWith('template://')",message="source is template:// followed by the instance UUID of the template if format is template, and only then: correct one of them"
// +kubebuilder:validation:XValidation:rule="self.platform != 'vsphere' && self.format != 'template' || !has(self.compression) || self.compression == 'None'",message="compression must be None for platform vsphere and for templates: the disk in an OVA or a VMDK is compressed already, so publish the file as it is"
// +kubebuilder:validation:XValidation:rule="self.format != 'raw' || (has(self.compression) && self.compression != 'None') || !has(self.virtualSizeBytes) || self.virtualSizeBytes == self.sizeBytes",message="virtualSizeBytes must be sizeBytes when format is raw without compression: correct one of them, or remove virtualSizeBytes"
type Artefact struct {
	// platform is the platform that can boot this file.
	// +required
	Platform ArtefactPlatform `json:"platform,omitempty"`

	// format is the format of the disk after decompression.
	// +required
	Format DiskFormat `json:"format,omitempty"`

	// compression is how the file is compressed. Defaults to None.
	// +optional
	// +kubebuilder:default=None
	Compression Compression `json:"compression,omitempty"`

	// source is where the file is: https://, http://, file:// (on the host that runs the manager), or oci:// followed
	// by a repository and a digest or tag. A template in vCenter is template:// followed by its instance UUID; its extra
	// configuration must hold sha256 under the key ingot.image.sha256, which proves that it is the one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?://[^/?#]+/|file:///|oci://[^/?#]+/[^?#]+[:@])[^?#]') || self.matches('^template://[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')",message="source must be https://host/path, http://host/path, file:///path, oci://registry/repository:tag, oci://registry/repository@sha256:digest, or template:// and the instance UUID of a template in lower case"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[^/]*//[^/@]*:[^/@]*@')",message="source must not hold a password, which everybody who can read the NodeImage would see: serve the artefact without one"
	Source string `json:"source,omitempty"`

	// sha256 is the digest of the file as it is at the source, in lower-case hexadecimal. It is the identity of the
	// artefact: the same file from another source has the same digest. Of a template it is the digest of the file that the
	// template was made from.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="sha256 must be 64 hexadecimal digits in lower case, as sha256sum prints them"
	SHA256 string `json:"sha256,omitempty"`

	// sizeBytes is the size of the file as it is at the source, in bytes.
	// +required
	// +kubebuilder:validation:Minimum=1
	SizeBytes int64 `json:"sizeBytes,omitempty"`

	// virtualSizeBytes is the size of the disk that the guest sees, in bytes. Root disks cannot be smaller.
	// +optional
	// +kubebuilder:validation:Minimum=1
	VirtualSizeBytes int64 `json:"virtualSizeBytes,omitempty"`
}

// DocumentReference points to a document about an image.
// +kubebuilder:validation:MinProperties=1
type DocumentReference struct {
	// url is where the document is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9+.-]*://.')",message="url must begin with a scheme, for example https://images.example.org/sbom.spdx.json"
	URL string `json:"url,omitempty"`

	// format is the format of the document, for example spdx-json or cosign.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Format string `json:"format,omitempty"`

	// sha256 is the digest of the document in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="sha256 must be 64 hexadecimal digits in lower case, as sha256sum prints them"
	SHA256 string `json:"sha256,omitempty"`
}

// ImageLifecycle says whether machines may be started from an image.
// +kubebuilder:validation:XValidation:rule="!has(self.state) || self.state != 'Revoked' || has(self.reason)",message="a revoked image needs a reason: set spec.lifecycle.reason"
// +kubebuilder:validation:MinProperties=1
type ImageLifecycle struct {
	// state is the lifecycle state. Defaults to Supported.
	// +optional
	// +kubebuilder:default=Supported
	State LifecycleState `json:"state,omitempty"`

	// reason says why the image is in this state. It is shown on every machine that is refused.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`

	// expiresAt is when the image stops starting machines, whatever its state. Unset means never.
	// +optional
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`

	// knownCVEs are the vulnerabilities that are known in this image. The list grows after the release.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=512
	// +kubebuilder:validation:items:Pattern=`^CVE-[0-9]{4}-[0-9]{4,}$`
	// +kubebuilder:validation:items:MaxLength=32
	KnownCVEs []string `json:"knownCVEs,omitempty"`
}

// NodeImageStatus reports on a NodeImage.
type NodeImageStatus struct {
	// conditions report on the image. Known type: Usable.
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

// NodeImage is one version of one immutable image: what is in it, which Kubernetes versions it runs, and where its
// artefacts are, bound to digests. Machines reference NodeImages; a wrong combination is refused before a VM exists.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=nodeimages,scope=Cluster,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move-hierarchy="}
// +kubebuilder:printcolumn:name="OS",type="string",JSONPath=".spec.os.family",description="Operating system family"
// +kubebuilder:printcolumn:name="Version",type="string",JSONPath=".spec.os.version",description="Version of the image"
// +kubebuilder:printcolumn:name="Kubernetes",type="string",JSONPath=".spec.kubernetes.versions",description="Kubernetes versions that the image carries"
// +kubebuilder:printcolumn:name="State",type="string",JSONPath=".spec.lifecycle.state",description="Lifecycle state"
// +kubebuilder:printcolumn:name="Usable",type="string",JSONPath=".status.conditions[?(@.type==\"Usable\")].status",description="Whether machines may be started from the image"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type NodeImage struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the content of the image and its lifecycle.
	// +required
	Spec NodeImageSpec `json:"spec,omitempty,omitzero"`

	// status reports on the image.
	// +optional
	Status NodeImageStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the image.
func (i *NodeImage) GetConditions() []metav1.Condition { return i.Status.Conditions }

// SetConditions replaces the conditions of the image.
func (i *NodeImage) SetConditions(conditions []metav1.Condition) { i.Status.Conditions = conditions }

// NodeImageList is a list of NodeImages.
//
// +kubebuilder:object:root=true
type NodeImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeImage `json:"items"`
}
