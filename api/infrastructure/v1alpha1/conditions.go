// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ReadyCondition summarises the conditions of an IngotCluster or an IngotMachine.
const ReadyCondition = "Ready"

// Reasons of IngotCluster's Ready condition.
const (
	// ClusterProvisionedReason says that the endpoint is known.
	ClusterProvisionedReason = "Provisioned"
	// ClusterFailureDomainUnknownReason means that spec.failureDomains names one that no PlatformEndpoint has.
	ClusterFailureDomainUnknownReason = "FailureDomainUnknown"
	// ClusterWaitingForEndpointReason says that neither the IngotCluster nor the Cluster names a control plane endpoint.
	ClusterWaitingForEndpointReason = "WaitingForControlPlaneEndpoint"
	// ClusterWaitingForMachinesReason says that a deleted IngotCluster waits until its machines are gone.
	ClusterWaitingForMachinesReason = "WaitingForMachines"
)

// Conditions of IngotMachine, in the order in which they become True.
const (
	// ImageResolvedCondition is True once spec.pinnedImage is written.
	ImageResolvedCondition = "ImageResolved"
	// PlacedCondition is True once spec.placement is written.
	PlacedCondition = "Placed"
	// ImageReplicatedCondition is True once the pinned image is stored and verified on the machine's endpoint.
	ImageReplicatedCondition = "ImageReplicated"
	// AddressesClaimedCondition is True once every address that the machine gets from a pool is allocated. Machines without
	// such addresses do not have it.
	AddressesClaimedCondition = "AddressesClaimed"
	// BootstrapAvailableCondition is True once bootstrap data exists in a format that the image accepts.
	BootstrapAvailableCondition = "BootstrapAvailable"
	// InstanceReadyCondition is True while the instance runs and has an address.
	InstanceReadyCondition = "InstanceReady"
	// NodeJoinedCondition is True once the Node with the machine's provider ID exists in the workload cluster and no
	// bootstrap secret is left with the instance.
	NodeJoinedCondition = "NodeJoined"
	// KeptApartCondition is True once the platform keeps the instance and those of the Cluster's other control plane machines on
	// different hosts. Only machines that ask for it have it, and Ready depends on it only where it is required.
	KeptApartCondition = "KeptApart"
	// ImageVerifiedCondition is True while the Node is what the pinned NodeImage and the Machine declare, False while it is
	// not, and Unknown where that cannot be told. It is judged again whenever the Node changes, and Ready does not depend on
	// it: what follows from a mismatch is for MachineImageVerifiedCondition.
	ImageVerifiedCondition = "ImageVerified"
	// DeletingCondition is True while the machine is being deleted; its reason says what is waited for.
	DeletingCondition = "Deleting"
)

// MachineImageVerifiedCondition is ImageVerifiedCondition as a condition of the Machine, where MachineHealthChecks and
// readiness gates see it. A Machine has it once its image was found to be another one, or where its readiness gates name it.
const MachineImageVerifiedCondition = "ingot.dev/ImageVerified"

// Reasons of IngotMachine's conditions.
const (
	// ImagePinnedReason says that the image is resolved.
	ImagePinnedReason = "Pinned"
	// ImageNotFoundReason says that no NodeImage matches spec.image.
	ImageNotFoundReason = "ImageNotFound"
	// ImageRevokedReason says that the image is revoked.
	ImageRevokedReason = "ImageRevoked"
	// ImageExpiredReason says that the image's expiry has passed.
	ImageExpiredReason = "ImageExpired"
	// ImageIncompatibleReason says that the image does not fit the machine: Kubernetes version, firmware, platform or
	// bootstrap format. The message says which.
	ImageIncompatibleReason = "ImageIncompatible"

	// PlacedReason says that the endpoint is chosen.
	PlacedReason = "Placed"
	// NoEndpointReason says that no PlatformEndpoint fits the machine; the message says what each of them lacks.
	NoEndpointReason = "NoEndpoint"
	// EndpointFullReason says that the endpoints that fit have no room; the machine waits for it.
	EndpointFullReason = "EndpointFull"
	// NoStorageReason says that no datastore can be chosen by the storage policy; the message says what each of them lacks. It is
	// looked for again every half minute.
	NoStorageReason = "NoStorage"

	// AddressesClaimedReason says that all addresses are allocated.
	AddressesClaimedReason = "Claimed"
	// WaitingForAddressesReason says that address pools have not given an address yet; the message says which.
	WaitingForAddressesReason = "WaitingForAddresses"
	// AddressInvalidReason says that a pool gave something that is no usable address.
	AddressInvalidReason = "AddressInvalid"
	// AddressClaimForeignReason says that an IPAddressClaim that is not the machine's stands where its own should be.
	AddressClaimForeignReason = "ForeignClaim"
	// AddressClaimDeletedReason says that somebody deleted an IPAddressClaim of the machine.
	AddressClaimDeletedReason = "ClaimDeleted"

	// ImageReplicaReadyReason says that the image is stored and verified on the endpoint.
	ImageReplicaReadyReason = "Replicated"
	// ImageReplicatingReason says that the image is being copied; the message says how far.
	ImageReplicatingReason = "Replicating"
	// ImageReplicaFailedReason says that the image cannot be copied; the message says why.
	ImageReplicaFailedReason = "ReplicaFailed"

	// BootstrapDataAvailableReason says that bootstrap data is there.
	BootstrapDataAvailableReason = "Available"
	// WaitingForClusterInfrastructureReason says that the Cluster's infrastructure is not there yet.
	WaitingForClusterInfrastructureReason = "WaitingForClusterInfrastructure"
	// WaitingForBootstrapDataReason says that the bootstrap provider has not published data yet.
	WaitingForBootstrapDataReason = "WaitingForBootstrapData"
	// BootstrapFormatMismatchReason says that the image does not accept the format of the bootstrap data.
	BootstrapFormatMismatchReason = "FormatMismatch"

	// InstanceRunningReason says that the instance runs.
	InstanceRunningReason = "Running"
	// InstanceCreatingReason says that the instance is being made.
	InstanceCreatingReason = "Creating"
	// InstanceQueuedReason says that the endpoint makes as many instances at once as spec.budget allows; the machine waits
	// for its turn.
	InstanceQueuedReason = "WaitingForTurn"
	// InstanceWaitingForAddressReason says that the instance runs and has no address yet.
	InstanceWaitingForAddressReason = "WaitingForAddress"
	// InstanceStoppedReason says that the instance was made and does not run any more.
	InstanceStoppedReason = "Stopped"
	// InstancePowerCyclingReason says that the Node did not join in time, and the instance is switched off and on again.
	InstancePowerCyclingReason = "PowerCycling"
	// InstanceGoneReason says that the instance was made and is not there any more.
	InstanceGoneReason = "Gone"
	// InstanceRefusedReason says that the platform cannot make the instance as declared; the message says why.
	InstanceRefusedReason = "Refused"
	// InstanceForeignReason says that something that is not ours stands where the instance should be.
	InstanceForeignReason = "ForeignInstance"
	// EndpointUnavailableReason says that the endpoint does not answer. The last known state is kept.
	EndpointUnavailableReason = "EndpointUnavailable"
	// EndpointCircuitOpenReason says that the endpoint left so many calls in a row unanswered that it is not asked about
	// machines until it answers again. The last known state is kept.
	EndpointCircuitOpenReason = "EndpointCircuitOpen"
	// EndpointNotFoundReason says that the PlatformEndpoint does not exist.
	EndpointNotFoundReason = "EndpointNotFound"
	// EndpointNotAllowedReason says that the machine's namespace may not use the endpoint.
	EndpointNotAllowedReason = "EndpointNotAllowed"

	// NodeFoundReason says that the Node is there.
	NodeFoundReason = "Joined"
	// WaitingForNodeReason says that the Node has not joined yet.
	WaitingForNodeReason = "WaitingForNode"
	// BootTimedOutReason says that the Node did not join in time, and not after the instance was switched off and on either.
	BootTimedOutReason = "BootTimedOut"
	// NodeUnknownReason says that the workload cluster cannot be asked at the moment.
	NodeUnknownReason = "WorkloadClusterUnreachable"
	// ScrubbingReason says that the Node joined and bootstrap secrets are being removed from the platform.
	ScrubbingReason = "ScrubbingBootstrapData"

	// KeptApartReason says that the platform keeps the instance apart.
	KeptApartReason = "KeptApart"
	// SeparatingReason says that the platform does not keep the instance apart yet.
	SeparatingReason = "Separating"
	// NotSeparableReason says that the machine or the platform cannot do what spec.platform.vsphere.antiAffinity asks for; the
	// message says why.
	NotSeparableReason = "NotSeparable"

	// ImageParsedReason says that what the kubelet reports is what was declared.
	ImageParsedReason = "Parsed"
	// ImageReportedReason says that what the kubelet reports, and what the machine itself reports of its root, is what was
	// declared.
	ImageReportedReason = "Reported"
	// OSMismatchReason says that the Node runs another operating system than declared; the message has both.
	OSMismatchReason = "OSMismatch"
	// OSVersionMismatchReason says that the Node runs another version of the operating system than declared; the message has
	// both.
	OSVersionMismatchReason = "OSVersionMismatch"
	// KernelMismatchReason says that the Node runs another kernel than declared; the message has both.
	KernelMismatchReason = "KernelMismatch"
	// KubeletMismatchReason says that the Node runs another kubelet than declared; the message has both.
	KubeletMismatchReason = "KubeletMismatch"
	// ImageVersionNotToldReason says that nothing that the Node reports tells the version of its image; the message says
	// what would.
	ImageVersionNotToldReason = "VersionNotTold"
	// IdentityNotReportedReason says that the machine has not reported on this boot what its root is; the message says what
	// makes it.
	IdentityNotReportedReason = "IdentityNotReported"
	// ImageDeclarationGoneReason says that the pinned NodeImage does not exist any more, so that nobody knows what was declared.
	ImageDeclarationGoneReason = "DeclarationGone"

	// ShuttingDownReason says that the guest was asked to shut down and has time for it.
	ShuttingDownReason = "ShuttingDown"
	// ReleasingReason says that the instance is being removed.
	ReleasingReason = "Releasing"
	// ProvingAbsenceReason says that the instance was absent once and is looked for a second time.
	ProvingAbsenceReason = "ProvingAbsence"
)
