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
	// PlatformEndpointInvalidReason says that the endpoint cannot be used as it is written; the message names the field.
	PlatformEndpointInvalidReason = "Invalid"
)
