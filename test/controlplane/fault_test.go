// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fault is something that goes wrong once while a Machine is replaced.
type fault struct {
	// what is done, to whom, at which event, and how it ends.
	what, whom, at string
	heals          bool
}

func (f fault) String() string {
	return fmt.Sprintf("%s at %q", f.kind(), f.at)
}

// kind is what a person would call it.
func (f fault) kind() string {
	end := "its Machine is found unhealthy"
	if f.heals {
		end = "healed after 4 s"
	}
	switch f.what {
	case changedMind:
		return "all Machines wanted from another template"
	case deletedByHand:
		return f.whom + " deleted by a person"
	case mostFrozen, mostCut:
		return f.what + ", " + end
	default:
		return f.whom + " " + f.what + ", " + end
	}
}

const (
	killed, frozen, cutOff, deaf = "killed", "frozen", "cut off", "with a dead kubelet"
	mostFrozen, mostCut          = "most members frozen", "most members cut off"
	changedMind, deletedByHand   = "changed mind", "deleted by hand"

	goes, comes, another = "the member that goes", "the member that comes", "another member"

	// breathing is how long something is broken before it is healed or found.
	breathing = 4 * time.Second
)

// faultsOf are all faults that a control plane of a shape may have. Those that etcd cannot survive are healed in any case.
func faultsOf(s shape) (list []fault) {
	surge := []string{"created", "added", "started", "promoted", "registered", "deleted", "drained", "led away", "removed", "released", "gone"}
	for i, at := range surge {
		whoms := []string{goes}
		if i >= 2 || s.deleteFirst && s.replicas > 1 {
			whoms = append(whoms, comes)
		}
		if s.replicas > 1 {
			whoms = append(whoms, another)
		}
		for _, whom := range whoms {
			for _, what := range []string{killed, frozen, cutOff, deaf} {
				list = append(list, fault{what, whom, at, true}, fault{what, whom, at, false})
			}
		}
		if s.replicas > 1 {
			list = append(list, fault{mostFrozen, "", at, true}, fault{mostCut, "", at, true}, fault{deletedByHand, another, at, true})
		}
		list = append(list, fault{changedMind, "", at, true}, fault{deletedByHand, comes, at, true})
	}
	// A join that fails for ever: before the member starts, before it has a vote, before the Node is there.
	return append(list, fault{killed, comes, "added", false})
}

// breakMembers replaces Machines, each time with a fault.
func (w *world) breakMembers() {
	w.Helper()
	before, begin := w.countReplaced(), time.Now()
	var list []fault
	for _, f := range faultsOf(w.shape) {
		if strings.Contains(f.String(), *faults) {
			list = append(list, f)
		}
	}
	n := cmp.Or(*suffer, 6)
	switch {
	case *faults != "":
		n = len(list)
	case *long:
		n = cmp.Or(*suffer, 50)
	}
	happened := 0
	for _, f := range pick(w.random, list, n) {
		if w.suffer(f) {
			happened++
		}
	}
	n = w.countReplaced() - before
	shared.table.count(0, n)
	w.Logf("%d faults of %d, %d Machines replaced, %s", happened, len(list), n, time.Since(begin).Round(time.Second))
}

// suffering is one replacement with a fault.
type suffering struct {
	fault

	world *world
	goes  string

	mu    sync.Mutex
	comes string
	// victims are whom it happened to; happened is whether it did.
	victims  []*node
	happened chan struct{}
	done     bool
	// forever is whether they never come back.
	forever bool
}

// suffer replaces one Machine and lets a fault happen on the way.
func (w *world) suffer(f fault) bool {
	w.Helper()
	w.sing()
	w.note("---- %s", f)
	w.script.arm(nil)
	s := &suffering{fault: f, world: w, happened: make(chan struct{})}
	s.goes = w.any()
	if w.random.IntN(2) == 0 {
		s.goes = w.leader()
	}
	w.on(s.hear)
	w.outdate(s.goes)
	begin := s.await()
	if begin.IsZero() {
		w.on(nil)
		shared.table.miss(w.shape.name + ": " + f.String())
		w.rest()
		return false
	}
	w.rest()
	w.on(nil)
	shared.table.add(f.kind(), time.Since(begin))
	return true
}

// await waits until the fault has happened and ended, and returns when it ended, or zero where it never happens.
func (s *suffering) await() time.Time {
	s.world.Helper()
	select {
	case <-s.happened:
	case <-s.restful():
		return time.Time{}
	}
	select {
	case <-time.After(breathing):
	case <-s.world.Context().Done():
	}
	begin := time.Now()
	for _, n := range s.victims {
		var err error
		if s.forever {
			err = s.find(n)
		} else {
			s.world.note("%s is healed", n.name)
			err = n.heal()
			if n.at() == registered {
				s.world.probe(n, corev1.ConditionTrue)
			}
		}
		if err != nil {
			s.world.Fatal(err)
		}
	}
	return begin
}

// find does what others do with a node of which nobody hears any more.
func (s *suffering) find(n *node) error {
	w := s.world
	n.mu.Lock()
	was := n.stage == registered && !n.stopped
	n.mu.Unlock()
	if was {
		if err := client.IgnoreNotFound(w.eventually(func(ctx context.Context) error {
			return client.IgnoreNotFound(w.nodeReady(ctx, n.name, corev1.ConditionUnknown))
		})); err != nil {
			return err
		}
	}
	return w.findUnhealthy(n.name)
}

// restful is closed when the replacement is over and nothing has happened.
func (s *suffering) restful() <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for deadline := time.Now().Add(patience); time.Now().Before(deadline) && s.world.accused() == ""; time.Sleep(200 * time.Millisecond) {
			select {
			case <-s.happened:
				return
			default:
			}
			if s.world.unrest() == "" {
				return
			}
		}
	}()
	return over
}

// hear is told of all that happens.
func (s *suffering) hear(event, machine string) {
	s.mu.Lock()
	if event == "created" && s.comes == "" {
		s.comes = machine
	}
	now := !s.done && event == s.at
	s.done = s.done || now
	s.mu.Unlock()
	if !now {
		return
	}
	s.strike()
	close(s.happened)
}

// strike lets the fault happen.
func (s *suffering) strike() {
	w := s.world
	switch s.what {
	case changedMind:
		go w.rollOut()
		return
	case deletedByHand:
		s.deleteByHand()
		return
	case mostFrozen, mostCut:
		s.victims = s.most()
	default:
		if n := s.victim(); n != nil {
			s.victims = []*node{n}
		}
	}
	s.forever = !s.heals && s.survivable()
	for _, n := range s.victims {
		w.note("%s: %s (for ever: %t)", n.name, s.what, s.forever)
		s.harm(n)
	}
}

func (s *suffering) harm(n *node) {
	switch s.what {
	case killed:
		if s.forever {
			go n.perish() // it may be the one that tells
			n.end()
			return
		}
		n.kill()
	case frozen, mostFrozen:
		n.freeze()
	case cutOff, mostCut:
		n.partition()
	case deaf:
		n.deafen()
	}
	if n.at() == registered && s.what != deaf {
		s.world.probe(n, corev1.ConditionFalse)
	}
	if s.forever {
		n.mu.Lock()
		n.gone = true
		n.mu.Unlock()
	}
}

func (s *suffering) victim() *node {
	switch s.whom {
	case goes:
		return s.world.node(s.goes)
	case comes:
		return s.world.node(s.comes)
	default:
		return s.bystander()
	}
}

// bystander is a node that neither comes nor goes: the one that leads, if it is among them.
func (s *suffering) bystander() *node {
	var found *node
	for _, n := range s.world.all() {
		if n.name == s.goes || n.name == s.comes || !n.serves() {
			continue
		}
		if found == nil || s.world.random.IntN(2) == 0 {
			found = n
		}
	}
	return found
}

// most are so many voters that etcd loses its quorum without them.
func (s *suffering) most() (list []*node) {
	var voters []*node
	for _, n := range s.world.all() {
		if n.serves() {
			voters = append(voters, n)
		}
	}
	return voters[:(len(voters)+1)/2]
}

// survivable is whether etcd keeps its quorum when the victims never come back.
func (s *suffering) survivable() bool {
	voters, well := 0, 0
	for _, m := range s.world.membersNow(s.world.Context()) {
		if m.IsLearner {
			continue
		}
		voters++
		hit := false
		for _, v := range s.victims {
			hit = hit || v.name == m.Name
		}
		if n := s.world.node(m.Name); n != nil && n.serves() && !hit {
			well++
		}
	}
	return s.what == deaf && voters > 1 || well > voters/2
}

func (s *suffering) deleteByHand() {
	name := s.comes
	if s.whom == another {
		if n := s.bystander(); n != nil {
			name = n.name
		}
	}
	s.world.note("a person deletes %s", name)
	m := &clusterv1.Machine{}
	m.Namespace, m.Name = s.world.namespace, name
	if err := client.IgnoreNotFound(shared.client.Delete(s.world.Context(), m)); err != nil {
		s.world.note("deleting it: %v", err)
	}
}
