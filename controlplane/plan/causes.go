// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Cause is what a step is for.
type Cause string

const (
	// CauseAccess says that whoever uses the cluster needs it.
	CauseAccess Cause = "Access"
	// CauseBegin says that it makes the cluster.
	CauseBegin Cause = "Begin"
	// CauseScaleUp says that there are too few Machines.
	CauseScaleUp Cause = "ScaleUp"
	// CauseScaleDown says that there are too many Machines.
	CauseScaleDown Cause = "ScaleDown"
	// CauseOutdated says that a Machine is not as declared.
	CauseOutdated Cause = "Outdated"
	// CauseReplacement says that a Machine takes the place of another.
	CauseReplacement Cause = "Replacement"
	// CauseUnhealthy says that a Machine is unhealthy, or has failed.
	CauseUnhealthy Cause = "Unhealthy"
	// CauseLeaving says that a Machine is being deleted, and is helped out.
	CauseLeaving Cause = "Leaving"
	// CauseOrphan says that an etcd member or a Node belongs to no Machine.
	CauseOrphan Cause = "Orphan"
	// CauseJoining says that a Machine has not joined completely.
	CauseJoining Cause = "Joining"
	// CauseLeftover says that something was begun and is not wanted any more.
	CauseLeftover Cause = "Leftover"
	// CauseRestore says that etcd is restored from a snapshot.
	CauseRestore Cause = "Restore"
	// CauseDeletion says that the control plane is being deleted.
	CauseDeletion Cause = "Deletion"
)

// Explain says what a step of the World's plan is for: the cause, and phrases with the particulars.
func Explain(w World, step Step) (Cause, []string) {
	switch s := step.(type) {
	case CreateCertificates:
		return CauseAccess, []string{"Cluster " + w.Cluster + " has none yet"}
	case WriteKubeconfig:
		return CauseAccess, []string{kubeconfigTrouble(s.State)}
	case CreateInfraMachine, CreateBootstrapConfig, CreateMachine:
		return w.explainCreation()
	case DeleteMachine:
		return w.explainDeletion(s)
	case RecordRemediation:
		return w.explainDeletion(DeleteMachine{Name: s.Machine})
	case PrepareRestore:
		return CauseRestore, []string{"spec.restoreFrom names it"}
	case MarkRestored:
		return CauseRestore, []string{"the restored API server answers"}
	case CorrectPeer:
		return CauseRestore, []string{"it was restored, and the others look for it before they join"}
	case DeleteLeftover:
		return CauseLeftover, []string{"making the Machine was interrupted, and it is not wanted any more"}
	case ClaimFounding, FoundEtcd, RestoreEtcd, RecordFounding:
		return CauseBegin, []string{"it waits to be told, and there is no etcd yet"}
	case MarkInitialized:
		return CauseBegin, []string{"the API server answers"}
	case BackUpEtcd:
		return CauseOutdated, []string{"before " + enumerate(names(w.outdated())) + " are replaced"}
	case PromoteLearner:
		return CauseJoining, []string{"it keeps up and has no vote yet"}
	case MoveLeader:
		cause, _ := w.explainRemoval(s.From)
		return cause, []string{"its member is removed next"}
	case RemoveMember:
		return w.explainRemoval(s.Member)
	case ReleaseMachine:
		return w.explainRelease()
	case ForgetNode:
		return CauseOrphan, []string{"its Machine is gone, and Cluster API has left it"}
	case RemoveFinalizer:
		return CauseDeletion, []string{"nothing is left of it"}
	default:
		return "", nil
	}
}

func kubeconfigTrouble(state Kubeconfig) string {
	if state == KubeconfigStale {
		return "it is about to expire, or speaks of another endpoint or authority"
	}
	return "there is none"
}

func (w World) outdated() []Machine {
	return filter(w.Machines, func(m Machine) bool { return !m.Deleting && len(Differences(w.Desired, m)) > 0 })
}

func (w World) explainCreation() (Cause, []string) {
	staying := filter(w.Machines, func(m Machine) bool { return !m.Deleting })
	leaving := filter(w.Machines, func(m Machine) bool { return m.Deleting })
	outdated := w.outdated()
	switch {
	case w.restores():
		return CauseRestore, []string{"it begins with snapshot " + w.Desired.RestoreFrom}
	case !w.Initialized:
		return CauseBegin, []string{"it makes the cluster"}
	case len(staying) >= int(w.Desired.Replicas) && len(outdated) > 0:
		slices.SortStableFunc(outdated, w.firstToGo)
		return CauseOutdated, []string{"Machine " + outdated[0].Name + " is not as declared (" + strings.Join(Differences(w.Desired, outdated[0]), "; ") + ")"}
	case len(leaving) > 0:
		return CauseReplacement, []string{"Machine " + enumerate(names(leaving)) + " is being deleted"}
	default:
		return CauseScaleUp, []string{fmt.Sprintf("there are %d of %d Machines", len(staying), w.Desired.Replicas)}
	}
}

func (w World) explainDeletion(s DeleteMachine) (Cause, []string) {
	if w.Deleting {
		return CauseDeletion, []string{"the control plane is being deleted"}
	}
	i := slices.IndexFunc(w.Machines, func(m Machine) bool { return m.Name == s.Name })
	if i < 0 {
		return "", nil
	}
	m, staying := w.Machines[i], w.staying()
	why := Differences(w.Desired, m)
	surplus := fmt.Sprintf("there are %d Machines, wanted are %d", staying, w.Desired.Replicas)
	switch {
	case m.RemediationWanted:
		return CauseUnhealthy, append([]string{m.complaint()}, why...)
	case len(why) == 0 && m.DeletionWanted:
		return CauseScaleDown, []string{surplus, "it is marked to go first"}
	case len(why) == 0:
		return CauseScaleDown, []string{surplus}
	default:
		return CauseOutdated, why
	}
}

// explainRemoval says why a member is removed: its Machine leaves, or it has none.
func (w World) explainRemoval(member Member) (Cause, []string) {
	for _, m := range w.Machines {
		if its, _ := w.memberOf(m); m.WaitsForUs && its != nil && its.ID == member.ID {
			return CauseLeaving, []string{"Machine " + m.Name + " is drained and leaves"}
		}
	}
	return CauseOrphan, []string{"it belongs to no Machine"}
}

func (w World) explainRelease() (Cause, []string) {
	switch {
	case w.Deleting:
		return CauseDeletion, []string{"the control plane is being deleted"}
	case w.restores():
		return CauseRestore, []string{"etcd is restored from snapshot " + w.Desired.RestoreFrom + ", and what it holds is given up"}
	case !w.Initialized:
		return CauseLeaving, []string{"it is being deleted, and there is no cluster yet"}
	default:
		return CauseLeaving, []string{"it is drained, and etcd works on without it"}
	}
}

// disruption is what a step interrupts or takes away.
func (w World) disruption(step Step) string {
	switch s := step.(type) {
	case DeleteMachine:
		if slices.ContainsFunc(w.Machines, func(m Machine) bool { return m.Name == s.Name && m.Node != "" }) {
			return "its Node is drained"
		}
	case MoveLeader:
		return "etcd elects a leader"
	case RemoveMember:
		return w.Etcd.without(s.Member)
	case ReleaseMachine:
		return "the machine is deleted"
	}
	return ""
}

// without is how etcd is once a member is removed.
func (e Etcd) without(member Member) string {
	all, well := e.voters(member.ID)
	switch {
	case member.Learner:
		return ""
	case all == 1:
		return "etcd works on with 1 voting member"
	case well < all:
		return fmt.Sprintf("etcd works on with %d voting members, %d of them healthy", all, well)
	default:
		return fmt.Sprintf("etcd works on with %d voting members", all)
	}
}

// complaint is why a health check wants a Machine replaced.
func (m Machine) complaint() string {
	if m.Trouble == "" {
		return "a health check wants it replaced"
	}
	return "a health check wants it replaced (" + m.Trouble + ")"
}
