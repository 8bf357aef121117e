// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
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

// PlatformEndpointSpec says where one platform is and who may use it. Exactly one platform is set.
// +kubebuilder:validation:XValidation:rule="has(self.libvirt)",message="exactly one platform must be set; this version knows libvirt"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.managementClusterID) || (has(self.managementClusterID) && self.managementClusterID == oldSelf.managementClusterID)",message="spec.managementClusterID proves what is ours on this endpoint and cannot change once set"
type PlatformEndpointSpec struct {
	// libvirt is a host that runs libvirtd.
	// +optional
	Libvirt LibvirtEndpoint `json:"libvirt,omitempty,omitzero"`

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
	// uri is the libvirt connection URI. This version connects through qemu+unix: to the system instance, for example
	// qemu+unix:///system or qemu+unix:///system?socket=/run/libvirt/libvirt-sock.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.startsWith('qemu+unix:///') || self.startsWith('qemu:///')",message="only qemu+unix:/// and qemu:/// are supported by this version"
	URI string `json:"uri,omitempty"`

	// acceleration says how guests run. Defaults to KVM. There is no fallback: a host without KVM refuses machines
	// until this is set to Emulated.
	// +optional
	// +kubebuilder:default=KVM
	Acceleration Acceleration `json:"acceleration,omitempty"`
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
	Names []string `json:"names,omitempty"`

	// selector selects namespaces by their labels. A namespace may use the endpoint when it is named or selected.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// PlatformEndpointStatus reports on the connection.
type PlatformEndpointStatus struct {
	// conditions report on the endpoint. Known type: Ready.
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

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// PlatformEndpoint is one place where instances can live: a libvirt host now; a vCenter later.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=platformendpoints,scope=Cluster,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","clusterctl.cluster.x-k8s.io/move-hierarchy="}
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether the endpoint answers"
// +kubebuilder:printcolumn:name="Version",type="string",JSONPath=".status.version",description="Version of the platform"
// +kubebuilder:printcolumn:name="URI",type="string",JSONPath=".spec.libvirt.uri",description="Address of the endpoint"
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
