// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
)

// IngotClusterFinalizer keeps an IngotCluster until nothing of the cluster is left on a platform.
const IngotClusterFinalizer = "infrastructure.cluster.x-k8s.io/ingotcluster"

// IngotClusterSpec describes what the machines of a cluster share.
type IngotClusterSpec struct {
	// controlPlaneEndpoint is the address of the workload cluster's API server: an external load balancer, or a
	// virtual address that control plane nodes hold themselves (see IngotConfig spec.controlPlaneVIP).
	// When it is unset, Cluster.spec.controlPlaneEndpoint must be set.
	// +optional
	ControlPlaneEndpoint APIEndpoint `json:"controlPlaneEndpoint,omitempty,omitzero"`

	// failureDomains are the places that machines can be spread over.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	FailureDomains []clusterv1.FailureDomain `json:"failureDomains,omitempty"`
}

// APIEndpoint is the address of an API server.
// +kubebuilder:validation:MinProperties=1
type APIEndpoint struct {
	// host is a host name or an IP address.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Host string `json:"host,omitempty"`

	// port is the TCP port.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// IngotClusterInitializationStatus tells Cluster API that the shared infrastructure is there.
// +kubebuilder:validation:MinProperties=1
type IngotClusterInitializationStatus struct {
	// provisioned is true once the endpoint is known. It never goes back to false.
	// +optional
	Provisioned *bool `json:"provisioned,omitempty"`
}

// IngotClusterStatus reports on an IngotCluster.
type IngotClusterStatus struct {
	// initialization tells Cluster API that the shared infrastructure is there.
	// +optional
	Initialization IngotClusterInitializationStatus `json:"initialization,omitempty,omitzero"`

	// failureDomains are the places that machines can be spread over, as Cluster API reads them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	FailureDomains []clusterv1.FailureDomain `json:"failureDomains,omitempty"`

	// conditions report on the cluster. Known types: Ready, Paused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IngotCluster is the infrastructure that the machines of one Cluster share.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotclusters,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:subresource:status
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Cluster",type="string",JSONPath=".metadata.labels['cluster\\.x-k8s\\.io/cluster-name']",description="Cluster"
// +kubebuilder:printcolumn:name="Endpoint",type="string",JSONPath=".spec.controlPlaneEndpoint.host",description="Address of the API server"
// +kubebuilder:printcolumn:name="Provisioned",type="string",JSONPath=".status.initialization.provisioned",description="Whether the shared infrastructure is there"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status",description="Whether everything is in order"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotCluster struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes what the machines share.
	// +optional
	Spec IngotClusterSpec `json:"spec,omitempty,omitzero"`

	// status reports on the cluster.
	// +optional
	Status IngotClusterStatus `json:"status,omitempty,omitzero"`
}

// GetConditions returns the conditions of the cluster.
func (c *IngotCluster) GetConditions() []metav1.Condition { return c.Status.Conditions }

// SetConditions replaces the conditions of the cluster.
func (c *IngotCluster) SetConditions(conditions []metav1.Condition) { c.Status.Conditions = conditions }

// IngotClusterList is a list of IngotClusters.
//
// +kubebuilder:object:root=true
type IngotClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotCluster `json:"items"`
}

// IngotClusterTemplateSpec holds the template of an IngotCluster.
type IngotClusterTemplateSpec struct {
	// template is the IngotCluster to create.
	// +required
	Template IngotClusterTemplateResource `json:"template,omitempty,omitzero"`
}

// IngotClusterTemplateResource is the template of an IngotCluster.
type IngotClusterTemplateResource struct {
	// metadata is put on the IngotCluster.
	// +optional
	ObjectMeta clusterv1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the spec of the IngotCluster.
	// +optional
	Spec IngotClusterSpec `json:"spec,omitempty,omitzero"`
}

// IngotClusterTemplate is a template of IngotClusters for ClusterClasses.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ingotclustertemplates,scope=Namespaced,categories=cluster-api;ingot
// +kubebuilder:metadata:labels={"clusterctl.cluster.x-k8s.io=","cluster.x-k8s.io/v1beta2=v1alpha1"}
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
type IngotClusterTemplate struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec holds the template.
	// +required
	Spec IngotClusterTemplateSpec `json:"spec,omitempty,omitzero"`
}

// IngotClusterTemplateList is a list of IngotClusterTemplates.
//
// +kubebuilder:object:root=true
type IngotClusterTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IngotClusterTemplate `json:"items"`
}
