// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// This file holds the portable settings: what most operating systems can do, each in its own words. A setting that the
// operating system of a config lacks is refused, never dropped.

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name is the name of the Secret. A node does not come up before the Secret is there. Once the bootstrap data is made,
	// the Secret is not read again. Give it the label clusterctl.cluster.x-k8s.io/move, so that clusterctl moves it as well.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// key is the key of the Secret that holds the value.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+$`
	Key string `json:"key,omitempty"`
}

// ValueSource says where a value comes from that must not stand in a config.
type ValueSource struct {
	// secret is the key of a Secret that holds the value.
	// +required
	Secret SecretKeyReference `json:"secret,omitempty,omitzero"`
}

// KubeletSettings are settings of the kubelet that most operating systems have. What is not set stays as kubelet and
// operating system have it.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.shutdownGracePeriodCriticalPodsSeconds) || (has(self.shutdownGracePeriodSeconds) && self.shutdownGracePeriodCriticalPodsSeconds <= self.shutdownGracePeriodSeconds)",message="shutdownGracePeriodCriticalPodsSeconds is a part of shutdownGracePeriodSeconds: set both, the second at least as large"
type KubeletSettings struct {
	// maxPods is how many Pods the node may run.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	MaxPods *int32 `json:"maxPods,omitempty"`

	// podPidsLimit is how many processes one Pod may have.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4194304
	PodPidsLimit *int64 `json:"podPidsLimit,omitempty"`

	// systemReserved is what the operating system is left with: cpu, memory, ephemeral-storage (quantities) and pid (a
	// number).
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=4
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['cpu', 'memory', 'ephemeral-storage', 'pid'])",message="what can be reserved for the system is cpu, memory, ephemeral-storage and pid"
	SystemReserved map[string]string `json:"systemReserved,omitempty"`

	// kubeReserved is what kubelet and container runtime are left with, in the same terms.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=4
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['cpu', 'memory', 'ephemeral-storage', 'pid'])",message="what can be reserved for Kubernetes is cpu, memory, ephemeral-storage and pid"
	KubeReserved map[string]string `json:"kubeReserved,omitempty"`

	// evictionHard are the thresholds below which the kubelet evicts Pods at once, as quantities or percentages, for example
	// memory.available: 200Mi. As with the kubelet itself, thresholds that are set replace all of its defaults.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=8
	// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree', 'containerfs.available', 'containerfs.inodesFree', 'pid.available'])",message="signals of the kubelet are memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, containerfs.available, containerfs.inodesFree and pid.available"
	EvictionHard map[string]string `json:"evictionHard,omitempty"`

	// shutdownGracePeriodSeconds is how long a shutdown of the node waits for its Pods.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	ShutdownGracePeriodSeconds *int32 `json:"shutdownGracePeriodSeconds,omitempty"`

	// shutdownGracePeriodCriticalPodsSeconds is the part of it that is kept for critical Pods.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	ShutdownGracePeriodCriticalPodsSeconds *int32 `json:"shutdownGracePeriodCriticalPodsSeconds,omitempty"`
}

// Registry says how the node reaches one registry of container images.
// +kubebuilder:validation:XValidation:rule="has(self.mirrors) || has(self.certificateAuthority) || has(self.credentials)",message="an entry of registries says something: set mirrors, certificateAuthority or credentials"
// +kubebuilder:validation:XValidation:rule="!has(self.skipFallback) || !self.skipFallback || has(self.mirrors)",message="skipFallback without mirrors leaves nothing to pull from: set mirrors"
// +kubebuilder:validation:XValidation:rule="!has(self.skipFallback) || !self.skipFallback || !(has(self.certificateAuthority) || has(self.credentials))",message="with skipFallback the registry itself is never asked: remove certificateAuthority and credentials, or set them on mirrors"
// +kubebuilder:validation:XValidation:rule="self.host != '*' || !(has(self.certificateAuthority) || has(self.credentials))",message="host * stands for many registries, which share no certificateAuthority and no credentials: set them on its mirrors, or name the registry"
type Registry struct {
	// host is the registry as names of images begin, with its port where it has one, for example docker.io. An asterisk
	// stands for every registry that has no entry of its own.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^(\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?)$`
	Host string `json:"host,omitempty"`

	// mirrors are asked for the registry's images, one after another, before the registry itself.
	// +optional
	// +listType=map
	// +listMapKey=url
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Mirrors []RegistryMirror `json:"mirrors,omitempty"`

	// skipFallback keeps the node from asking the registry itself when no mirror answers.
	// +optional
	SkipFallback *bool `json:"skipFallback,omitempty"`

	// certificateAuthority are PEM certificates that the node trusts for the registry itself, beside those that it trusts
	// anyway.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	CertificateAuthority string `json:"certificateAuthority,omitempty"`

	// credentials are what the node shows to the registry itself. They are for every image that the node pulls, whoever
	// runs it.
	// +optional
	Credentials RegistryCredentials `json:"credentials,omitempty,omitzero"`
}

// RegistryMirror is a mirror of a registry.
// +kubebuilder:validation:XValidation:rule="!has(self.credentials) || self.url.startsWith('https://')",message="credentials are shown only to a mirror with an https address"
// +kubebuilder:validation:XValidation:rule="!has(self.certificateAuthority) || self.url.startsWith('https://')",message="certificateAuthority is for a mirror with an https address"
// +kubebuilder:validation:XValidation:rule="!has(self.overridePath) || !self.overridePath || self.url.matches('^https?://[^/]+/.+')",message="with overridePath the path of url is the root of the registry's API: add a path, for example /v2/proxy"
type RegistryMirror struct {
	// url is the address of the mirror. /v2 is added to its path, unless overridePath says otherwise.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*(/[A-Za-z0-9._~-]+)*$`
	URL string `json:"url,omitempty"`

	// overridePath says that the path of url is the root of the registry's API as it is, for mirrors below a path.
	// +optional
	OverridePath *bool `json:"overridePath,omitempty"`

	// certificateAuthority are PEM certificates that the node trusts for the mirror, beside those that it trusts anyway.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	CertificateAuthority string `json:"certificateAuthority,omitempty"`

	// credentials are what the node shows to the mirror.
	// +optional
	Credentials RegistryCredentials `json:"credentials,omitempty,omitzero"`
}

// RegistryCredentials are what a node shows to a registry.
type RegistryCredentials struct {
	// username is the name of the user. It is not secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[^:\s]+$`
	Username string `json:"username,omitempty"`

	// passwordFrom says where the password or access token is.
	// +required
	PasswordFrom ValueSource `json:"passwordFrom,omitempty,omitzero"`
}

// NTPSettings say where a node has the time from.
type NTPSettings struct {
	// servers are names or addresses of NTP servers. They take the place of those of the image.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9.:-]*$`
	Servers []string `json:"servers,omitempty"`
}

// ProxySettings are the proxies through which a node reaches what is outside. The cluster itself is always reached
// directly: its Pods, Services and API server need not be listed.
// +kubebuilder:validation:XValidation:rule="has(self.httpProxy) || has(self.httpsProxy)",message="proxy says which proxy is used: set httpProxy or httpsProxy"
type ProxySettings struct {
	// httpProxy is the address of the proxy for http. It holds no user and no password: there is no reference for them yet.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*/?$`
	HTTPProxy string `json:"httpProxy,omitempty"`

	// httpsProxy is the address of the proxy for https, in the same form.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*/?$`
	HTTPSProxy string `json:"httpsProxy,omitempty"`

	// noProxy are hosts, domains (with a leading dot) and address ranges that are reached directly.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9.*\[][A-Za-z0-9.:/*\[\]-]*$`
	NoProxy []string `json:"noProxy,omitempty"`
}

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=16384
type AnnotationValue string

// SysctlValue is the value of a kernel parameter: one line of text.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[!-~]([ -~\t]*[!-~])?$`
type SysctlValue string

// KernelModule is a kernel module that is loaded at every boot.
type KernelModule struct {
	// name is the name of the module.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_-]*$`
	Name string `json:"name,omitempty"`

	// parameters are passed to the module, each in the form name=value. They do not reach a module that is built into the
	// kernel or was loaded before.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9_.-]*=[A-Za-z0-9_.,:/+-]+$`
	Parameters []string `json:"parameters,omitempty"`
}

// File is a file that root owns. It is written once, before the node joins.
// +kubebuilder:validation:XValidation:rule="has(self.content) != has(self.contentFrom)",message="the content of a file is given in one place: set either content or contentFrom"
type File struct {
	// path is where the file is written. Folders that are missing are made. What Ingot writes itself, units, and folders
	// that are not kept or cannot be written are refused.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._@:+~-]+)+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('/[.][.]?(/|$)')",message="path must not have the parts . and .."
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/(proc|sys|dev|run|tmp|var/run|var/tmp)(/|$)')",message="what is written to /proc, /sys, /dev, /run and temporary folders is not kept: choose another path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/(etc/ingot|etc/kubernetes|var/lib/kubelet|var/lib/etcd)(/|$)')",message="/etc/ingot, /etc/kubernetes, /var/lib/kubelet and /var/lib/etcd belong to Ingot and Kubernetes: choose another path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^/(etc|usr/lib|usr/local/lib|lib)/systemd/system(/|$)')",message="a unit is no file: list it in units"
	Path string `json:"path,omitempty"`

	// permissions are the permission bits in octal digits. Unset means 0644 for content, and 0600 for contentFrom.
	// +optional
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:Pattern=`^0[0-7]{3}$`
	Permissions string `json:"permissions,omitempty"`

	// append adds the content to what the image has at the path instead of replacing it.
	// +optional
	Append *bool `json:"append,omitempty"`

	// content is the content of the file. Everybody who may read the config can read it: never write a secret here.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Content *string `json:"content,omitempty"`

	// contentFrom says where the content is.
	// +optional
	ContentFrom ValueSource `json:"contentFrom,omitempty,omitzero"`
}

// Unit is a systemd unit.
// +kubebuilder:validation:XValidation:rule="has(self.contents) || has(self.dropins) || (has(self.enabled) && self.enabled)",message="an entry of units says something: set contents, dropins or enabled"
// +kubebuilder:validation:XValidation:rule="!(has(self.contents) && has(self.enabled) && self.enabled) || self.contents.contains('[Install]')",message="a unit that is enabled needs a section [Install]"
type Unit struct {
	// name is the file name of the unit. Instances of a template (name@instance.service) are not known.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9:_.-]*\.(service|socket|timer|path|target|mount|automount|swap|slice)$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('ingot-')",message="units whose names begin with ingot- are Ingot's: choose another name"
	Name string `json:"name,omitempty"`

	// contents is the unit file. Unset keeps the image's own. Everybody may read it on the node: it must not hold secrets.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Contents string `json:"contents,omitempty"`

	// enabled starts the unit on this boot and on every other. A unit that the image does not have and that is not started
	// by another one needs it.
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// dropins extend the unit.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Dropins []UnitDropin `json:"dropins,omitempty"`
}

// UnitDropin extends a systemd unit.
type UnitDropin struct {
	// name is the file name of the drop-in.
	// +required
	// +kubebuilder:validation:MinLength=6
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9:_.-]*\.conf$`
	// +kubebuilder:validation:XValidation:rule="!self.contains('ingot')",message="drop-ins with ingot in their names are Ingot's: choose another name"
	Name string `json:"name,omitempty"`

	// contents is the drop-in.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Contents string `json:"contents,omitempty"`
}

// DiskEncryption says how the system disk is encrypted. Nobody is asked for anything when the machine starts, so no secret
// stands in it.
type DiskEncryption struct {
	// key is what opens the disk at every boot. TPM2 is a key that the machine makes itself and that only its own TPM 2.0
	// gives back; on libvirt and vSphere the machine has one with trustedBoot.virtualTPM. NodeID is computed from the
	// machine's UUID: it keeps what is on a disk from whoever has nothing but the disk.
	// +required
	Key DiskKey `json:"key,omitempty"`
}

// DiskKey is what opens an encrypted disk.
// +kubebuilder:validation:Enum=TPM2;NodeID
type DiskKey string

const (
	// DiskKeyTPM2 is a key that the TPM of the machine keeps.
	DiskKeyTPM2 DiskKey = "TPM2"
	// DiskKeyNodeID is a key that is computed from the UUID of the machine.
	DiskKeyNodeID DiskKey = "NodeID"
)
