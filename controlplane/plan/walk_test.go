// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// The walks below carry plans out on a model of a control plane, in which managers crash between steps, nodes die and come
// back, joins fail, people delete Machines and change their mind, and etcd is not always seen. Members that cannot agree tell
// of old times, and the world goes on between a look and what is done about it: etcd then refuses what it cannot survive. After
// every step the model checks that nothing we did took etcd below its quorum. In the end everything heals, and the control plane must come to
// rest as it is wanted: nothing held, no member of nobody, nothing left over.
const (
	walks   = 1000
	actions = 120
	// settling is how many passes everything may take to come to rest.
	settling = 400
	// startup is how many rounds a Machine may wait for another's learner until it counts as unhealthy.
	startup = 40
)

func TestWalks(t *testing.T) {
	t.Parallel()
	steps, passes := 0, 0
	for seed := range uint64(walks) {
		m := newModel(t, seed)
		if m.chance(3) {
			m.note("everything happens before the API server has answered")
		} else {
			m.grow()
		}
		for range actions {
			m.happen()
		}
		if m.chance(2) {
			m.loseOneBesideJoin()
		}
		m.rest()
		steps += m.steps
		passes += m.passes
	}
	t.Logf("%d walks: %d plans, %d steps carried out", walks, passes, steps)
	if passes < 100_000 {
		t.Errorf("only %d plans were made", passes)
	}
}

// node is what there is of a Machine in the model.
type node struct {
	plan.Machine

	// stage is how far it has come: booting, joining as a learner, joined.
	stage stage
	// dead is whether nothing on it answers; gone is whether it never will again.
	dead, gone bool
	// deaf is whether its kubelet is dead: its member goes on, and nobody of us reaches it.
	deaf bool
	// stuck is whether its join never succeeds.
	stuck bool
	// hidden is whether it is not known which Node is its, as after a move.
	hidden bool
	// byUs is whether we delete it, and not a person.
	byUs bool
	// unwell is for how many rounds it has been unhealthy, waited for how many it has waited for another's learner.
	unwell, waited int
}

type stage int

const (
	booting stage = iota
	learning
	joined
)

// model is a control plane and everything that can happen to it.
type model struct {
	*testing.T

	random *rand.Rand
	seed   uint64
	now    time.Time
	names  int

	world   plan.World
	nodes   []*node
	members []plan.Member
	// remediation is whether unhealthy Machines may be replaced.
	remediation plan.Remediation
	// past are the members as they were, the latest last.
	past [][]plan.Member
	// healing is whether nothing bad happens any more.
	healing bool
	// moved is whether the world has gone on since it was looked at.
	moved bool

	steps, passes int
	history       []string
	// created are the Machines that we made, in order.
	created []string
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m.world = plan.World{
		ControlPlane: "cp", Cluster: "c", InfrastructureProvisioned: true, Endpoint: "192.0.2.10:6443", Kubeconfig: plan.KubeconfigCurrent,
		Desired:        plan.Desired{Replicas: m.oneOf(1, 3, 5), Version: "v1.36.3", Template: template(0), DeleteFirst: m.chance(3)},
		FailureDomains: []string{"a", "b", "c"},
	}
	return m
}

func (m *model) chance(oneIn int) bool { return m.random.IntN(oneIn) == 0 }

func (m *model) oneOf(values ...int32) int32 { return values[m.random.IntN(len(values))] }

func (m *model) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.Helper()
	m.Fatalf("seed %d: %s\nhistory:\n  %s", m.seed, fmt.Sprintf(format, args...), strings.Join(m.history[max(0, len(m.history)-60):], "\n  "))
}

// grow brings the control plane up without trouble.
func (m *model) grow() {
	m.healing = true
	for range settling {
		if m.settled() {
			m.healing = false
			return
		}
		m.progress()
		m.pass(false)
	}
	m.fail("it never comes up: %+v", plan.Make(m.look()))
}

// rest heals everything and waits until nothing is to be done any more.
func (m *model) rest() {
	m.healing = true
	for _, n := range m.nodes {
		n.dead, n.hidden = n.dead && n.gone, false
	}
	for _, n := range m.nodes {
		// A dead kubelet need not be mended where all others answer: its Machine is replaced.
		n.deaf = n.deaf && m.chance(2) && m.world.Initialized && m.othersAnswer(n)
	}
	m.world.Etcd.Unseen, m.world.Backup, m.remediation = "", plan.BackupNone, plan.RemediationAllowed
	m.note("everything heals")
	for range settling {
		if m.settled() {
			return
		}
		m.progress()
		m.pass(false)
	}
	m.fail("it never comes to rest: %+v\nmembers %+v\nplan %+v", m.look().Machines, m.members, plan.Make(m.look()))
}

// othersAnswer is whether all voters answer besides that of a node.
func (m *model) othersAnswer(n *node) bool {
	others := slices.DeleteFunc(m.seen(), func(member plan.Member) bool { return member.Learner || member.Name == n.Node })
	return len(others) > 0 && !slices.ContainsFunc(others, func(member plan.Member) bool {
		o := m.on(member.Name)
		return o == nil || o.dead || o.deaf
	})
}

// settled is whether everything is as it is wanted.
func (m *model) settled() bool {
	w := m.look()
	p := plan.Make(w)
	if len(p.Steps)+len(p.Held) > 0 {
		return false
	}
	if !w.Initialized || len(w.Machines) != int(w.Desired.Replicas) || len(m.members) != len(w.Machines) || len(w.Leftovers) > 0 || len(w.AbandonedNodes) > 0 {
		m.fail("nothing is to be done, and it is not as it is wanted: %+v, members %+v, leftovers %+v, abandoned Nodes %v", w.Machines, m.members, w.Leftovers, w.AbandonedNodes)
	}
	for _, machine := range w.Machines {
		if d := plan.Differences(w.Desired, machine); len(d) > 0 {
			m.fail("nothing is to be done, and %s is not as it is wanted: %v", machine.Name, d)
		}
	}
	return true
}

// look is what a manager sees.
func (m *model) look() plan.World {
	w := m.world
	m.names++
	w.NextName = fmt.Sprintf("cp-%05d", m.names)
	w.Machines = nil
	for _, n := range m.nodes {
		machine := n.Machine
		if n.hidden {
			machine.Node = ""
		}
		machine.Remediation = m.remediation
		w.Machines = append(w.Machines, machine)
		if !w.Initialized && n.stage == joined && !n.dead {
			w.APIServerAnswers = true
		}
	}
	slices.SortFunc(w.Machines, func(a, b plan.Machine) int { return strings.Compare(a.Name, b.Name) })
	if w.FailureDomain = plan.Roomiest(w); !m.healing && m.chance(3) {
		w.FailureDomain = w.FailureDomains[m.random.IntN(3)]
	}
	if w.Etcd.Unseen == "" && w.Initialized {
		w.Etcd = m.reached()
	}
	return w
}

// reached is what a manager hears of etcd, through kubelets that may be dead.
func (m *model) reached() plan.Etcd {
	deaf := func(member plan.Member) bool { n := m.on(member.Name); return n != nil && n.deaf }
	members := m.seen()
	if !slices.ContainsFunc(members, func(member plan.Member) bool { return member.Healthy && !member.Learner && !deaf(member) }) && m.quorate() {
		return plan.Etcd{Unseen: "no kubelet answers"}
	}
	if !m.quorate() || !m.healing && m.chance(20) {
		return plan.Etcd{Members: m.unagreed()}
	}
	for i := range members {
		if deaf(members[i]) {
			members[i].Healthy, members[i].Leader = false, false
		}
	}
	return plan.Etcd{Members: members}
}

// unagreed is what one member tells when nobody agrees with it: the members as they are or were, and none of them healthy.
func (m *model) unagreed() []plan.Member {
	const back = 6
	recent := append(slices.Clone(m.past[max(0, len(m.past)-back):]), m.members)
	list := slices.Clone(recent[m.random.IntN(len(recent))])
	for i := range list {
		list[i].Healthy, list[i].Leader = false, false
	}
	return list
}

// remember keeps the members as they are before they change.
func (m *model) remember() { m.past = append(m.past, slices.Clone(m.members)) }

// seen are the members with their health now, and a leader among the healthy ones.
func (m *model) seen() []plan.Member {
	members := slices.Clone(m.members)
	led := false
	for i := range members {
		n := m.on(members[i].Name)
		members[i].Healthy = members[i].Name != "" && n != nil && !n.dead
		members[i].Leader = members[i].Leader && members[i].Healthy && !members[i].Learner
		led = led || members[i].Leader
	}
	for i := range members {
		if !led && members[i].Healthy && !members[i].Learner {
			members[i].Leader, led = true, true
		}
	}
	return members
}

// nodeOf is what the Node of a Machine is called: on our images like the Machine, on others as their users like it.
func nodeOf(machine string) string {
	if machine[len(machine)-1]%2 == 0 {
		return machine
	}
	return "node-of-" + machine
}

// on returns the Machine of a Node.
func (m *model) on(nodeName string) *node {
	i := slices.IndexFunc(m.nodes, func(n *node) bool { return n.Node == nodeName })
	if nodeName == "" || i < 0 {
		return nil
	}
	return m.nodes[i]
}

func (m *model) node(name string) *node {
	i := slices.IndexFunc(m.nodes, func(n *node) bool { return n.Name == name })
	if name == "" || i < 0 {
		return nil
	}
	return m.nodes[i]
}

func (m *model) quorate() bool {
	all, well := 0, 0
	for _, member := range m.seen() {
		if !member.Learner {
			all++
			if member.Healthy {
				well++
			}
		}
	}
	return well > all/2
}

// takesMember is whether etcd takes another member: one learner at a time, and none while a member that votes is away.
func (m *model) takesMember() bool {
	return !slices.ContainsFunc(m.seen(), func(member plan.Member) bool { return member.Learner || !member.Healthy })
}

// happen lets one thing happen, good or bad.
func (m *model) happen() {
	switch m.random.IntN(13) {
	case 0:
		m.world.Desired.Template = template(m.random.IntN(3))
		m.note("the template is %s now", m.world.Desired.Template.Name)
	case 1:
		m.world.Desired.Replicas = m.oneOf(1, 3, 5)
		m.note("%d replicas are wanted now", m.world.Desired.Replicas)
	case 2:
		m.breakNode()
	case 3:
		m.mendNode()
	case 4:
		m.deleteByHand()
	case 5:
		m.world.Etcd.Unseen = []string{"", "no route to host"}[m.random.IntN(2)]
		m.world.Etcd.Members = nil
		m.note("etcd is unseen: %q", m.world.Etcd.Unseen)
	case 6:
		m.world.Backup = []plan.Backup{plan.BackupNone, plan.BackupFailed, plan.BackupDone, plan.BackupRunning}[m.random.IntN(4)]
		m.remediation = []plan.Remediation{plan.RemediationAllowed, plan.RemediationTooSoon, plan.RemediationExhausted}[m.random.IntN(3)]
	case 7:
		for _, n := range m.nodes {
			n.hidden = !n.hidden && m.chance(2)
		}
		m.note("of some Machines it is not known which Nodes are theirs")
	default:
		m.progress()
	}
	m.pass(m.chance(4))
}

// breakNode has a node die, for ever only where etcd survives that: what nobody can heal proves nothing about us.
func (m *model) breakNode() {
	if len(m.nodes) == 0 {
		return
	}
	n := m.nodes[m.random.IntN(len(m.nodes))]
	if n.dead {
		return
	}
	if m.chance(4) {
		n.deaf = true
		m.note("the kubelet of %s dies", n.Name)
		return
	}
	n.dead = true
	if m.chance(2) && m.quorate() {
		n.gone = true
	}
	m.note("%s dies (for ever: %t)", n.Name, n.gone)
}

// loseOneBesideJoin has a voter die for ever just when another Machine has been made and has not begun to join.
func (m *model) loseOneBesideJoin() {
	for range settling {
		for _, n := range m.nodes {
			if !n.joining() || !m.quorate() {
				continue
			}
			i := slices.IndexFunc(m.nodes, func(o *node) bool { return m.votes(o) && !o.dead })
			if i < 0 {
				continue
			}
			m.nodes[i].dead, m.nodes[i].gone = true, true
			if !m.quorate() {
				m.nodes[i].dead, m.nodes[i].gone = false, false
				return
			}
			m.note("%s dies for ever while %s joins", m.nodes[i].Name, n.Name)
			return
		}
		if m.settled() {
			m.world.Desired.Template = template(m.random.IntN(3))
		}
		m.healing = true
		m.progress()
		m.pass(false)
	}
}

// joining is whether a Machine was made and etcd does not know it yet.
func (n *node) joining() bool {
	return n.stage == booting && !n.Deleting && !n.dead && !n.stuck
}

func (m *model) mendNode() {
	for _, n := range m.nodes {
		if n.dead && !n.gone {
			n.dead = false
			m.note("%s is back", n.Name)
			return
		}
		if n.deaf {
			n.deaf = false
			m.note("the kubelet of %s is back", n.Name)
			return
		}
	}
}

func (m *model) deleteByHand() {
	if len(m.nodes) == 0 {
		return
	}
	n := m.nodes[m.random.IntN(len(m.nodes))]
	n.Deleting = true
	m.note("a person deletes %s", n.Name)
}

// progress lets time pass: Machines boot and join, leave, and are found unhealthy.
func (m *model) progress() {
	m.now = m.now.Add(time.Minute)
	if m.world.Backup == plan.BackupRunning {
		m.world.Backup = plan.BackupDone
	}
	for _, n := range slices.Clone(m.nodes) {
		if n.Deleting && !n.WaitsForUs {
			n.WaitsForUs = true
			m.note("%s is drained", n.Name)
			continue
		}
		if !n.dead && !n.stuck { // kubeadm does not know that its Machine is being deleted
			m.join(n)
		}
		n.Trouble = ""
		if n.stage == booting && slices.ContainsFunc(m.members, func(member plan.Member) bool { return member.Learner }) {
			n.waited++
		}
		if n.dead || n.deaf || n.stuck || n.waited > startup {
			n.unwell++
			if n.Node != "" {
				n.Trouble = "Node is not ready"
			}
		} else {
			n.unwell = 0
		}
		n.RemediationWanted = n.unwell > 3
	}
}

// join takes a Machine one step further into the cluster.
func (m *model) join(n *node) {
	if n.stage == booting && m.world.Initialized && !m.takesMember() {
		return // kubeadm tries again
	}
	if !m.healing && n.stage < joined && m.chance(6) {
		n.stuck = true
		m.note("the join of %s fails", n.Name)
		return
	}
	switch n.stage {
	case joined:
	case booting:
		if !m.world.Initialized {
			n.stage, n.Node = joined, nodeOf(n.Name)
			m.members = append(m.members, plan.Member{ID: "id-" + n.Name, Name: n.Node})
			return
		}
		n.stage = learning
		m.remember()
		m.members = append(m.members, plan.Member{ID: "id-" + n.Name, Learner: true})
		m.note("%s is a learner", n.Name)
	case learning:
		i := slices.IndexFunc(m.members, func(member plan.Member) bool { return member.ID == "id-"+n.Name })
		switch {
		case i < 0:
			n.stuck = true // its member was taken away, and kubeadm gives up
			return
		case !m.quorate():
			return
		}
		n.stage, n.Node = joined, nodeOf(n.Name)
		m.remember()
		m.members[i].Name = n.Node
		m.members[i].Learner = !m.healing && m.chance(5) // kubeadm was interrupted
		m.note("%s has joined (a learner still: %t)", n.Name, m.members[i].Learner)
	}
}

// pass is one pass of a manager, which may crash between two steps.
func (m *model) pass(crashes bool) {
	m.passes++
	w := m.look()
	p := plan.Make(w)
	if m.passes%50 == 0 {
		m.expectForecast(w)
	}
	m.moved = false
	if !m.healing && len(p.Steps) > 0 && m.chance(4) {
		m.goOn()
	}
	for i, step := range p.Steps {
		if crashes && m.chance(len(p.Steps)-i+1) {
			m.note("the manager crashes before: %s", step)
			return
		}
		m.note("we %s", step)
		m.steps++
		if !m.carryOut(step) {
			m.note("etcd refuses")
			break
		}
	}
	for _, held := range p.Held {
		if held.Reason == "" || held.Message == "" {
			m.fail("something is held without a reason or a message: %+v", held)
		}
	}
}

// goOn lets the world go on between a look and what is done about it.
func (m *model) goOn() {
	m.moved = true
	m.note("meanwhile")
	m.progress()
	if m.chance(2) {
		m.breakNode()
	}
}

// carryOut does to the model what a step does to the cluster, and fails when it must not be done. It returns whether it is
// done: etcd refuses what it could not survive, which only a world that has gone on excuses.
func (m *model) carryOut(step plan.Step) bool {
	m.Helper()
	switch s := step.(type) {
	case plan.CreateInfraMachine, plan.CreateBootstrapConfig, plan.DeleteLeftover, plan.WriteKubeconfig, plan.CreateCertificates, plan.BackUpEtcd:
		plan.CarryOut(&m.world, step)
	case plan.CreateMachine:
		m.create(s)
	case plan.MarkInitialized:
		m.world.Initialized = true
	case plan.RecordRemediation:
	case plan.ForgetNode:
		m.forget(s.Node)
	case plan.DeleteMachine:
		m.delete(s.Name)
	case plan.ReleaseMachine:
		m.release(s.Name)
	case plan.PromoteLearner:
		return m.change(s, s.Member)
	case plan.MoveLeader:
		return m.change(s, s.To)
	case plan.RemoveMember:
		return m.change(s, s.Member)
	default:
		m.fail("the model does not know the step %s", step)
	}
	return true
}

// change changes etcd, which it can only with a quorum, and must have one afterwards.
func (m *model) change(step plan.Step, member plan.Member) bool {
	m.Helper()
	if !slices.ContainsFunc(m.members, func(o plan.Member) bool { return o.ID == member.ID }) {
		m.fail("there is no etcd member %s", member.ID)
	}
	before := slices.Clone(m.members)
	could := m.quorate()
	if !could && !m.moved {
		m.fail("etcd has no quorum, and we try to change it")
	}
	m.remember()
	w := plan.World{Etcd: plan.Etcd{Members: slices.Clone(m.members)}}
	plan.CarryOut(&w, step)
	m.members = w.Etcd.Members
	if could && m.quorate() {
		return true
	}
	if !m.moved {
		m.fail("we took etcd below its quorum: %+v", m.seen())
	}
	m.members = before
	return false
}

func (m *model) create(s plan.CreateMachine) {
	m.Helper()
	joining := slices.ContainsFunc(m.nodes, func(n *node) bool { return n.Node == "" && !n.Deleting })
	if joining {
		m.fail("two Machines join at a time")
	}
	plan.CarryOut(&m.world, s)
	machine := m.world.Machines[0]
	m.world.Machines = nil
	machine.Created = metav1.NewTime(m.now)
	m.nodes = append(m.nodes, &node{Machine: machine})
	m.created = append(m.created, s.Name)
	if wanted := int(m.world.Desired.Replicas); m.staying() > wanted+1 {
		m.fail("there are %d Machines, and %d are wanted", m.staying(), wanted)
	}
}

func (m *model) staying() (n int) {
	for _, node := range m.nodes {
		if !node.Deleting {
			n++
		}
	}
	return n
}

func (m *model) delete(name string) {
	m.Helper()
	n := m.node(name)
	if n == nil {
		m.fail("there is no Machine %s", name)
	}
	// A person may delete as many as they like. We take one healthy member at a time.
	others := slices.ContainsFunc(m.nodes, func(o *node) bool { return o != n && o.Deleting && o.byUs && !o.dead })
	if others && !n.dead && !n.deaf && n.stage == joined && !m.moved {
		m.fail("two healthy Machines are taken away at a time")
	}
	if m.world.Initialized && m.votes(n) && !n.dead && !n.deaf && m.staying() == 1 && !m.moved { // it may have joined meanwhile: its hook keeps it
		m.fail("the last healthy Machine is deleted")
	}
	n.Deleting, n.byUs = true, true
}

// votes is whether a Machine has a member that votes.
func (m *model) votes(n *node) bool {
	return slices.ContainsFunc(m.members, func(member plan.Member) bool { return n.Node != "" && member.Name == n.Node && !member.Learner })
}

// release lets a Machine go. Whatever member it has dies with it.
func (m *model) release(name string) {
	m.Helper()
	n := m.node(name)
	if n == nil || !n.WaitsForUs {
		m.fail("Machine %s does not wait for us", name)
	}
	if !m.world.Initialized {
		m.members = nil // nothing is promised before the API server has answered
	}
	if m.votes(n) {
		m.fail("Machine %s is let go with its member", name)
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(o *node) bool { return o == n })
	if n.Node != "" && m.staying() == 0 { // Cluster API removes no Node then
		m.world.AbandonedNodes = append(m.world.AbandonedNodes, n.Node)
	}
}

// forget removes a Node, which must be nobody's.
func (m *model) forget(name string) {
	m.Helper()
	if m.on(name) != nil {
		m.fail("Node %s has a Machine and is removed", name)
	}
	plan.CarryOut(&m.world, plan.ForgetNode{Node: name})
}
