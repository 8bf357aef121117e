// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

// IngotControlPlaneInitializedAnnotation is the durable mark that the API server of a control plane has answered once.
// From then on no first Machine is made again, because it would replace a lost cluster by an empty one. The mark is an
// annotation because status does not survive a move to another management cluster. Its value is the time of the first
// answer (RFC 3339).
const IngotControlPlaneInitializedAnnotation = "ingot.dev/control-plane-initialized"

// EtcdFoundingAnnotation says which Machine was told to make etcd, and when (JSON), where a first Machine has to be told. It is an
// annotation because no other may be told after a move to another management cluster.
const EtcdFoundingAnnotation = "ingot.dev/etcd-founding"

// EtcdBackupAnnotation says for which rollout etcd was last backed up, and which snapshot that is (JSON). It is an
// annotation because a rollout must not be backed up a second time after a move to another management cluster.
const EtcdBackupAnnotation = "ingot.dev/etcd-backup"

// RemediationsAnnotation lists the unhealthy Machines that were replaced and whose replacements are not made yet (JSON).
const RemediationsAnnotation = "ingot.dev/remediations"

// RemediationForAnnotation is on a Machine that was made in the place of an unhealthy one, and says of which (JSON).
const RemediationForAnnotation = "ingot.dev/remediation-for"

// RestoredFromAnnotation is on a control plane whose etcd was restored, and on the Machine and the IngotConfig that begin with a
// snapshot. Its value is the name of the snapshot. It is an annotation because nothing may be restored a second time after a
// move to another management cluster.
const RestoredFromAnnotation = "ingot.dev/restored-from"

// PreTerminateHookAnnotation is on every Machine of a control plane and keeps what runs it until etcd works without its
// member.
const PreTerminateHookAnnotation = clusterv1.PreTerminateDeleteHookAnnotationPrefix + "/ingot-control-plane"

// Conditions of IngotControlPlane. Available, RollingOut, ScalingUp, ScalingDown and Deleting are read by Cluster API.
const (
	// AvailableCondition is True while the control plane serves its API.
	AvailableCondition = "Available"
	// InitializedCondition is True once the API server has answered. It never goes back.
	InitializedCondition = "Initialized"
	// CertificatesAvailableCondition is True while the cluster certificates exist.
	CertificatesAvailableCondition = "CertificatesAvailable"
	// MachinesReadyCondition aggregates the Ready conditions of the Machines.
	MachinesReadyCondition = "MachinesReady"
	// MachinesUpToDateCondition aggregates the UpToDate conditions of the Machines.
	MachinesUpToDateCondition = "MachinesUpToDate"
	// RollingOutCondition is True while Machines are not as declared.
	RollingOutCondition = "RollingOut"
	// ScalingUpCondition is True while there are fewer Machines than wanted. Its reason says what holds the next one.
	ScalingUpCondition = "ScalingUp"
	// ScalingDownCondition is True while there are more Machines than wanted.
	ScalingDownCondition = "ScalingDown"
	// EtcdHealthyCondition is True while every member of etcd is healthy, and Unknown while nobody can tell.
	EtcdHealthyCondition = "EtcdHealthy"
	// ComponentsHealthyCondition is True while the Pods of the API server, the controller manager, the scheduler and etcd
	// are ready on every Machine, and Unknown while nobody can tell.
	ComponentsHealthyCondition = "ComponentsHealthy"
	// BackupAvailableCondition is True while there is a snapshot of etcd that was restored to try it.
	BackupAvailableCondition = "BackupAvailable"
	// RemediatingCondition is True while an unhealthy Machine is being replaced, or should be; its message says what holds it.
	RemediatingCondition = "Remediating"
	// DeletingCondition is True while the control plane is being deleted; its reason says what is waited for.
	DeletingCondition = "Deleting"
)

// Conditions that a control plane sets on its Machines. They are called as those of Cluster API's own control plane are, so that
// what shows those shows ours.
const (
	// MachineAPIServerPodHealthyCondition is True while the Pod of the API server on the Machine is ready.
	MachineAPIServerPodHealthyCondition = "APIServerPodHealthy"
	// MachineControllerManagerPodHealthyCondition is True while the Pod of the controller manager is ready.
	MachineControllerManagerPodHealthyCondition = "ControllerManagerPodHealthy"
	// MachineSchedulerPodHealthyCondition is True while the Pod of the scheduler is ready.
	MachineSchedulerPodHealthyCondition = "SchedulerPodHealthy"
	// MachineEtcdPodHealthyCondition is True while the Pod of etcd is ready.
	MachineEtcdPodHealthyCondition = "EtcdPodHealthy"
	// MachineEtcdMemberHealthyCondition is True while the Machine's member of etcd answers and keeps up.
	MachineEtcdMemberHealthyCondition = "EtcdMemberHealthy"
	// PodRunningReason says that a Pod is ready.
	PodRunningReason = "Running"
	// PodNotReadyReason says that a Pod is there and not ready.
	PodNotReadyReason = "NotReady"
	// PodDoesNotExistReason says that there is no Pod.
	PodDoesNotExistReason = "DoesNotExist"
	// EtcdNoMemberReason says that etcd has no member on the Machine.
	EtcdNoMemberReason = "NoMember"
)

// Reasons of IngotControlPlane's conditions.
const (
	// AvailableReason says that the API server answers and a Machine is available.
	AvailableReason = "Available"
	// NotAvailableReason says what is missing in its message.
	NotAvailableReason = "NotAvailable"
	// InitializedReason says that the API server has answered.
	InitializedReason = "Initialized"
	// NotInitializedReason says that the API server has not answered yet.
	NotInitializedReason = "NotInitialized"
	// WaitingForClusterInfrastructureReason says that the Cluster's infrastructure is not there yet.
	WaitingForClusterInfrastructureReason = "WaitingForClusterInfrastructure"
	// WaitingForControlPlaneEndpointReason says that the Cluster has no control plane endpoint yet.
	WaitingForControlPlaneEndpointReason = "WaitingForControlPlaneEndpoint"
	// CertificatesAvailableReason says that the certificates are there.
	CertificatesAvailableReason = "Available"
	// CertificatesMissingReason says that certificates of an initialized control plane are gone. They are never made
	// again, because a new authority would shut every node out: restore the Secrets.
	CertificatesMissingReason = "CertificatesMissing"
	// CertificatesInvalidReason says that a certificate Secret cannot be used; the message names it.
	CertificatesInvalidReason = "CertificatesInvalid"
	// RollingOutReason says that Machines are not as declared and are being replaced.
	RollingOutReason = "RollingOut"
	// NotRollingOutReason says that every Machine is as declared.
	NotRollingOutReason = "NotRollingOut"
	// ScalingUpReason says that Machines are being made.
	ScalingUpReason = "ScalingUp"
	// NotScalingUpReason says that there are as many Machines as wanted.
	NotScalingUpReason = "NotScalingUp"
	// ScalingDownReason says that there are more Machines than wanted.
	ScalingDownReason = "ScalingDown"
	// NotScalingDownReason says that there are not more Machines than wanted.
	NotScalingDownReason = "NotScalingDown"
	// WaitingForWorkersReason says that a deleted control plane waits until the workers are gone.
	WaitingForWorkersReason = "WaitingForWorkersDeletion"
	// WaitingForMachinesReason says that a deleted control plane waits until its Machines are gone.
	WaitingForMachinesReason = "WaitingForMachineDeletion"
	// NotDeletingReason says that the control plane is not being deleted.
	NotDeletingReason = "NotDeleting"
	// ControlPlaneLostReason says that the last Machine of an initialized control plane is gone or going, and the data
	// of etcd with it. Another first Machine would make another, empty cluster under the same name: it is not made.
	ControlPlaneLostReason = "ControlPlaneLost"
	// ForeignMachinesReason says that the Cluster has control plane Machines which this control plane does not own.
	ForeignMachinesReason = "ForeignMachines"
	// TemplateMissingReason says that the infrastructure machine template does not exist.
	TemplateMissingReason = "InfrastructureTemplateMissing"
	// EtcdHealthyReason says that all members are healthy.
	EtcdHealthyReason = "Healthy"
	// EtcdNotAskedReason says that there is no etcd to ask.
	EtcdNotAskedReason = "NotAsked"
	// EtcdUnseenReason says that the members of etcd could not be listed, and that nothing is risked without.
	EtcdUnseenReason = "EtcdUnseen"
	// EtcdQuorumReason says that etcd cannot spare a member that is to go.
	EtcdQuorumReason = "EtcdQuorumAtRisk"
	// EtcdQuorumLostReason says that too few members of etcd are healthy for anything to be changed.
	EtcdQuorumLostReason = "EtcdQuorumLost"
	// EtcdMemberUnhealthyReason says that a member without a vote does not keep up.
	EtcdMemberUnhealthyReason = "EtcdMemberUnhealthy"
	// LastMemberReason says that a Machine is kept because it holds the only copy of the data of etcd.
	LastMemberReason = "LastEtcdMember"
	// JoiningReason says that a Machine is on its way to join.
	JoiningReason = "MachineJoining"
	// MachineUnhealthyReason says that nothing is changed beside a Machine that is unhealthy.
	MachineUnhealthyReason = "MachineUnhealthy"
	// RemediationDeferredReason says that an unhealthy Machine is replaced later, and what it waits for.
	RemediationDeferredReason = "RemediationDeferred"
	// RemediationExhaustedReason says that as many Machines were replaced as the spec allows, and that none has helped.
	RemediationExhaustedReason = "RemediationExhausted"
	// KubeletMismatchReason says that an image carries another kubelet than declared, and that it is not used further.
	KubeletMismatchReason = "KubeletMismatch"
	// BackingUpReason says that a rollout waits until etcd is backed up.
	BackingUpReason = "BackingUpEtcd"
	// VersionSkewReason says that no Machine is made because its version would be more than one minor version from another's.
	VersionSkewReason = "VersionSkew"
	// TopologyVersionReason says that nothing is changed because the Cluster's topology is about to set another version.
	TopologyVersionReason = "TopologyVersionPending"
	// BackupAvailableReason says that there is a snapshot of etcd.
	BackupAvailableReason = "Available"
	// NoBackupReason says that no snapshot of etcd was taken yet.
	NoBackupReason = "NoneTaken"
	// BackupNotWantedReason says that spec.backup.policy is Never.
	BackupNotWantedReason = "NotWanted"
	// NotRemediatingReason says that no Machine is unhealthy.
	NotRemediatingReason = "NotRemediating"
	// RemediatingReason says that an unhealthy Machine is being replaced.
	RemediatingReason = "Remediating"
	// ComponentsHealthyReason says that every component is ready.
	ComponentsHealthyReason = "Healthy"
	// ComponentsUnhealthyReason says which components are not ready.
	ComponentsUnhealthyReason = "NotHealthy"
	// ComponentsUnseenReason says that the components could not be seen.
	ComponentsUnseenReason = "Unseen"
	// RestoreHeldReason says that etcd is to be restored while Machines are there that hold data.
	RestoreHeldReason = "RestoreHeld"
	// RestoringReason says that a snapshot is being made ready for the first Machine.
	RestoringReason = "Restoring"
	// RestoreFailedReason says why a snapshot could not be made ready.
	RestoreFailedReason = "RestoreFailed"
	// BackupFailedReason says that a rollout does not begin because etcd could not be backed up.
	BackupFailedReason = "BackupFailed"
)
