// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions and reasons of NodeImage.
const (
	// NodeImageUsableCondition is True while machines may be started from the image.
	NodeImageUsableCondition = "Usable"
	// NodeImageUsableReason says that the image may start machines.
	NodeImageUsableReason = "Usable"
	// NodeImageDeprecatedReason says that the image still starts machines but should be left.
	NodeImageDeprecatedReason = "Deprecated"
	// NodeImageRevokedReason says that the image starts no machine any more.
	NodeImageRevokedReason = "Revoked"
	// NodeImageExpiredReason says that the image's expiry has passed.
	NodeImageExpiredReason = "Expired"
	// NodeImageInvalidReason says that the image cannot be used as it is written; the message names the field.
	NodeImageInvalidReason = "Invalid"
)

// Conditions and reasons of ImageReplica.
const (
	// ImageReplicaReadyCondition is True once the copy is complete and its digest is verified.
	ImageReplicaReadyCondition = "Ready"
	// ImageReplicaReadyReason says that the copy is complete and verified.
	ImageReplicaReadyReason = "Verified"
	// ImageReplicaCopyingReason says that the artefact is being copied.
	ImageReplicaCopyingReason = "Copying"
	// ImageReplicaDigestMismatchReason says that the source holds other bytes than declared. Nothing of it was kept.
	ImageReplicaDigestMismatchReason = "DigestMismatch"
	// ImageReplicaSourceFailedReason says that the source could not be read.
	ImageReplicaSourceFailedReason = "SourceFailed"
	// ImageReplicaEndpointUnavailableReason says that the endpoint does not answer.
	ImageReplicaEndpointUnavailableReason = "EndpointUnavailable"
	// ImageReplicaRefusedReason says that the endpoint cannot store the artefact; the message says why.
	ImageReplicaRefusedReason = "Refused"
	// ImageReplicaUnusedCondition is True while no machine needs the copy; it is collected after a time.
	ImageReplicaUnusedCondition = "Unused"
	// ImageReplicaNotNeededReason says that no machine needs the copy.
	ImageReplicaNotNeededReason = "NotNeeded"
	// ImageReplicaNeededReason says that machines need the copy.
	ImageReplicaNeededReason = "Needed"
	// ImageReplicaInUseReason says that the copy cannot be deleted because disks of machines depend on it.
	ImageReplicaInUseReason = "InUse"
)

// Conditions and reasons of PlatformEndpoint.
const (
	// PlatformEndpointReadyCondition is True while the endpoint answers.
	PlatformEndpointReadyCondition = "Ready"
	// PlatformEndpointReadyReason says that the endpoint answers.
	PlatformEndpointReadyReason = "Connected"
	// PlatformEndpointUnreachableReason says that the endpoint does not answer. Nothing is concluded about its machines.
	PlatformEndpointUnreachableReason = "Unreachable"
	// PlatformEndpointCircuitOpenReason says that the endpoint left so many calls in a row unanswered that nothing but whether
	// it answers is asked any more. Nothing is concluded about its machines.
	PlatformEndpointCircuitOpenReason = "CircuitOpen"
	// PlatformEndpointInvalidReason says that the endpoint cannot be used as it is written; the message names the field.
	PlatformEndpointInvalidReason = "Invalid"
	// PlatformEndpointCredentialsReason says that the Secret of spec.credentialsRef cannot be used; the message names what is
	// missing. A session that is open goes on with the credentials that it has.
	PlatformEndpointCredentialsReason = "CredentialsUnusable"
	// PlatformEndpointInUseReason says that a deleted endpoint waits until no machine and no replica is left on it.
	PlatformEndpointInUseReason = "InUse"

	// PlatformEndpointPrivilegesCondition is True while the account of the endpoint has every privilege that all machines need at
	// the places that IngotMachines and IngotMachineTemplates name. Only platforms whose accounts have privileges have it.
	PlatformEndpointPrivilegesCondition = "PrivilegesGranted"
	// PlatformEndpointPrivilegesReason says that nothing is missing.
	PlatformEndpointPrivilegesReason = "Granted"
	// PlatformEndpointPrivilegesPartReason says that what is missing is needed by machines with certain fields alone; the message
	// names privileges and fields.
	PlatformEndpointPrivilegesPartReason = "GrantedInPart"
	// PlatformEndpointPrivilegesMissingReason says that privileges are missing that all machines need; the message names them and
	// what they are missing on.
	PlatformEndpointPrivilegesMissingReason = "PrivilegesMissing"
	// PlatformEndpointPrivilegesUnknownReason says that it could not be told, or not of everything, what is granted.
	PlatformEndpointPrivilegesUnknownReason = "NotTold"

	// PlatformEndpointNoOrphansCondition is False while the endpoint holds objects with our owner token that belong to no
	// IngotMachine. It is Unknown while that cannot be told.
	PlatformEndpointNoOrphansCondition = "NoOrphans"
	// PlatformEndpointNoOrphansReason says that everything with our owner token belongs to an IngotMachine.
	PlatformEndpointNoOrphansReason = "NoneFound"
	// PlatformEndpointOrphansFoundReason says that there are orphans; status.orphans lists them.
	PlatformEndpointOrphansFoundReason = "OrphansFound"
	// PlatformEndpointOrphansUnknownReason says that it could not be told whether there are orphans.
	PlatformEndpointOrphansUnknownReason = "NotTold"
)
