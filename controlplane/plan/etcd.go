// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Etcd is what etcd said of itself.
type Etcd struct {
	// Unseen is why the members could not be listed, in words; empty where they were.
	Unseen string `json:"unseen,omitempty"`
	// Members are all members, sorted by ID.
	Members []Member `json:"members,omitempty"`
	// SelfJoining is whether nodes add their members and get their votes by themselves, when their Nodes may be there already,
	// and nobody else can do it for them.
	SelfJoining bool `json:"selfJoining,omitempty"`
}

// Member is one member of etcd.
type Member struct {
	// ID is the member's identity, in hexadecimal as etcd prints it.
	ID string `json:"id"`
	// Name is the name of its node; empty until the member has started for the first time.
	Name string `json:"name,omitempty"`
	// Learner is whether it does not vote yet.
	Learner bool `json:"learner,omitempty"`
	// Healthy is whether it answers and keeps up with the leader. None is where the members cannot agree.
	Healthy bool `json:"healthy,omitempty"`
	// Leader is whether it leads.
	Leader bool `json:"leader,omitempty"`
	// CertificateEnds is when the certificate ends that it shows; kubeadm made those of its node at the same time.
	CertificateEnds metav1.Time `json:"certificateEnds,omitzero"`
	// Misplaced is whether etcd does not know where the others find it, because it was restored.
	Misplaced bool `json:"misplaced,omitempty"`
}

// Called is how people find a member.
func (m Member) Called() string {
	if m.Name == "" {
		return m.ID + " (never started)"
	}
	return m.Name
}

// voters returns how many members vote, and how many of those are healthy, leaving out the member with the ID.
func (e Etcd) voters(without string) (all, well int) {
	for _, m := range e.Members {
		if m.Learner || m.ID == without {
			continue
		}
		all++
		if m.Healthy {
			well++
		}
	}
	return all, well
}

// unhealthy are the voting members that are not healthy, as people find them, leaving out the one with the ID.
func (e Etcd) unhealthy(without string) []string {
	var list []string
	for _, m := range e.Members {
		if !m.Learner && !m.Healthy && m.ID != without {
			list = append(list, m.Called())
		}
	}
	return list
}

// quorum is how many of a number of voters must be healthy.
func quorum(voters int) int { return voters/2 + 1 }

// quorate is whether etcd can change anything now. Where the members cannot agree, none counts as healthy: so one that does
// speaks for a majority, even if that is not reached, as when kubelets are dead.
func (e Etcd) quorate() bool {
	_, well := e.voters("")
	return well > 0
}

// spares is whether etcd can agree to the removal of a member now, and works on without it.
func (e Etcd) spares(member Member) bool {
	if !e.quorate() {
		return false
	}
	if member.Learner {
		return true
	}
	all, well := e.voters(member.ID)
	return all > 0 && well >= quorum(all)
}

// successor is who leads when a member must not: of the healthy voters besides, the one whose Machine stays longest, so that
// a rollout moves the leadership once.
func (w World) successor(member Member) *Member {
	var staying []Machine
	voters := map[string]*Member{}
	var first *Member
	for i := range w.Etcd.Members {
		m := &w.Etcd.Members[i]
		if m.ID == member.ID || !m.Healthy || m.Learner {
			continue
		}
		first = cmp.Or(first, m)
		voters[m.Name] = m
	}
	for _, m := range w.Machines {
		if !m.Deleting && voters[m.nodeName()] != nil {
			staying = append(staying, m)
		}
	}
	if len(staying) == 0 {
		return first
	}
	return voters[slices.MaxFunc(staying, w.firstToGo).nodeName()]
}

// memberOf returns the member that is a Machine's, or nil where it has none, and whether that is known. Where the Node of
// the Machine is not known, as after a move to another management cluster, it is the member that is called like the
// Machine, or the only voting one of which nobody knows whose it is.
func (w World) memberOf(m Machine) (member *Member, known bool) {
	if i := slices.IndexFunc(w.Etcd.Members, func(member Member) bool { return member.Name != "" && member.Name == m.nodeName() }); i >= 0 {
		return &w.Etcd.Members[i], true
	}
	var strangers []*Member
	for i := range w.Etcd.Members {
		if !w.Etcd.Members[i].Learner && w.nobodys(w.Etcd.Members[i]) {
			strangers = append(strangers, &w.Etcd.Members[i])
		}
	}
	others := slices.ContainsFunc(w.Machines, func(o Machine) bool { return o.Node == "" && o.Name != m.Name })
	switch {
	case m.Node != "" || len(strangers) == 0:
		return nil, true
	case len(strangers) == 1 && !others:
		return strangers[0], true
	default:
		return nil, false
	}
}

// Member returns the member of etcd that is on the Machine of a name, or nil where it has none, and whether that is known.
func (w World) Member(machine string) (member *Member, known bool) {
	i := slices.IndexFunc(w.Machines, func(m Machine) bool { return m.Name == machine })
	if i < 0 || w.Etcd.Unseen != "" || len(w.Etcd.Members) == 0 {
		return nil, false
	}
	return w.memberOf(w.Machines[i])
}

// mayAddMember is whether a Machine may be about to add a member to etcd, or to start one that it has added.
func (w World) mayAddMember(m Machine) bool {
	if !w.Etcd.SelfJoining || m.Deleting {
		return m.joins()
	}
	member, _ := w.memberOf(m)
	return member == nil
}

// nobodys is whether a member is on no Machine of ours, as far as is known.
func (w World) nobodys(member Member) bool {
	return !slices.ContainsFunc(w.Machines, func(m Machine) bool { return member.Name != "" && member.Name == m.nodeName() })
}

// nodeName is the name of the Machine's Node; before it has joined, the name that it will have on our images.
func (m Machine) nodeName() string {
	if m.Node == "" {
		return m.Name
	}
	return m.Node
}
