// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// IngotControlPlaneFinalizer keeps an IngotControlPlane until its Machines are gone.
const IngotControlPlaneFinalizer = "controlplane.cluster.x-k8s.io/ingotcontrolplane"

// IngotControlPlaneSpec describes a control plane.
// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom) || !has(self.config.cloudInit)",message="restoreFrom needs an image that runs Ignition, because cloud-init compares no digest of what it fetches: remove it, or set config.ignition"
// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom) || !has(self.config.kairos)",message="restoreFrom needs an image that runs Ignition, because Kairos compares no digest of what it fetches: remove it, or set config.ignition"
type IngotControlPlaneSpec struct {
	IngotControlPlanePolicies `json:",inline"`

	// replicas is the number of control plane Machines, each with a member of etcd: 1, 3 or 5. Defaults to 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self in [1, 3, 5]",message="use 1, 3 or 5: an even number of etcd members survives no more losses than one fewer, and more than 5 make every write slower"
	Replicas *int32 `json:"replicas,omitempty"`

	// version is the Kubernetes version, with a leading v. It is of the same minor version as the Machines, or of the next one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^v[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,6}([-+].*)?$`
	Version string `json:"version,omitempty"`

	// machineTemplate describes the Machines.
	// +required
	MachineTemplate IngotControlPlaneMachineTemplate `json:"machineTemplate,omitempty,omitzero"`

	// config is the bootstrap configuration of the Machines.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.role)",message="role belongs to one machine: remove it"
	// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom)",message="restoreFrom belongs to one machine: remove it"
	// +kubebuilder:validation:XValidation:rule="has(self.talos) == has(oldSelf.talos)",message="a control plane of Talos and one of kubeadm are never one and the same, not even for a while: make another Cluster"
	// +kubebuilder:validation:XValidation:rule="!has(self.bottlerocket)",message="upstream supports no control plane on Bottlerocket: give the control plane another operating system, for example Talos or Flatcar, and Bottlerocket to workers"
	// +kubebuilder:validation:XValidation:rule="!has(self.kairos) || self.kairos.distribution == 'kubeadm'",message="Ingot drives no control plane of k3s or k0s: use an image that carries kubeadm, with kairos.distribution: kubeadm, or let another provider run the control plane"
	Config bootstrapv1.IngotConfigSpec `json:"config,omitempty,omitzero"`

	// restoreFrom names a snapshot of etcd that the control plane begins with instead of an empty etcd. On a control plane
	// that runs already nothing is restored until all of its Machines are being deleted: what they hold is given up then,
	// and the next first Machine begins with the snapshot. Each snapshot is restored once; the field may stay. The manager
	// must run with --restore-url, unless the Machines run Talos.
	// +optional
	RestoreFrom RestoreSource `json:"restoreFrom,omitempty,omitzero"`
}

// RestoreSource names a snapshot.
type RestoreSource struct {
	// snapshot is the name of a snapshot in the storage of spec.backup, as status.lastBackup and "ingotctl etcd snapshots" show
	// it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:XValidation:rule="!self.contains('..')",message="a name has no .. in it"
	Snapshot string `json:"snapshot,omitempty"`
}

// IngotControlPlanePolicies say how the Machines of a control plane are replaced. A ClusterClass may decide them.
type IngotControlPlanePolicies struct {
	// machineNaming says how Machines are called.
	// +optional
	MachineNaming MachineNamingSpec `json:"machineNaming,omitempty,omitzero"`

	// rollout says when and how Machines are replaced that are not as declared.
	// +optional
	Rollout RolloutSpec `json:"rollout,omitempty,omitzero"`

	// remediation limits how often unhealthy Machines are replaced.
	// +optional
	Remediation RemediationSpec `json:"remediation,omitempty,omitzero"`

	// backup says where snapshots of etcd are kept. One is taken, and restored to try it, before a rollout replaces the
	// first Machine. This version takes none yet, and holds rollouts with reason BackupFailed.
	// +optional
	Backup BackupSpec `json:"backup,omitempty,omitzero"`
}

// MachineNamingSpec says how Machines are called.
type MachineNamingSpec struct {
	// template is the name of a Machine. {{ .cluster.name }}, {{ .ingotControlPlane.name }} and {{ .random }} are replaced;
	// the last one is required. Names longer than 63 characters are cut before a random part. A change is used for new
	// Machines only. Defaults to "{{ .ingotControlPlane.name }}-{{ .random }}".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^([a-z0-9-]|\{\{ ?\.(cluster\.name|ingotControlPlane\.name|random) ?\}\})+$`
	// +kubebuilder:validation:XValidation:rule="self.matches('\\\\{\\\\{ ?\\\\.random ?\\\\}\\\\}')",message="template needs {{ .random }}: each Machine has a name of its own"
	Template string `json:"template,omitempty"`
}

// RolloutSpec says when and how Machines are replaced that are not as declared.
// +kubebuilder:validation:MinProperties=1
type RolloutSpec struct {
	// after is a time: once it has passed, every Machine that is older is replaced.
	// +optional
	After metav1.Time `json:"after,omitempty,omitzero"`

	// before says how long before something ends Machines are replaced.
	// +optional
	Before RolloutBeforeSpec `json:"before,omitempty,omitzero"`

	// strategy says how a Machine is replaced.
	// +optional
	Strategy RolloutStrategy `json:"strategy,omitempty,omitzero"`
}

// RolloutBeforeSpec says how long before something ends Machines are replaced.
// +kubebuilder:validation:MinProperties=1
type RolloutBeforeSpec struct {
	// certificatesExpiryDays is how many days before its certificates end a Machine is replaced.
	// +optional
	// +kubebuilder:validation:Minimum=7
	// +kubebuilder:validation:Maximum=3650
	CertificatesExpiryDays int32 `json:"certificatesExpiryDays,omitempty"`
}

// RolloutStrategyType names how a Machine is replaced.
// +kubebuilder:validation:Enum=RollingUpdate
type RolloutStrategyType string

// RollingUpdateStrategyType replaces one Machine after the other.
const RollingUpdateStrategyType RolloutStrategyType = "RollingUpdate"

// RolloutStrategy says how a Machine is replaced.
type RolloutStrategy struct {
	// type is RollingUpdate: one Machine after the other.
	// +required
	Type RolloutStrategyType `json:"type,omitempty"`

	// rollingUpdate are the parameters of that type.
	// +optional
	RollingUpdate RollingUpdateSpec `json:"rollingUpdate,omitempty,omitzero"`
}

// RollingUpdateSpec are the parameters of a rolling update.
// +kubebuilder:validation:MinProperties=1
type RollingUpdateSpec struct {
	// maxSurge is how many more Machines than replicas there may be: with 1 another Machine joins before an outdated one
	// goes; with 0 the outdated one goes first, where there is no host to spare. Fewer than 3 replicas are always
	// replaced as with 1. Defaults to 1.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	MaxSurge *int32 `json:"maxSurge,omitempty"`
}

// RemediationSpec limits how often unhealthy Machines are replaced.
// +kubebuilder:validation:MinProperties=1
type RemediationSpec struct {
	// maxRetry is how many replacements in a row may turn out to be unhealthy and be replaced, too. Unset means without
	// limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxRetry *int32 `json:"maxRetry,omitempty"`

	// retryPeriodSeconds is how long to wait, in seconds, before a replacement that is unhealthy is replaced. Defaults to 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RetryPeriodSeconds *int32 `json:"retryPeriodSeconds,omitempty"`

	// minHealthyPeriodSeconds is how long, in seconds, a replacement must have lasted to count as a success, so that
	// replacing it starts a new row. Defaults to 3600.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MinHealthyPeriodSeconds *int32 `json:"minHealthyPeriodSeconds,omitempty"`
}

// BackupPolicy says when etcd is backed up.
// +kubebuilder:validation:Enum=BeforeRollout;Never
type BackupPolicy string

const (
	// BackupBeforeRollout takes a snapshot before a rollout replaces the first Machine, and holds the rollout where that
	// fails.
	BackupBeforeRollout BackupPolicy = "BeforeRollout"
	// BackupNever replaces Machines without.
	BackupNever BackupPolicy = "Never"
)

// BackupSpec says where snapshots of etcd are kept.
// +kubebuilder:validation:MinProperties=1
type BackupSpec struct {
	// policy is BeforeRollout, or Never for those who back etcd up by other means. Defaults to BeforeRollout.
	// +optional
	Policy BackupPolicy `json:"policy,omitempty"`

	// storage is where snapshots go. Defaults to the manager's own directory.
	// +optional
	Storage BackupStorage `json:"storage,omitempty,omitzero"`

	// keep is how many snapshots are kept; older ones are removed when another one was taken. Defaults to 5.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Keep *int32 `json:"keep,omitempty"`
}

// BackupStorage is a bucket.
type BackupStorage struct {
	// url names a bucket and a path in it: s3://bucket/path?region=eu-central-1 (endpoint= for S3-compatible storage),
	// gs://bucket/path, or azblob://container/path.
	// +required
	// +kubebuilder:validation:MinLength=6
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(s3|gs|azblob)://[^/?# ]+(/[^?# ]*)?(\?[^# ]*)?$`
	URL string `json:"url,omitempty"`

	// credentialsRef names a Secret in the namespace of the control plane. Its keys are accessKeyID, secretAccessKey and
	// sessionToken for s3, serviceAccountJSON for gs, accountName with accountKey or sasToken for azblob. Without it the
	// manager uses the identity that it runs under, where its operator allows that.
	// +optional
	CredentialsRef SecretReference `json:"credentialsRef,omitempty,omitzero"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// IngotControlPlaneMachineTemplate describes the Machines of a control plane.
type IngotControlPlaneMachineTemplate struct {
	// metadata is put on the Machines, IngotMachines and IngotConfigs. A change is copied to existing ones.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec describes the Machines.
	// +required
	Spec IngotControlPlaneMachineTemplateSpec `json:"spec,omitempty,omitzero"`
}

// IngotControlPlaneMachineTemplateSpec describes the Machines of a control plane.
type IngotControlPlaneMachineTemplateSpec struct {
	// infrastructureRef is the template of the infrastructure machines.
	// +required
	InfrastructureRef clusterv1.ContractVersionedObjectReference `json:"infrastructureRef,omitempty,omitzero"`

	// readinessGates are further conditions that a Machine must have to be Ready, besides those of the components that the
	// control plane reports.
	// +optional
	// +listType=map
	// +listMapKey=conditionType
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=27
	ReadinessGates []clusterv1.MachineReadinessGate `json:"readinessGates,omitempty"`

	// taints are taints that Cluster API puts on the Nodes.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Taints []clusterv1.MachineTaint `json:"taints,omitempty"`

	// deletion says how long deleting a Machine may take.
	// +optional
	Deletion MachineDeletionSpec `json:"deletion,omitempty,omitzero"`
}

// MachineDeletionSpec says how long the steps of deleting a Machine may take.
// +kubebuilder:validation:MinProperties=1
type MachineDeletionSpec struct {
	// nodeDrainTimeoutSeconds is how long draining may take, in seconds. 0 or unset means without limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NodeDrainTimeoutSeconds *int32 `json:"nodeDrainTimeoutSeconds,omitempty"`

	// nodeVolumeDetachTimeoutSeconds is how long detaching volumes may take, in seconds. 0 or unset means without limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NodeVolumeDetachTimeoutSeconds *int32 `json:"nodeVolumeDetachTimeoutSeconds,omitempty"`

	// nodeDeletionTimeoutSeconds is how long deleting the Node object is tried, in seconds. Unset means 10, 0 means
	// without limit.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NodeDeletionTimeoutSeconds *int32 `json:"nodeDeletionTimeoutSeconds,omitempty"`
}

// IngotControlPlaneInitializationStatus tells Cluster API that the API server answers.
// +kubebuilder:validation:MinProperties=1
type IngotControlPlaneInitializationStatus struct {
	// controlPlaneInitialized is true once the API server answers. It never goes back to false.
	// +optional
	ControlPlaneInitialized *bool `json:"controlPlaneInitialized,omitempty"`
}

// IngotControlPlaneStatus reports on an IngotControlPlane.
type IngotControlPlaneStatus struct {
	// initialization tells Cluster API that the API server answers.
	// +optional
	Initialization IngotControlPlaneInitializationStatus `json:"initialization,omitempty,omitzero"`

	// selector is the label selector of the Machines, for the scale subresource.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Selector string `json:"selector,omitempty"`

	// replicas is the number of Machines.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`

	// readyReplicas is the number of Machines whose Ready condition is True.
	// +optional
	ReadyReplicas *int32 `json:"readyReplicas,omitempty"`

	// availableReplicas is the number of Machines whose Available condition is True.
	// +optional
	AvailableReplicas *int32 `json:"availableReplicas,omitempty"`

	// upToDateReplicas is the number of Machines whose UpToDate condition is True.
	// +optional
	UpToDateReplicas *int32 `json:"upToDateReplicas,omitempty"`

	// versions are the Kubernetes versions of the Machines, lowest first.
	// +optional
	// +listType=map
	// +listMapKey=version
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	Versions []clusterv1.StatusVersion `json:"versions,omitempty"`

	// version is the lowest Kubernetes version of the Machines, for versions of Cluster API that do not read versions.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Version string `json:"version,omitempty"`

	// lastBackup is the last snapshot of etcd that was taken before a rollout.
	// +optional
	LastBackup EtcdBackup `json:"lastBackup,omitempty,omitzero"`

	// conditions report on the control plane. Known types: Available, Initialized, CertificatesAvailable, MachinesReady,
	// MachinesUpToDate, ComponentsHealthy, EtcdHealthy, BackupAvailable, RollingOut, ScalingUp, ScalingDown, Remediating,
	// Deleting, Paused.
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

// EtcdBackup is a snapshot of etcd that was restored to try it.
type EtcdBackup struct {
	// name is what the snapshot is called in its storage.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name,omitempty"`

	// time is when it was taken.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// revision is the revision of etcd that it holds.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision,omitempty"`

	// sizeBytes is the size of the snapshot, in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	SizeBytes int64 `json:"sizeBytes,omitempty"`

	// sha256 is the digest of the snapshot, in hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	SHA256 string `json:"sha256,omitempty"`
}

// IngotControlPlane is the control plane of one Cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotcontrolplanes,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster"
// +kubebuilder:printcolumn:name="Available",type="string",JSONPath=".status.conditions[?(@.type==\"Available\")].status",description="Whether the control plane works"
// +kubebuilder:printcolumn:name="Desired",type="integer",JSONPath=".spec.replicas",description="Wanted Machines"
// +kubebuilder:printcolumn:name="Current",type="integer",JSONPath=".status.replicas",description="Existing Machines"
// +kubebuilder:printcolumn:name="Ready",type="integer",JSONPath=".status.readyReplicas",description="Ready Machines"
// +kubebuilder:printcolumn:name="Up-to-date",type="integer",JSONPath=".status.upToDateReplicas",description="Machines that are as declared"
// +kubebuilder:printcolumn:name="Initialized",type="boolean",JSONPath=".status.initialization.controlPlaneInitialized",description="Whether the API server has answered"
// +kubebuilder:printcolumn:name="Version",type="string",JSONPath=".spec.version",description="Kubernetes version"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
// +kubebuilder:validation:XValidation:rule="self.spec.version == oldSelf.spec.version || !has(oldSelf.status) || !has(oldSelf.status.versions) || oldSelf.status.versions.all(v, !v.version.matches('^v[0-9]{1,4}[.][0-9]{1,4}[.]') || (int(self.spec.version.split('.')[1]) >= int(v.version.split('.')[1]) && int(self.spec.version.split('.')[1]) <= int(v.version.split('.')[1]) + 1))",message="spec.version must be of the same minor version as every Machine, or of the next one: Kubernetes skips none and goes back to none"
type IngotControlPlane struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the control plane.
	// +required
	Spec IngotControlPlaneSpec `json:"spec,omitempty,omitzero"`

	// status reports on the control plane.
	// +optional
	Status IngotControlPlaneStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the control plane.
func (c *IngotControlPlane) GetConditions() []metav1.Condition { return c.Status.Conditions }

// SetConditions replaces the conditions of the control plane.
func (c *IngotControlPlane) SetConditions(conditions []metav1.Condition) {
	c.Status.Conditions = conditions
}

// IngotControlPlaneList is a list of IngotControlPlanes.
//
// +kubebuilder:object:root=true
type IngotControlPlaneList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotControlPlane `json:"items"`
}

// IngotControlPlaneTemplateSpec holds the template of an IngotControlPlane.
type IngotControlPlaneTemplateSpec struct {
	// template is the IngotControlPlane to create.
	// +required
	Template IngotControlPlaneTemplateResource `json:"template,omitempty,omitzero"`
}

// IngotControlPlaneTemplateResource is the template of an IngotControlPlane.
type IngotControlPlaneTemplateResource struct {
	// metadata is put on the IngotControlPlane.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the part of the spec that a ClusterClass decides. The topology controller adds replicas, version and
	// infrastructureRef.
	// +required
	Spec IngotControlPlaneTemplateResourceSpec `json:"spec,omitempty,omitzero"`
}

// IngotControlPlaneTemplateResourceSpec is the part of an IngotControlPlane's spec that a ClusterClass decides.
type IngotControlPlaneTemplateResourceSpec struct {
	IngotControlPlanePolicies `json:",inline"`

	// machineTemplate describes the Machines.
	// +optional
	MachineTemplate IngotControlPlaneTemplateMachineTemplate `json:"machineTemplate,omitempty,omitzero"`

	// config is the bootstrap configuration of the Machines.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.role)",message="role belongs to one machine: remove it"
	// +kubebuilder:validation:XValidation:rule="!has(self.restoreFrom)",message="restoreFrom belongs to one machine: remove it"
	// +kubebuilder:validation:XValidation:rule="!has(self.bottlerocket)",message="upstream supports no control plane on Bottlerocket: give the control plane another operating system, for example Talos or Flatcar, and Bottlerocket to workers"
	// +kubebuilder:validation:XValidation:rule="!has(self.kairos) || self.kairos.distribution == 'kubeadm'",message="Ingot drives no control plane of k3s or k0s: use an image that carries kubeadm, with kairos.distribution: kubeadm, or let another provider run the control plane"
	Config bootstrapv1.IngotConfigSpec `json:"config,omitempty,omitzero"`
}

// IngotControlPlaneTemplateMachineTemplate describes the Machines in a ClusterClass.
// +kubebuilder:validation:MinProperties=1
type IngotControlPlaneTemplateMachineTemplate struct {
	// metadata is put on the Machines, IngotMachines and IngotConfigs.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec describes the Machines.
	// +optional
	Spec IngotControlPlaneTemplateMachineTemplateSpec `json:"spec,omitempty,omitzero"`
}

// IngotControlPlaneTemplateMachineTemplateSpec describes the Machines in a ClusterClass.
// +kubebuilder:validation:MinProperties=1
type IngotControlPlaneTemplateMachineTemplateSpec struct {
	// deletion says how long deleting a Machine may take.
	// +optional
	Deletion MachineDeletionSpec `json:"deletion,omitempty,omitzero"`
}

// IngotControlPlaneTemplate is a template of IngotControlPlanes for ClusterClasses.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotcontrolplanetemplates,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotControlPlaneTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec holds the template.
	// +required
	Spec IngotControlPlaneTemplateSpec `json:"spec,omitempty,omitzero"`
}

// IngotControlPlaneTemplateList is a list of IngotControlPlaneTemplates.
//
// +kubebuilder:object:root=true
type IngotControlPlaneTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotControlPlaneTemplate `json:"items"`
}
