// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImageReplicaFinalizer keeps an ImageReplica until its copy is gone from the endpoint's storage.
const ImageReplicaFinalizer = "ingot.dev/imagereplica"

// ImageReplicaSpec says which artefact is to be stored where. It is written by Ingot and immutable.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an ImageReplica is immutable: it is made and collected by Ingot"
type ImageReplicaSpec struct {
	// nodeImageName is the NodeImage that the artefact belongs to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeImageName string `json:"nodeImageName,omitempty"`

	// endpointName is the PlatformEndpoint whose storage holds the copy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	EndpointName string `json:"endpointName,omitempty"`

	// storage is the name of the storage on the endpoint: a libvirt storage pool, or DATACENTER/DATASTORE of
	// vSphere.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Storage string `json:"storage,omitempty"`

	// folder is the folder of vSphere that the artefact is imported to, as spec.vsphere.images of the PlatformEndpoint said when
	// the replica was made. Unset means the datacenter's own. While the session does not see it, the copy is not said to be gone.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Folder string `json:"folder,omitempty"`

	// artefact is the file to copy, taken from the NodeImage when the replica was made.
	// +required
	Artefact Artefact `json:"artefact,omitempty,omitzero"`
}

// ImageReplicaStatus reports on the copy. Everything in it can be read again from the endpoint.
type ImageReplicaStatus struct {
	// conditions report on the replica. Known types: Ready, Unused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// percent is how much of the artefact has been copied and verified, 0 to 100.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// storedBytes is how much room the copy takes on the storage, as the platform tells it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	StoredBytes int64 `json:"storedBytes,omitempty"`

	// externalID is the platform's own reference to the copy: a libvirt volume key, or the reference
	// of a template in vCenter.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ExternalID string `json:"externalID,omitempty"`

	// observedGeneration is the generation that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ImageReplica is the copy of one artefact on the storage of one endpoint. Ingot makes it when the first machine needs
// it; machines clone their root disks from it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=imagereplicas,scope=Cluster,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io="}
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.nodeImageName",description="NodeImage"
// +kubebuilder:printcolumn:name="Endpoint",type="string",JSONPath=".spec.endpointName",description="PlatformEndpoint"
// +kubebuilder:printcolumn:name="Storage",type="string",JSONPath=".spec.storage",description="Storage on the endpoint"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether the copy is complete and verified"
// +kubebuilder:printcolumn:name="Percent",type="integer",JSONPath=".status.percent",description="Progress of the copy"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type ImageReplica struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which artefact is stored where.
	// +required
	Spec ImageReplicaSpec `json:"spec,omitempty,omitzero"`

	// status reports on the copy.
	// +optional
	Status ImageReplicaStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the replica.
func (r *ImageReplica) GetConditions() []metav1.Condition { return r.Status.Conditions }

// SetConditions replaces the conditions of the replica.
func (r *ImageReplica) SetConditions(conditions []metav1.Condition) { r.Status.Conditions = conditions }

// ImageReplicaList is a list of ImageReplicas.
//
// +kubebuilder:object:root=true
type ImageReplicaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageReplica `json:"items"`
}
