// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/version"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/collections"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/patch"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
)

// report writes what was found: first on the Machines, then on the control plane, whose counters count what is on the
// Machines. Status is a report only: no pass reads back what it said, except that an initialized control plane stays
// initialized, and since when its components are not seen.
func (r *Reconciler) report(ctx context.Context, s *snapshot, applyErr error) error {
	var errs []error
	for _, m := range s.machines {
		errs = append(errs, r.reportMachine(ctx, s, m))
	}
	helper, err := patch.NewHelper(s.cp, r.Client)
	if err != nil {
		return kerrors.NewAggregate(append(errs, err))
	}
	s.setStatus()
	s.setConditions(applyErr)
	options := []patch.Option{patch.WithOwnedConditions{Conditions: ownedConditions()}}
	if applyErr == nil {
		options = append(options, patch.WithStatusObservedGeneration{})
	}
	errs = append(errs, helper.Patch(ctx, s.cp, options...))
	return kerrors.NewAggregate(errs)
}

// reportMachine says on the Machine whether it is as declared and how what runs on it is, and answers a MachineHealthCheck whose
// wish is refused.
func (r *Reconciler) reportMachine(ctx context.Context, s *snapshot, m *clusterv1.Machine) error {
	helper, err := patch.NewHelper(m, r.Client)
	if err != nil {
		return err
	}
	if member, _ := s.world.Member(m.Name); member != nil && !member.CertificateEnds.IsZero() { // Cluster API copies it to the status
		metav1.SetMetaDataAnnotation(&m.ObjectMeta, clusterv1.MachineCertificatesExpiryDateAnnotation, member.CertificateEnds.UTC().Format(time.RFC3339))
	}
	report := []metav1.Condition{s.upToDate(m)}
	report = append(report, s.machineComponents(m, r.Clock.Now())...)
	if held := s.held(remediationHolds()...); held != nil && remediationWanted(m) {
		report = append(report, isFalse(clusterv1.MachineOwnerRemediatedCondition, cannotBeRemediatedReason, held.Message))
	}
	owned := make([]string, 0, len(report))
	for _, condition := range report {
		conditions.Set(m, condition)
		owned = append(owned, condition.Type)
	}
	if err := helper.Patch(ctx, m, patch.WithOwnedConditions{Conditions: owned}); err != nil {
		return fmt.Errorf("reporting on Machine %s: %w", m.Name, err)
	}
	return nil
}

func (s *snapshot) upToDate(m *clusterv1.Machine) metav1.Condition {
	differences := s.differences(m.Name)
	if len(differences) == 0 {
		return isTrue(clusterv1.MachineUpToDateCondition, clusterv1.MachineUpToDateReason, "")
	}
	return isFalse(clusterv1.MachineUpToDateCondition, clusterv1.MachineNotUpToDateReason, "* "+strings.Join(differences, "\n* "))
}

// remediationHolds are the reasons for which an unhealthy Machine is kept.
func remediationHolds() []string {
	return []string{
		controlplanev1.EtcdUnseenReason, controlplanev1.EtcdQuorumReason, controlplanev1.EtcdQuorumLostReason, controlplanev1.LastMemberReason,
		controlplanev1.RemediationDeferredReason, controlplanev1.RemediationExhaustedReason,
	}
}

// cannotBeRemediatedReason is what Cluster API's own control plane says on a Machine that it does not replace.
const cannotBeRemediatedReason = clusterv1.MachineSetMachineCannotBeRemediatedReason

func (s *snapshot) differences(machine string) []string {
	for _, m := range s.world.Machines {
		if m.Name == machine {
			return plan.Differences(s.world.Desired, m)
		}
	}
	return nil
}

// held returns the hold with one of the reasons, or nil.
func (s *snapshot) held(reasons ...string) *plan.Held {
	for i, held := range s.plan.Held {
		if slices.Contains(reasons, held.Reason) {
			return &s.plan.Held[i]
		}
	}
	return nil
}

func (s *snapshot) setStatus() {
	status := &s.cp.Status
	if s.world.Initialized {
		status.Initialization.ControlPlaneInitialized = new(true)
	}
	status.Selector = collections.ControlPlaneSelectorForCluster(s.cluster.Name).String()
	status.Replicas = new(int32(len(s.machines)))
	status.ReadyReplicas = s.count(clusterv1.MachineReadyCondition)
	status.AvailableReplicas = s.count(clusterv1.MachineAvailableCondition)
	status.UpToDateReplicas = s.count(clusterv1.MachineUpToDateCondition)
	status.LastBackup = lastBackup(s.cp).EtcdBackup
	status.Versions = versions(s.machines)
	status.Version = ""
	if len(status.Versions) > 0 {
		status.Version = status.Versions[0].Version
	}
}

func (s *snapshot) count(condition string) *int32 {
	var n int32
	for _, m := range s.machines {
		if conditions.IsTrue(m, condition) {
			n++
		}
	}
	return &n
}

// versions counts Machines by the version that their kubelet reports, or were made for where there is no Node yet,
// lowest first.
func versions(machines []*clusterv1.Machine) []clusterv1.StatusVersion {
	counts := map[string]int32{}
	for _, m := range machines {
		v := m.Spec.Version
		if m.Status.NodeInfo != nil && m.Status.NodeInfo.KubeletVersion != "" {
			v = m.Status.NodeInfo.KubeletVersion
		}
		counts[v]++
	}
	var list []clusterv1.StatusVersion
	for _, v := range slices.SortedFunc(maps.Keys(counts), compareVersions) {
		list = append(list, clusterv1.StatusVersion{Version: v, Replicas: counts[v]})
	}
	return list
}

// compareVersions orders by precedence, and by the text where that says nothing, so that the order is always the same.
func compareVersions(a, b string) int {
	parsed, err := version.ParseSemantic(a)
	if err == nil {
		if order, err := parsed.Compare(b); err == nil && order != 0 {
			return order
		}
	}
	return strings.Compare(a, b)
}

// Pace is how soon to look again at what no watch tells.
type Pace struct {
	// Soon is for what is expected to change, Later for what is not.
	Soon, Later time.Duration
}

func (p Pace) orDefault() Pace {
	return Pace{Soon: cmp.Or(p.Soon, 10*time.Second), Later: cmp.Or(p.Later, 30*time.Second)}
}

// outcome says how the pass ended and when the next one is due.
func (s *snapshot) outcome(now time.Time, pace Pace) flow.Outcome {
	var after time.Duration
	if !s.renewalDue.IsZero() {
		after = max(s.renewalDue.Sub(now), pace.Later)
	}
	waits := []time.Duration{s.workloadAgain(pace)}
	for _, held := range s.plan.Held {
		waits = append(waits, lookAgain(held.Reason, pace))
	}
	for _, again := range waits {
		if again > 0 && (after == 0 || again < after) {
			after = again
		}
	}
	if len(s.plan.Held) == 0 {
		return flow.Wait("AsDeclared", "everything is as declared; the kubeconfig is renewed in time", after)
	}
	return flow.Wait(s.plan.Held[0].Reason, s.plan.Held[0].Message, after)
}

// lookAgain is how soon to look again at what is held; 0 where a watch tells: the Cluster's, the control plane's own, or
// that of its Machines.
func lookAgain(reason string, pace Pace) time.Duration {
	switch reason {
	case controlplanev1.NotInitializedReason, controlplanev1.WaitingForWorkersReason, controlplanev1.BackingUpReason,
		controlplanev1.RestoringReason, controlplanev1.BackupFailedReason, controlplanev1.RestoreFailedReason:
		return pace.Soon
	case controlplanev1.CertificatesMissingReason, controlplanev1.CertificatesInvalidReason,
		controlplanev1.TemplateMissingReason, controlplanev1.ForeignMachinesReason:
		return pace.Later
	default:
		return 0
	}
}
