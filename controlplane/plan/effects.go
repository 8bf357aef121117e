// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What follows is what becomes of a World when all goes well: what a step does at once (carryOut), and what then happens
// by itself (advance). Foresee rests on it, and so does the model of the tests, which adds everything that goes wrong.

// course is a World that goes on.
type course struct{ World }

// Awaited is something that happens by itself, and that a plan waits for.
type Awaited struct {
	// Machine is the Machine that it happens to, empty where it is none.
	Machine string
	What    Happening
}

// Happening is what happens by itself.
type Happening string

const (
	// MachineAsks says that the first Machine waits to be told to make etcd.
	MachineAsks Happening = "MachineAsks"
	// APIServerAnswers says that the API server answers for the first time.
	APIServerAnswers Happening = "APIServerAnswers"
	// MachineDrained says that a Machine that is being deleted is drained, and waits for us.
	MachineDrained Happening = "MachineDrained"
	// MachineJoined says that a Machine has become a Node, and has a voting member of etcd that is healthy.
	MachineJoined Happening = "MachineJoined"
	// RetryPeriodPassed says that another unhealthy Machine may be replaced.
	RetryPeriodPassed Happening = "RetryPeriodPassed"
	// BackupTaken says that etcd is backed up.
	BackupTaken Happening = "BackupTaken"
	// RestorePrepared says that the first Machine can fetch the data of a snapshot.
	RestorePrepared Happening = "RestorePrepared"
)

// carryOut does what a step does to the cluster at once.
func (c *course) carryOut(step Step) {
	switch s := step.(type) {
	case CreateCertificates:
		c.Certificates.Missing = nil
	case WriteKubeconfig:
		c.Kubeconfig = KubeconfigCurrent
	case CreateInfraMachine:
		c.leftover(s.Name).ClonedFrom = s.Template
	case CreateBootstrapConfig:
		config := c.Desired.Config
		config.Role = s.Role
		l := c.leftover(s.Name)
		l.Config, l.RestoredFrom = &config, s.RestoreFrom
	case DeleteLeftover:
		c.forgetLeftover(s.Name)
	case CreateMachine:
		c.createMachine(s)
	case DeleteMachine:
		c.change(s.Name, func(m *Machine) { m.Deleting = true })
	case ReleaseMachine:
		c.Machines = filter(c.Machines, func(m Machine) bool { return m.Name != s.Name })
	case FoundEtcd, RestoreEtcd:
		c.Founding, c.FoundingMessage = FoundingTold, ""
	case MarkInitialized:
		c.Initialized = true
		c.foundEtcd()
	case BackUpEtcd:
		c.Backup = BackupRunning
	case PrepareRestore:
		c.Restore = RestoreRunning
	case MarkRestored:
		c.Restored = s.Snapshot
	case CorrectPeer:
		c.changeMember(s.Member.ID, func(m *Member) { m.Misplaced = false })
	case PromoteLearner:
		c.changeMember(s.Member.ID, func(m *Member) { m.Learner = false })
	case MoveLeader:
		c.changeMember(s.From.ID, func(m *Member) { m.Leader = false })
		c.changeMember(s.To.ID, func(m *Member) { m.Leader = true })
	case ForgetNode:
		c.AbandonedNodes = slices.DeleteFunc(slices.Clone(c.AbandonedNodes), func(node string) bool { return node == s.Node })
	case RemoveMember:
		c.Etcd.Members = slices.DeleteFunc(slices.Clone(c.Etcd.Members), func(m Member) bool { return m.ID == s.Member.ID })
	}
}

// createMachine makes a Machine, the youngest of all, from what was made for it.
func (c *course) createMachine(s CreateMachine) {
	if c.Founding != FoundingByItself {
		c.Founding = FoundingWaits
	}
	l := *c.leftover(s.Name)
	c.forgetLeftover(s.Name)
	var youngest time.Time
	for _, m := range c.Machines {
		if m.Created.After(youngest) {
			youngest = m.Created.Time
		}
	}
	c.Machines = append(c.Machines, Machine{
		Name: s.Name, Version: c.Desired.Version, ClonedFrom: l.ClonedFrom, Config: l.Config,
		Created: metav1.NewTime(youngest.Add(time.Second)), FailureDomain: s.FailureDomain,
		RestoredFrom: s.RestoreFrom,
	})
}

// foundEtcd has the first Machine be the first Node with the first member.
func (c *course) foundEtcd() {
	if len(c.Machines) == 0 {
		return
	}
	m := &c.Machines[0]
	m.Node, m.KubeletVersion = m.nodeName(), cmp.Or(m.KubeletVersion, m.Version)
	c.Etcd = Etcd{Members: []Member{{ID: m.Name, Name: m.Node, Healthy: true, Leader: true, Misplaced: m.RestoredFrom != "" && c.Founding == FoundingByItself}}}
}

// advance lets what is under way end well, and returns what that was.
func (c *course) advance() []Awaited {
	var awaited []Awaited
	for i := range c.Machines {
		if m := &c.Machines[i]; m.Deleting && !m.WaitsForUs {
			m.WaitsForUs = true
			awaited = append(awaited, Awaited{m.Name, MachineDrained})
		}
	}
	switch {
	case c.boots() && c.Founding == FoundingWaits:
		c.Founding, c.FoundingMessage = FoundingWanted, ""
		awaited = append(awaited, Awaited{c.Machines[0].Name, MachineAsks})
	case c.boots() && c.Founding != FoundingWanted:
		c.APIServerAnswers = true
		awaited = append(awaited, Awaited{c.Machines[0].Name, APIServerAnswers})
	case c.Initialized && !c.restores():
		awaited = append(awaited, c.join()...)
	}
	if c.Backup == BackupRunning {
		c.Backup = BackupDone
		awaited = append(awaited, Awaited{"", BackupTaken})
	}
	if c.Restore == RestoreRunning {
		c.Restore = RestoreReady
		awaited = append(awaited, Awaited{"", RestorePrepared})
	}
	if len(awaited) == 0 {
		awaited = c.passRetryPeriod()
	}
	return awaited
}

// passRetryPeriod lets unhealthy Machines be replaced that wait only because the last one was replaced a short time ago.
func (c *course) passRetryPeriod() []Awaited {
	var awaited []Awaited
	for i := range c.Machines {
		if m := &c.Machines[i]; m.RemediationWanted && m.Remediation == RemediationTooSoon {
			m.Remediation = RemediationAllowed
			awaited = append(awaited, Awaited{m.Name, RetryPeriodPassed})
		}
	}
	return awaited
}

// boots is whether the first Machine is on its way to an API server that answers.
func (c *course) boots() bool {
	return len(c.Machines) == 1 && (!c.Initialized || c.restores() && c.Machines[0].RestoredFrom == c.Desired.RestoreFrom) && !c.APIServerAnswers && !c.Machines[0].Deleting && c.Endpoint != "" &&
		len(c.Certificates.Missing)+len(c.Certificates.Invalid) == 0
}

// join has one Machine become a Node, with a member where members are seen. Without a quorum none can.
func (c *course) join() []Awaited {
	i := slices.IndexFunc(c.Machines, func(m Machine) bool { return m.joins() })
	if i < 0 || c.Etcd.Unseen == "" && !c.Etcd.quorate() {
		return nil
	}
	m := &c.Machines[i]
	node := m.Name
	if c.Etcd.Unseen == "" {
		node = c.joinEtcd(*m)
	}
	m.Node, m.KubeletVersion = node, cmp.Or(m.KubeletVersion, m.Version)
	return []Awaited{{m.Name, MachineJoined}}
}

// joinEtcd gives a Machine a healthy voting member, and returns the name of its node.
func (c *course) joinEtcd(m Machine) string {
	i := c.memberToBe(m)
	if i < 0 {
		c.Etcd.Members = append(slices.Clone(c.Etcd.Members), Member{ID: m.Name})
		i = len(c.Etcd.Members) - 1
	}
	member := &c.Etcd.Members[i]
	member.Name, member.Learner, member.Healthy = cmp.Or(member.Name, m.Name), false, true
	return member.Name
}

// memberToBe finds the member of a Machine that joins: one of its name, one that waits for its node, or a healthy one that
// is nobody's, as after a move to another management cluster. It returns -1 where there is none yet.
func (c *course) memberToBe(m Machine) int {
	for _, may := range []func(Member) bool{
		func(member Member) bool { return member.Name == m.Name },
		func(member Member) bool { return member.Name == "" },
		func(member Member) bool { return member.Healthy && c.nobodys(member) },
	} {
		if i := slices.IndexFunc(c.Etcd.Members, may); i >= 0 {
			return i
		}
	}
	return -1
}

func (c *course) change(machine string, do func(*Machine)) {
	for i := range c.Machines {
		if c.Machines[i].Name == machine {
			do(&c.Machines[i])
		}
	}
}

func (c *course) changeMember(id string, do func(*Member)) {
	for i := range c.Etcd.Members {
		if c.Etcd.Members[i].ID == id {
			do(&c.Etcd.Members[i])
		}
	}
}

// leftover returns what was made for a Machine, and notes it where nothing was yet.
func (c *course) leftover(name string) *Leftover {
	for i := range c.Leftovers {
		if c.Leftovers[i].Name == name {
			return &c.Leftovers[i]
		}
	}
	c.Leftovers = append(c.Leftovers, Leftover{Name: name})
	return &c.Leftovers[len(c.Leftovers)-1]
}

func (c *course) forgetLeftover(name string) {
	c.Leftovers = slices.DeleteFunc(slices.Clone(c.Leftovers), func(l Leftover) bool { return l.Name == name })
}

// clone copies everything that changes.
func (w World) clone() World {
	w.Machines = slices.Clone(w.Machines)
	w.Leftovers = slices.Clone(w.Leftovers)
	w.Etcd.Members = slices.Clone(w.Etcd.Members)
	return w
}

// roomiest is the failure domain with the fewest Machines, the first of several; empty where there is no choice.
func (w World) roomiest() string {
	crowd := func(domain string) int {
		return len(filter(w.Machines, func(m Machine) bool { return m.FailureDomain == domain }))
	}
	if len(w.FailureDomains) == 0 {
		return ""
	}
	return slices.MinFunc(w.FailureDomains, func(a, b string) int { return cmp.Compare(crowd(a), crowd(b)) })
}
