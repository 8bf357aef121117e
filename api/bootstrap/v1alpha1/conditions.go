// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions of IngotConfig.
const (
	// ReadyCondition summarises the others: True once Cluster API can take the bootstrap data.
	ReadyCondition = "Ready"
	// CertificatesAvailableCondition is True once the cluster certificates that the role needs exist.
	CertificatesAvailableCondition = "CertificatesAvailable"
	// DataSecretAvailableCondition is True once the Secret with the bootstrap data exists.
	DataSecretAvailableCondition = "DataSecretAvailable"
)

// Reasons of IngotConfig's conditions.
const (
	// ReadyReason says that Cluster API can take the bootstrap data.
	ReadyReason = "Ready"
	// DeletingReason says that the Cluster or the Machine is on its way out, so that no data is made any more.
	DeletingReason = "Deleting"

	// CertificatesAvailableReason says that the certificates are there.
	CertificatesAvailableReason = "Available"
	// WaitingForCertificatesReason says that the control plane provider has not made the certificates yet.
	WaitingForCertificatesReason = "WaitingForCertificates"

	// DataSecretAvailableReason says that the data is there.
	DataSecretAvailableReason = "Available"
	// WaitingForClusterInfrastructureReason says that the Cluster's infrastructure is not there yet.
	WaitingForClusterInfrastructureReason = "WaitingForClusterInfrastructure"
	// WaitingForControlPlaneEndpointReason says that the Cluster has no control plane endpoint yet.
	WaitingForControlPlaneEndpointReason = "WaitingForControlPlaneEndpoint"
	// WaitingForControlPlaneReason says that a joining node waits until the control plane is initialized.
	WaitingForControlPlaneReason = "WaitingForControlPlaneInitialized"
	// WaitingForProviderIDReason says that the infrastructure provider has not chosen the machine's identity yet.
	WaitingForProviderIDReason = "WaitingForProviderID"
	// WaitingForImageReason says that the image is not known yet whose release decides what is written.
	WaitingForImageReason = "WaitingForImage"
	// WaitingForRestoreReason says that the Secret that restoreFrom names does not exist yet or cannot be read; the message
	// names it and says what to do.
	WaitingForRestoreReason = "WaitingForRestore"
	// WaitingForSecretReason says that a Secret or a key of it that the config refers to does not exist yet; the message names
	// both, and the field that refers to them.
	WaitingForSecretReason = "WaitingForSecret"
	// WorkloadClusterUnreachableReason says that no join token can be made because the workload cluster does not answer.
	WorkloadClusterUnreachableReason = "WorkloadClusterUnreachable"
	// DeclarationFailedReason says that an object of the workload cluster, from which the machine reads what it runs, cannot
	// be brought up to date.
	DeclarationFailedReason = "DeclarationFailed"
	// DataSecretForeignReason says that a Secret with the name of the config exists and belongs to somebody else.
	DataSecretForeignReason = "DataSecretForeign"
	// RenderFailedReason says that the config cannot be rendered; the message names the field.
	RenderFailedReason = "RenderFailed"
)
