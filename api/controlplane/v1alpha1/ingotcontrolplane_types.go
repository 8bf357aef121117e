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
type IngotControlPlaneSpec struct {
	// replicas is the number of control plane Machines. This version runs exactly one. Defaults to 1.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="self == 1",message="this version runs control planes with exactly one replica"
	Replicas *int32 `json:"replicas,omitempty"`

	// version is the Kubernetes version, with a leading v.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^v[0-9]+\.[0-9]+\.[0-9]+([-+].*)?$`
	Version string `json:"version,omitempty"`

	// machineTemplate describes the Machines.
	// +required
	MachineTemplate IngotControlPlaneMachineTemplate `json:"machineTemplate,omitempty,omitzero"`

	// config is the bootstrap configuration of the Machines.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.role)",message="role belongs to one machine: remove it"
	Config bootstrapv1.IngotConfigSpec `json:"config,omitempty,omitzero"`
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

	// readinessGates are further conditions that a Machine must have to be Ready.
	// +optional
	// +listType=map
	// +listMapKey=conditionType
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
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

	// conditions report on the control plane. Known types: Available, Initialized, CertificatesAvailable,
	// MachinesReady, MachinesUpToDate, EtcdHealthy, RollingOut, ScalingUp, ScalingDown, Deleting, Paused.
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
	// machineTemplate describes the Machines.
	// +optional
	MachineTemplate IngotControlPlaneTemplateMachineTemplate `json:"machineTemplate,omitempty,omitzero"`

	// config is the bootstrap configuration of the Machines.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.role)",message="role belongs to one machine: remove it"
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
