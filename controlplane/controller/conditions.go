// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// ownedConditions are the conditions that nobody else writes.
func ownedConditions() []string {
	return []string{
		controlplanev1.AvailableCondition, controlplanev1.InitializedCondition, controlplanev1.CertificatesAvailableCondition,
		controlplanev1.MachinesReadyCondition, controlplanev1.MachinesUpToDateCondition, controlplanev1.RollingOutCondition,
		controlplanev1.ScalingUpCondition, controlplanev1.ScalingDownCondition, controlplanev1.DeletingCondition,
		controlplanev1.EtcdHealthyCondition, controlplanev1.ComponentsHealthyCondition, controlplanev1.BackupAvailableCondition,
		controlplanev1.RemediatingCondition,
		clusterv1.PausedCondition,
	}
}

// setConditions writes every condition in every pass. applyErr is why a step failed, or nil.
func (s *snapshot) setConditions(applyErr error) {
	for _, condition := range []metav1.Condition{
		s.initialized(), s.certificatesAvailable(), s.rollingOut(), s.scalingUp(applyErr), s.scalingDown(), s.deleting(), s.available(),
		s.componentsHealthy(), s.etcdHealthy(), s.backupAvailable(), s.remediating(),
		s.aggregate(clusterv1.MachineReadyCondition, controlplanev1.MachinesReadyCondition,
			conditions.GetDefaultComputeMergeReasonFunc(clusterv1.NotReadyReason, clusterv1.ReadyUnknownReason, clusterv1.ReadyReason)),
		s.aggregate(clusterv1.MachineUpToDateCondition, controlplanev1.MachinesUpToDateCondition,
			conditions.GetDefaultComputeMergeReasonFunc(clusterv1.NotUpToDateReason, clusterv1.UpToDateUnknownReason, clusterv1.UpToDateReason)),
	} {
		conditions.Set(s.cp, condition)
	}
}

func isTrue(condition, reason, message string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func isFalse(condition, reason, message string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func isUnknown(condition, reason, message string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}

func (s *snapshot) initialized() metav1.Condition {
	if s.world.Initialized {
		return isTrue(controlplanev1.InitializedCondition, controlplanev1.InitializedReason, "")
	}
	if held := s.held(controlplanev1.WaitingForClusterInfrastructureReason, controlplanev1.WaitingForControlPlaneEndpointReason); held != nil {
		return isFalse(controlplanev1.InitializedCondition, held.Reason, held.Message)
	}
	return isFalse(controlplanev1.InitializedCondition, controlplanev1.NotInitializedReason, s.allHeld("the API server has not answered yet"))
}

func (s *snapshot) certificatesAvailable() metav1.Condition {
	const condition = controlplanev1.CertificatesAvailableCondition
	facts := s.world.Certificates
	if len(facts.Missing)+len(facts.Invalid) == 0 {
		return isTrue(condition, controlplanev1.CertificatesAvailableReason, "")
	}
	if held := s.held(controlplanev1.CertificatesInvalidReason, controlplanev1.CertificatesMissingReason, controlplanev1.WaitingForClusterInfrastructureReason); held != nil {
		return isFalse(condition, held.Reason, held.Message)
	}
	if len(facts.Invalid) > 0 {
		return isFalse(condition, controlplanev1.CertificatesInvalidReason, strings.Join(facts.Invalid, "; "))
	}
	return isFalse(condition, controlplanev1.CertificatesMissingReason, "Secrets do not exist: "+strings.Join(facts.Missing, ", "))
}

// rollingOut says whether Machines are to be replaced, and always what is held: no other condition says so of every hold.
func (s *snapshot) rollingOut() metav1.Condition {
	var outdated []string
	for _, m := range s.world.Machines {
		if differences := plan.Differences(s.world.Desired, m); len(differences) > 0 {
			outdated = append(outdated, fmt.Sprintf("Machine %s is not as declared (%s)", m.Name, strings.Join(differences, "; ")))
		}
	}
	if held := s.held(controlplanev1.KubeletMismatchReason, controlplanev1.RestoreHeldReason); held != nil {
		return isTrue(controlplanev1.RollingOutCondition, held.Reason, s.allHeld(""))
	}
	if len(outdated) == 0 {
		return isFalse(controlplanev1.RollingOutCondition, controlplanev1.NotRollingOutReason, s.allHeld(""))
	}
	message := strings.Join(outdated, "; ")
	if len(s.plan.Held) > 0 {
		return isTrue(controlplanev1.RollingOutCondition, s.plan.Held[0].Reason, message+"; "+s.allHeld(""))
	}
	return isTrue(controlplanev1.RollingOutCondition, controlplanev1.RollingOutReason, message)
}

// remediating says whether an unhealthy Machine is being replaced, or should be, and what holds that.
func (s *snapshot) remediating() metav1.Condition {
	const condition = controlplanev1.RemediatingCondition
	var unhealthy []string
	for _, m := range s.world.Machines {
		if m.RemediationWanted {
			unhealthy = append(unhealthy, m.Name)
		}
	}
	for _, record := range s.pendingRemediations() {
		if !slices.Contains(unhealthy, record.Machine) {
			unhealthy = append(unhealthy, record.Machine)
		}
	}
	if len(unhealthy) == 0 {
		return isFalse(condition, controlplanev1.NotRemediatingReason, "")
	}
	if held := s.held(remediationHolds()...); held != nil {
		return isTrue(condition, held.Reason, held.Message)
	}
	return isTrue(condition, controlplanev1.RemediatingReason, "unhealthy Machines are replaced: "+enumerate(unhealthy))
}

// wanted is the number of Machines that there should be.
func (s *snapshot) wanted() int {
	if s.world.Deleting {
		return 0
	}
	return int(s.world.Desired.Replicas)
}

func (s *snapshot) scalingUp(applyErr error) metav1.Condition {
	have, wanted := len(s.machines), s.wanted()
	if have >= wanted {
		return isFalse(controlplanev1.ScalingUpCondition, controlplanev1.NotScalingUpReason, "")
	}
	message := fmt.Sprintf("there are %d of %d Machines", have, wanted)
	switch {
	case refused(applyErr):
		return isTrue(controlplanev1.ScalingUpCondition, clusterv1.InternalErrorReason, message+": "+applyErr.Error())
	case len(s.plan.Held) > 0:
		return isTrue(controlplanev1.ScalingUpCondition, s.plan.Held[0].Reason, message+": "+s.allHeld(""))
	default:
		return isTrue(controlplanev1.ScalingUpCondition, controlplanev1.ScalingUpReason, message)
	}
}

// refused is whether a step failed in a way that will repeat itself, so that a person has to see it: not by a conflict,
// an overloaded API server or a broken connection.
func refused(err error) bool {
	var connection *url.Error
	switch {
	case err == nil, errors.As(err, &connection), errors.Is(err, context.Canceled):
		return false
	}
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonConflict, metav1.StatusReasonAlreadyExists, metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout,
		metav1.StatusReasonTooManyRequests, metav1.StatusReasonServiceUnavailable, metav1.StatusReasonInternalError:
		return false
	default:
		return true
	}
}

func (s *snapshot) scalingDown() metav1.Condition {
	have, wanted := len(s.machines), s.wanted()
	if have <= wanted {
		return isFalse(controlplanev1.ScalingDownCondition, controlplanev1.NotScalingDownReason, "")
	}
	message := fmt.Sprintf("there are %d Machines, wanted are %d", have, wanted)
	if held := s.held(controlplanev1.ScalingDownReason); held != nil {
		message = held.Message
	}
	return isTrue(controlplanev1.ScalingDownCondition, controlplanev1.ScalingDownReason, message)
}

func (s *snapshot) deleting() metav1.Condition {
	if !s.world.Deleting {
		return isFalse(controlplanev1.DeletingCondition, controlplanev1.NotDeletingReason, "")
	}
	if held := s.held(controlplanev1.WaitingForWorkersReason, controlplanev1.WaitingForMachinesReason); held != nil {
		return isTrue(controlplanev1.DeletingCondition, held.Reason, held.Message)
	}
	return isTrue(controlplanev1.DeletingCondition, controlplanev1.WaitingForMachinesReason, "everything is gone")
}

func (s *snapshot) available() metav1.Condition {
	const condition, no = controlplanev1.AvailableCondition, controlplanev1.NotAvailableReason
	switch {
	case s.world.Deleting:
		return isFalse(condition, no, "the control plane is being deleted")
	case !s.world.Initialized:
		return isFalse(condition, no, "the API server has not answered yet")
	case len(s.machines) == 0:
		return isFalse(condition, no, s.allHeld("there is no Machine"))
	}
	unknown := false
	for _, m := range s.machines {
		if conditions.IsTrue(m, clusterv1.MachineAvailableCondition) {
			return isTrue(condition, controlplanev1.AvailableReason, "")
		}
		unknown = unknown || conditions.IsUnknown(m, clusterv1.MachineAvailableCondition)
	}
	if unknown {
		return isUnknown(condition, no, "it cannot be told whether a Machine is available; the MachinesReady condition says why")
	}
	return isFalse(condition, no, "no Machine is available; the MachinesReady condition says why")
}

// reasonFunc chooses the reason of an aggregate from its issues, what is unknown, and what is in order.
type reasonFunc = func(issues, unknown, info []conditions.ConditionWithOwnerInfo) string

// aggregate sums a condition of the Machines up. Without Machines there is nothing to complain of.
func (s *snapshot) aggregate(source, target string, reason reasonFunc) metav1.Condition {
	if len(s.machines) == 0 {
		return isTrue(target, clusterv1.NoReplicasReason, "")
	}
	condition, err := conditions.NewAggregateCondition(s.machines, source, conditions.TargetConditionType(target),
		conditions.CustomMergeStrategy{MergeStrategy: conditions.DefaultMergeStrategy(conditions.ComputeReasonFunc(reason))})
	if err != nil {
		return metav1.Condition{Type: target, Status: metav1.ConditionUnknown, Reason: clusterv1.InternalErrorReason, Message: err.Error()}
	}
	return *condition
}

// allHeld joins the messages of all holds, or returns otherwise where nothing is held.
func (s *snapshot) allHeld(otherwise string) string {
	if len(s.plan.Held) == 0 {
		return otherwise
	}
	messages := make([]string, 0, len(s.plan.Held))
	for _, held := range s.plan.Held {
		messages = append(messages, held.Message)
	}
	return strings.Join(messages, "; ")
}
