// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// tell records one event for a step that was carried out: what was done, and what for. The Machine that it was about is
// named beside the control plane, so that what was done to two Machines does not count as the same.
func (r *Reconciler) tell(s *snapshot, step plan.Step) {
	if r.Recorder == nil || s.hasOnlyBegun(step) {
		return
	}
	reason, action := done(step)
	_, why := plan.Explain(s.world, step)
	r.Recorder.Eventf(s.cp, s.related(step), corev1.EventTypeNormal, reason, action, "%s", shorten(step.String()+": "+strings.Join(why, "; ")))
}

// hasOnlyBegun is whether a step goes on after the pass that carried it out.
func (s *snapshot) hasOnlyBegun(step plan.Step) bool {
	switch step.(type) {
	case plan.BackUpEtcd:
		return lastBackup(s.cp).For != rolloutOf(s.cp)
	case plan.PrepareRestore:
		return s.world.Restore != plan.RestoreReady
	default:
		return false
	}
}

// shorten keeps a note as short as the API server wants it.
func shorten(note string) string {
	const longest, more = 1024, "..."
	if len(note) <= longest {
		return note
	}
	return strings.ToValidUTF8(note[:longest-len(more)], "") + more
}

// done names a step as events do: what has happened, and what we did.
func done(step plan.Step) (reason, action string) {
	switch step.(type) {
	case plan.CreateCertificates:
		return "CertificatesCreated", "CreateCertificates"
	case plan.WriteKubeconfig:
		return "KubeconfigWritten", "WriteKubeconfig"
	case plan.CreateInfraMachine:
		return "InfraMachineCreated", "CreateInfraMachine"
	case plan.CreateBootstrapConfig:
		return "BootstrapConfigCreated", "CreateBootstrapConfig"
	case plan.CreateMachine:
		return "MachineCreated", "CreateMachine"
	case plan.DeleteMachine:
		return "MachineDeleted", "DeleteMachine"
	case plan.DeleteLeftover:
		return "LeftoverDeleted", "DeleteLeftover"
	case plan.ClaimFounding, plan.FoundEtcd, plan.RestoreEtcd, plan.RecordFounding:
		return founded(step)
	case plan.MarkInitialized:
		return "ControlPlaneInitialized", "MarkInitialized"
	case plan.BackUpEtcd:
		return "EtcdBackedUp", "BackUpEtcd"
	case plan.RecordRemediation:
		return "RemediationRecorded", "RecordRemediation"
	case plan.PrepareRestore:
		return "RestorePrepared", "PrepareRestore"
	case plan.MarkRestored:
		return "EtcdRestored", "MarkRestored"
	case plan.CorrectPeer:
		return "EtcdMemberCorrected", "CorrectPeer"
	case plan.PromoteLearner:
		return "EtcdMemberPromoted", "PromoteLearner"
	case plan.MoveLeader:
		return "EtcdLeaderMoved", "MoveLeader"
	case plan.RemoveMember:
		return "EtcdMemberRemoved", "RemoveMember"
	case plan.ReleaseMachine:
		return "MachineReleased", "ReleaseMachine"
	case plan.ForgetNode:
		return "NodeRemoved", "ForgetNode"
	case plan.RemoveFinalizer:
		return "ControlPlaneReleased", "RemoveFinalizer"
	default:
		return "StepDone", "CarryOutStep"
	}
}

// founded names the steps of telling the first Machine to make etcd.
func founded(step plan.Step) (reason, action string) {
	switch step.(type) {
	case plan.ClaimFounding:
		return "EtcdFounderClaimed", "ClaimFounding"
	case plan.FoundEtcd:
		return "EtcdFounded", "FoundEtcd"
	case plan.RestoreEtcd:
		return "EtcdRestored", "RestoreEtcd"
	default:
		return "EtcdFoundingRecorded", "RecordFounding"
	}
}

// related is the Machine that a step is about, nil where it is about none.
func (s *snapshot) related(step plan.Step) runtime.Object {
	name := ""
	switch step := step.(type) {
	case plan.CreateInfraMachine:
		name = step.Name
	case plan.CreateBootstrapConfig:
		name = step.Name
	case plan.CreateMachine:
		name = step.Name
	case plan.DeleteMachine:
		name = step.Name
	case plan.DeleteLeftover:
		name = step.Name
	case plan.ReleaseMachine:
		name = step.Name
	case plan.ClaimFounding:
		name = step.Machine
	case plan.FoundEtcd:
		name = step.Machine
	case plan.RestoreEtcd:
		name = step.Machine
	case plan.RecordFounding:
		name = step.Machine
	case plan.CorrectPeer:
		name = step.Machine
	case plan.PromoteLearner:
		name = s.machineOn(step.Member.Name)
	case plan.MoveLeader:
		name = s.machineOn(step.From.Name)
	case plan.RemoveMember:
		name = s.machineOn(step.Member.Name)
	}
	if name == "" {
		return nil
	}
	return &clusterv1.Machine{ObjectMeta: metav1.ObjectMeta{Namespace: s.cp.Namespace, Name: name}}
}

// machineOn is the name of the Machine with a Node, empty where there is none.
func (s *snapshot) machineOn(node string) string {
	for _, m := range s.machines {
		if node != "" && m.Status.NodeRef.Name == node {
			return m.Name
		}
	}
	return ""
}
