// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
)

// planRunning plans for a control plane whose API server has answered. Who leaves is helped out first, because everything
// else waits for it; then what belongs to nobody goes; then what is broken is replaced; and only a control plane that is
// whole is changed. The first question that has something to do, or that must not be passed, ends the plan.
func (p *Plan) planRunning(w World, mayCreate bool) {
	if w.Etcd.Unseen == "" && len(w.Etcd.Members) == 0 {
		w.Etcd.Unseen = "it named no members"
	}
	stuck, acts := p.planLeaving(w)
	joins := !acts && !p.planMisplaced(w) && !p.planNobodysMembers(w) && !p.planRemediation(w, stuck) && !p.holdUnsettled(w, stuck) && !p.holdKubelet(w) && p.planReplicas(w, mayCreate)
	if !joins {
		p.deleteLeftovers(w.Leftovers)
		p.forgetNodes(w)
	}
}

// forgetNodes removes Nodes of Machines that are gone. Cluster API leaves them where no other control plane Machine was to
// stay. A Machine that comes or goes may have one of them.
func (p *Plan) forgetNodes(w World) {
	if slices.ContainsFunc(w.Machines, func(m Machine) bool { return m.Node == "" || m.Deleting }) {
		return
	}
	for _, node := range w.AbandonedNodes {
		p.do(ForgetNode{Node: node})
	}
}

// planLeaving lets a Machine go that waits for us: of those whose members etcd can spare, the one that is worst off, because
// that may be what the others wait for. It returns whether one is stuck, because etcd cannot spare it, and whether
// anything is done.
func (p *Plan) planLeaving(w World) (stuck, acts bool) {
	waiting := filter(w.Machines, func(m Machine) bool { return m.WaitsForUs })
	if len(waiting) == 0 {
		return false, false
	}
	slices.SortStableFunc(waiting, w.worstFirst)
	if w.Etcd.Unseen != "" {
		p.hold(controlplanev1.EtcdUnseenReason, "Machine %s is kept until it is known that etcd works without it: %s", waiting[0].Name, w.Etcd.Unseen)
		return true, false
	}
	if !w.Etcd.quorate() { // who cannot agree may not know all members
		p.holdQuorumLost(w, "Machine "+waiting[0].Name+" is kept")
		return true, false
	}
	joining := filter(w.Machines, w.mayAddMember)
	for _, m := range waiting {
		member, known := w.memberOf(m)
		begun := w.begunBy(m)
		if !known || member != nil && !w.Etcd.spares(*member) || begun != nil && len(joining) > 0 {
			continue
		}
		if member != nil {
			p.removeMember(w, *member)
		}
		if begun != nil { // it must not get a vote while what runs it is being ended
			p.do(RemoveMember{Member: *begun})
		}
		p.do(ReleaseMachine{Name: m.Name})
		return false, true
	}
	if p.maySpareMachine(w, waiting[0], "Machine "+waiting[0].Name+" is kept") {
		p.hold(controlplanev1.EtcdUnseenReason, "Machine %s is kept while etcd has a learner that has not started and may be on it, or on Machine %s; the one that does not join is to be deleted",
			waiting[0].Name, enumerate(names(joining)))
	}
	return true, false
}

// begunBy is the learner that a Machine may have begun to join with, nil where there is none: it has not started, so that nobody
// knows whose it is.
func (w World) begunBy(m Machine) *Member {
	i := slices.IndexFunc(w.Etcd.Members, func(member Member) bool { return member.Learner && w.nobodys(member) })
	if i < 0 || m.Node != "" && !w.Etcd.SelfJoining {
		return nil
	}
	if own, _ := w.memberOf(m); m.Node != "" && own != nil {
		return nil
	}
	return &w.Etcd.Members[i]
}

// maySpareMachine is whether etcd works on without what a Machine has of it; if not, it says so. Where the members cannot
// agree, it is not known what that is.
func (p *Plan) maySpareMachine(w World, m Machine, what string) bool {
	if !w.Etcd.quorate() {
		p.holdQuorumLost(w, what)
		return false
	}
	member, known := w.memberOf(m)
	if !known {
		p.hold(controlplanev1.EtcdUnseenReason, "%s, because it is not known which etcd member is on it: its Node is not known; Cluster API tells it, or delete the Machines that never joined", what)
		return false
	}
	return member == nil || p.maySpare(w, *member, what)
}

// sparesMachine is whether etcd works on without what a Machine has of it.
func (w World) sparesMachine(m Machine) bool {
	member, known := w.memberOf(m)
	return known && (member == nil || w.Etcd.spares(*member))
}

// removeMember plans the removal of a member that etcd can spare.
func (p *Plan) removeMember(w World, member Member) {
	if to := w.successor(member); member.Leader && to != nil {
		p.do(MoveLeader{From: member, To: *to})
	}
	p.do(RemoveMember{Member: member})
}

// maySpare is whether etcd works on without a member; if not, it says so.
func (p *Plan) maySpare(w World, member Member, what string) bool {
	if w.Etcd.spares(member) {
		return true
	}
	p.holdMember(w, member, what)
	return false
}

// holdMember says why etcd cannot spare a member.
func (p *Plan) holdMember(w World, member Member, what string) {
	all, well := w.Etcd.voters(member.ID)
	switch {
	case !w.Etcd.quorate():
		p.holdQuorumLost(w, what)
	case all == 0:
		p.hold(controlplanev1.LastMemberReason, "%s, because it holds the only copy of the data of etcd; it goes when another control plane Machine has joined, or with Cluster %s", what, w.Cluster)
	default:
		p.hold(controlplanev1.EtcdQuorumReason, "%s, because etcd cannot spare its member %s: %d of the other %d voting members are healthy (not healthy: %s), and %d are needed; repair those nodes, or delete their Machines",
			what, member.Called(), well, all, enumerate(w.Etcd.unhealthy(member.ID)), quorum(all))
	}
}

func (p *Plan) holdQuorumLost(w World, what string) {
	all, _ := w.Etcd.voters("")
	p.hold(controlplanev1.EtcdQuorumLostReason, "%s, because the members of etcd cannot agree: fewer than %d of its %d voting members (%s) work together; bring nodes back, or restore etcd from a snapshot",
		what, quorum(all), all, enumerate(w.Etcd.unhealthy("")))
}

// planMisplaced tells etcd where a member is that was restored, before another looks for it.
func (p *Plan) planMisplaced(w World) bool {
	for _, member := range w.Etcd.Members {
		i := slices.IndexFunc(w.Machines, func(m Machine) bool { return m.Node != "" && m.nodeName() == member.Name })
		if member.Misplaced && member.Healthy && i >= 0 {
			p.do(CorrectPeer{Member: member, Machine: w.Machines[i].Name})
			return true
		}
	}
	return false
}

// planNobodysMembers removes members that are on no Machine of ours. While a Machine joins, one that has not started or
// that we do not know may be its, and is left alone.
func (p *Plan) planNobodysMembers(w World) bool {
	if slices.ContainsFunc(w.Machines, w.mayAddMember) {
		return false
	}
	for _, member := range w.Etcd.Members {
		if !w.nobodys(member) {
			continue
		}
		if p.maySpare(w, member, "etcd member "+member.Called()+" belongs to no Machine and is kept") {
			p.removeMember(w, member)
		}
		return true
	}
	return false
}

// planRemediation replaces the Machine that a MachineHealthCheck wants replaced and that is worst off, one at a time. Beside
// a Machine that is stuck because etcd cannot spare it, one without a healthy member may go: that is what frees the other.
// So may one beside a Machine that joins, because etcd takes nobody while a voting member is away.
func (p *Plan) planRemediation(w World, stuck bool) bool {
	broken := filter(w.Machines, func(m Machine) bool { return m.RemediationWanted && !m.Deleting })
	if len(broken) == 0 {
		return false
	}
	slices.SortStableFunc(broken, w.worstFirst)
	m := broken[0]
	frees := stuck && w.health(m) <= withoutEtcd
	bars := w.barsJoins(m)
	busy := filter(w.Machines, func(o Machine) bool { return o.Name != m.Name && (o.joins() && !bars || o.Deleting && !frees) })
	switch {
	case len(busy) > 0:
		p.hold(controlplanev1.RemediationDeferredReason, "Machine %s is unhealthy and is replaced when %s has joined or gone: one at a time", m.Name, enumerate(names(busy)))
	case p.holdRemediation(m):
	case w.Etcd.Unseen != "":
		p.hold(controlplanev1.EtcdUnseenReason, "Machine %s is unhealthy and is kept until it is known that etcd works without it: %s", m.Name, w.Etcd.Unseen)
	case !p.maySpareMachine(w, m, "Machine "+m.Name+" is unhealthy and is kept"):
	default:
		p.do(RecordRemediation{Machine: m.Name}, DeleteMachine{Name: m.Name})
	}
	return true
}

// barsJoins is whether the member of a Machine keeps others from joining.
func (w World) barsJoins(m Machine) bool {
	member, _ := w.memberOf(m)
	return member != nil && !member.Learner && !member.Healthy
}

// holdRemediation is whether replacing an unhealthy Machine has to wait, or has not helped often enough.
func (p *Plan) holdRemediation(m Machine) bool {
	switch m.Remediation {
	case RemediationExhausted:
		p.hold(controlplanev1.RemediationExhaustedReason, "Machine %s is unhealthy and is kept: as many Machines as spec.remediation.maxRetry allows were replaced, and their replacements are unhealthy too; find out why, then raise maxRetry or delete the Machine", m.Name)
	case RemediationTooSoon:
		p.hold(controlplanev1.RemediationDeferredReason, "Machine %s is unhealthy; the one before it was replaced less than spec.remediation.retryPeriodSeconds ago", m.Name)
	default:
		return false
	}
	return true
}

// How well a Machine is, the worst first: one that has not joined holds nothing that could be lost.
const (
	notJoined = iota
	withoutEtcd
	troubled
	healthy
)

func (w World) health(m Machine) int {
	member, known := w.memberOf(m)
	switch {
	case m.Node == "" && member == nil && known:
		return notJoined
	case member == nil || !member.Healthy:
		return withoutEtcd
	case m.Trouble != "":
		return troubled
	default:
		return healthy
	}
}

// holdUnsettled lets nothing be changed while something is under way or broken. It returns whether that is so. A Machine
// that is stuck because etcd cannot spare it must not keep another from joining, which may be what it needs.
func (p *Plan) holdUnsettled(w World, stuck bool) bool {
	leaving := filter(w.Machines, func(m Machine) bool { return m.Deleting })
	joining := filter(w.Machines, func(m Machine) bool { return m.joins() })
	superseded := filter(joining, func(m Machine) bool { return w.health(m) == notJoined && len(Differences(w.Desired, m)) > 0 })
	switch {
	case len(leaving) > 0 && !stuck:
		p.hold(controlplanev1.WaitingForMachinesReason, "waiting until Machine %s is gone; its Deleting condition says what it waits for", leaving[0].Name)
	case len(superseded) > 0 && w.Etcd.Unseen == "" && w.Etcd.quorate(): // otherwise it may have joined long ago
		p.do(DeleteMachine{Name: superseded[0].Name})
	case len(joining) > 0 && len(w.Etcd.unhealthy("")) > 0:
		p.hold(controlplanev1.JoiningReason, "waiting until Machine %s has joined; etcd takes no new member while one that votes is not healthy: %s", joining[0].Name, enumerate(w.Etcd.unhealthy("")))
	case len(joining) > 0:
		p.hold(controlplanev1.JoiningReason, "waiting until Machine %s has joined; its conditions and its console say how far it has come", joining[0].Name)
	case !w.wantsChange():
		return p.planLearners(w)
	case w.Etcd.Unseen != "":
		p.hold(controlplanev1.EtcdUnseenReason, "nothing is changed while etcd cannot be seen: %s", w.Etcd.Unseen)
	case !w.Etcd.quorate():
		p.holdQuorumLost(w, "nothing is changed")
	default:
		return p.planLearners(w) || p.holdBroken(w)
	}
	return true
}

// wantsChange is whether there are too few or too many Machines, or some that are not as they are wanted.
func (w World) wantsChange() bool {
	staying := filter(w.Machines, func(m Machine) bool { return !m.Deleting })
	return len(staying) != int(w.Desired.Replicas) ||
		slices.ContainsFunc(staying, func(m Machine) bool { return len(Differences(w.Desired, m)) > 0 })
}

// planLearners gives the member of a Machine that has joined its vote: its node does, unless it was interrupted.
func (p *Plan) planLearners(w World) bool {
	for _, member := range w.Etcd.Members {
		switch {
		case !member.Learner, !w.Etcd.quorate():
		case w.Etcd.SelfJoining:
			p.hold(controlplanev1.JoiningReason, "waiting until etcd member %s has a vote; its node gets it, which takes seconds; where that does not come, delete its Machine", member.Called())
			return true
		case member.Healthy:
			p.do(PromoteLearner{Member: member})
			return true
		default:
			p.hold(controlplanev1.EtcdMemberUnhealthyReason, "etcd member %s has no vote yet and does not keep up; repair its node, or delete its Machine", member.Called())
			return true
		}
	}
	return false
}

// holdBroken changes nothing beside a Machine that is broken, unless replacing the broken one is what is wanted.
func (p *Plan) holdBroken(w World) bool {
	for _, m := range w.Machines {
		if m.Deleting {
			continue
		}
		member, _ := w.memberOf(m)
		trouble := m.Trouble
		switch {
		case member == nil:
			trouble = "etcd has no member on its node"
		case !member.Healthy:
			trouble = "its etcd member is not healthy"
		}
		if trouble == "" || w.replaceable(m) {
			continue
		}
		p.hold(controlplanev1.MachineUnhealthyReason, "nothing is changed while Machine %s is unhealthy (%s): repair its node, or delete the Machine", m.Name, trouble)
		return true
	}
	return false
}

// replaceable is whether a broken Machine is to be replaced anyway, and nothing else is wrong, so that replacing it makes the
// control plane whole.
func (w World) replaceable(m Machine) bool {
	if len(Differences(w.Desired, m)) == 0 && int(w.Desired.Replicas) >= len(w.Machines) {
		return false
	}
	return !slices.ContainsFunc(w.Machines, func(o Machine) bool { return o.Name != m.Name && (o.Deleting || w.health(o) < healthy) })
}

// holdTopology replaces nothing that is as it was declared before while the Cluster's topology is about to set another version,
// because it would be replaced twice.
func (p *Plan) holdTopology(w World) bool {
	if w.TopologyVersion == "" || w.TopologyVersion == w.Desired.Version {
		return false
	}
	p.hold(controlplanev1.TopologyVersionReason, "no Machine is replaced until the topology of Cluster %s has set spec.version from %s to %s; its TopologyReconciled condition says what that waits for",
		w.Cluster, w.Desired.Version, w.TopologyVersion)
	return true
}

// holdSkew makes no Machine that is more than one minor version from another: Kubernetes does not run so.
func (p *Plan) holdSkew(w World) bool {
	wanted, err := version.ParseSemantic(w.Desired.Version)
	if err != nil {
		return false
	}
	for _, m := range w.Machines {
		has, err := version.ParseSemantic(m.Version)
		if err != nil || m.Deleting || has.Major() == wanted.Major() && wanted.Minor() >= has.Minor() && wanted.Minor() <= has.Minor()+1 {
			continue
		}
		p.hold(controlplanev1.VersionSkewReason, "spec.version is %s and Machine %s has %s; Kubernetes goes up by one minor version at a time and never down: change spec.version", w.Desired.Version, m.Name, m.Version)
		return true
	}
	return false
}

// holdKubelet changes nothing while a Machine that is as declared runs another kubelet than declared: its image carries it,
// and every other Machine from that image would too.
func (p *Plan) holdKubelet(w World) bool {
	for _, m := range w.Machines {
		if m.KubeletVersion == "" || m.KubeletVersion == m.Version || m.Deleting || len(Differences(w.Desired, m)) > 0 {
			continue
		}
		p.hold(controlplanev1.KubeletMismatchReason, "the Node of Machine %s runs kubelet %s, and spec.version is %s: the image of %s carries it; no other Machine is made from it: change spec.machineTemplate.spec.infrastructureRef, or spec.version",
			m.Name, m.KubeletVersion, m.Version, w.Desired.Template)
		return true
	}
	return false
}

// planReplicas makes as many Machines as are wanted, all as they are wanted. It returns whether one is made.
func (p *Plan) planReplicas(w World, mayCreate bool) bool {
	staying := filter(w.Machines, func(m Machine) bool { return !m.Deleting })
	outdated := filter(staying, func(m Machine) bool { return len(Differences(w.Desired, m)) > 0 })
	slices.SortStableFunc(staying, w.firstToGo)
	surplus := len(staying) - int(w.Desired.Replicas)
	switch {
	case surplus > 0:
		p.planShrink(w, staying[0])
		return false
	case surplus == 0 && len(outdated) == 0:
		return false
	case !mayCreate, p.holdTemplate(w), p.holdSkew(w): // none goes that could not be replaced
		return false
	case surplus == 0 && !p.mayReplace(w, outdated[0]):
		return false
	case surplus == 0 && (w.health(staying[0]) < healthy && w.sparesMachine(staying[0]) || w.Desired.DeleteFirst && len(staying) > 2):
		p.planShrink(w, staying[0])
		return false
	}
	p.planMachine(w, bootstrapv1.RoleControlPlane)
	return true
}

// mayReplace is whether the replacement of outdated Machines may begin, or go on; if not, it says so, or backs etcd up first.
func (p *Plan) mayReplace(w World, first Machine) bool {
	if p.holdTopology(w) {
		return false
	}
	what := fmt.Sprintf("Machine %s is to be replaced (%s)", first.Name, strings.Join(Differences(w.Desired, first), "; "))
	switch w.Backup {
	case BackupDone:
		return true
	case BackupFailed:
		p.hold(controlplanev1.BackupFailedReason, "%s, and etcd could not be backed up before: %s", what, w.BackupMessage)
	case BackupRunning:
		p.hold(controlplanev1.BackingUpReason, "%s, and etcd is backed up before: %s", what, w.BackupMessage)
	case BackupNone:
		p.do(BackUpEtcd{})
	}
	return false
}

// planShrink deletes a Machine, if etcd can spare its member. It goes when it is drained.
func (p *Plan) planShrink(w World, m Machine) {
	if p.maySpareMachine(w, m, "Machine "+m.Name+" is to go and is kept") {
		p.do(DeleteMachine{Name: m.Name})
	}
}

// firstToGo orders Machines: those that somebody marked and that are outdated, those that somebody marked, broken outdated
// ones, outdated ones, and of all these the one of the fullest failure domain, the oldest first.
func (w World) firstToGo(a, b Machine) int {
	rank := func(m Machine) int {
		outdated := len(Differences(w.Desired, m)) > 0
		switch {
		case outdated && m.DeletionWanted:
			return 0
		case m.DeletionWanted:
			return 1
		case outdated && w.health(m) < healthy:
			return 2
		case outdated:
			return 3
		default:
			return 4
		}
	}
	crowd := func(m Machine) int {
		return len(filter(w.Machines, func(o Machine) bool { return o.FailureDomain == m.FailureDomain }))
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(crowd(b), crowd(a)), byAge(a, b))
}

// joins is whether the Machine is on its way to become a Node.
func (m Machine) joins() bool { return m.Node == "" && !m.Deleting }

func (w World) worstFirst(a, b Machine) int {
	return cmp.Or(cmp.Compare(w.health(a), w.health(b)), byAge(a, b))
}

func byAge(a, b Machine) int {
	return cmp.Or(a.Created.Compare(b.Created.Time), strings.Compare(a.Name, b.Name))
}

func filter(machines []Machine, which func(Machine) bool) []Machine {
	return slices.DeleteFunc(slices.Clone(machines), func(m Machine) bool { return !which(m) })
}
