// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// The states of a machine: what it waits for, or what is wrong with it. A machine is in exactly one.
const (
	StatePending             = "Pending"
	StateWaitingForRoom      = "WaitingForRoom"
	StateReplicating         = "Replicating"
	StateWaitingForAddresses = "WaitingForAddresses"
	StateWaitingForBootstrap = "WaitingForBootstrap"
	StateQueued              = "Queued"
	StateCreating            = "Creating"
	StateBooting             = "Booting"
	StateJoining             = "Joining"
	StateReady               = "Ready"
	StateRefused             = "Refused"
	StateForeign             = "Foreign"
	StateStopped             = "Stopped"
	StateGone                = "Gone"
	StateUnknown             = "Unknown"
	StateDeleting            = "Deleting"
)

// MachineStates are all states of a machine, in the order of a machine's life.
func MachineStates() []string {
	return []string{
		StatePending, StateWaitingForRoom, StateReplicating, StateWaitingForAddresses, StateWaitingForBootstrap, StateQueued,
		StateCreating, StateBooting, StateJoining, StateReady, StateRefused, StateForeign, StateStopped, StateGone,
		StateUnknown, StateDeleting,
	}
}

// MachineState is the state of a machine. The Ready condition has the reason of what the machine waits for.
func MachineState(m *infrav1.IngotMachine) string {
	if !m.DeletionTimestamp.IsZero() {
		return StateDeleting
	}
	ready := conditions.Get(m, infrav1.ReadyCondition)
	switch {
	case ready == nil:
		return StatePending
	case ready.Status == metav1.ConditionTrue:
		return StateReady
	default:
		return stateByReason(ready.Reason)
	}
}

// stateByReason is the state of a machine that is not ready for a reason. A reason of a condition that is True says that
// a step is done: the machine is at the next one. A reason that this version does not know is no finding.
func stateByReason(reason string) string {
	switch reason {
	case infrav1.ImagePinnedReason:
		return StatePending
	case infrav1.EndpointFullReason:
		return StateWaitingForRoom
	case infrav1.PlacedReason, infrav1.ImageReplicatingReason, infrav1.ImageReplicaFailedReason:
		return StateReplicating
	case infrav1.WaitingForAddressesReason:
		return StateWaitingForAddresses
	case infrav1.ImageReplicaReadyReason, infrav1.AddressesClaimedReason, infrav1.WaitingForClusterInfrastructureReason,
		infrav1.WaitingForBootstrapDataReason:
		return StateWaitingForBootstrap
	case infrav1.InstanceQueuedReason:
		return StateQueued
	case infrav1.BootstrapDataAvailableReason, infrav1.InstanceCreatingReason:
		return StateCreating
	case infrav1.InstanceWaitingForAddressReason, infrav1.InstancePowerCyclingReason:
		return StateBooting
	case infrav1.InstanceRunningReason, infrav1.WaitingForNodeReason, infrav1.NodeUnknownReason, infrav1.BootTimedOutReason,
		infrav1.ScrubbingReason, infrav1.SeparatingReason:
		return StateJoining
	case infrav1.NodeFoundReason, infrav1.KeptApartReason:
		return StateReady
	case infrav1.ImageNotFoundReason, infrav1.ImageRevokedReason, infrav1.ImageExpiredReason, infrav1.ImageIncompatibleReason,
		infrav1.NoEndpointReason, infrav1.NoStorageReason, infrav1.EndpointNotAllowedReason, infrav1.AddressInvalidReason,
		infrav1.AddressClaimForeignReason, infrav1.AddressClaimDeletedReason, infrav1.BootstrapFormatMismatchReason,
		infrav1.InstanceRefusedReason, infrav1.NotSeparableReason:
		return StateRefused
	case infrav1.InstanceForeignReason:
		return StateForeign
	case infrav1.InstanceStoppedReason:
		return StateStopped
	case infrav1.InstanceGoneReason:
		return StateGone
	case infrav1.ShuttingDownReason, infrav1.ReleasingReason, infrav1.ProvingAbsenceReason:
		return StateDeleting
	default: // infrav1.EndpointUnavailableReason and infrav1.EndpointNotFoundReason among them
		return StateUnknown
	}
}

// finished is whether a machine is where it was to go: its Node has joined.
func finished(m *infrav1.IngotMachine) bool {
	return conditions.IsTrue(m, infrav1.NodeJoinedCondition)
}

// The states of what a Node runs: the level at which it was told that it is what was declared, or that it is not.
const (
	StateParsed   = "Parsed"
	StateReported = "Reported"
	StateMismatch = "Mismatch"
)

// ImageStates are all states of what a Node runs.
func ImageStates() []string {
	return []string{StateParsed, StateReported, StateMismatch, StateUnknown}
}

// ImageState is how what a machine's Node runs compares with what was declared. It is false before there is a Node, and of
// machines that are being deleted.
func ImageState(m *infrav1.IngotMachine) (state string, judged bool) {
	verified := conditions.Get(m, infrav1.ImageVerifiedCondition)
	switch {
	case verified == nil || !m.DeletionTimestamp.IsZero():
		return "", false
	case verified.Status == metav1.ConditionFalse:
		return StateMismatch, true
	case verified.Status == metav1.ConditionTrue && verified.Reason == infrav1.ImageReportedReason:
		return StateReported, true
	case verified.Status == metav1.ConditionTrue:
		return StateParsed, true
	default:
		return StateUnknown, true
	}
}

// The states of an image replica that machines have no word for.
const (
	StateCopying = "Copying"
	StateFailed  = "Failed"
)

// ReplicaStates are all states of an image replica.
func ReplicaStates() []string {
	return []string{StatePending, StateCopying, StateReady, StateFailed, StateUnknown, StateDeleting}
}

// ReplicaState is the state of an image replica.
func ReplicaState(r *ingotv1.ImageReplica) string {
	if !r.DeletionTimestamp.IsZero() {
		return StateDeleting
	}
	ready := conditions.Get(r, ingotv1.ImageReplicaReadyCondition)
	switch {
	case ready == nil:
		return StatePending
	case ready.Status == metav1.ConditionTrue:
		return StateReady
	}
	switch ready.Reason {
	case ingotv1.ImageReplicaCopyingReason:
		return StateCopying
	case ingotv1.ImageReplicaDigestMismatchReason, ingotv1.ImageReplicaSourceFailedReason, ingotv1.ImageReplicaRefusedReason:
		return StateFailed
	default: // ingotv1.ImageReplicaEndpointUnavailableReason among them
		return StateUnknown
	}
}
