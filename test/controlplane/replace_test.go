// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
)

// TestReplace replaces control plane Machines, one at a time and all of them, in control planes of every shape: managers are
// killed at everything that they do on the way, and members are killed, frozen and cut off at every step of it. The short
// form does a part of that, which the seed chooses.
func TestReplace(t *testing.T) {
	t.Parallel()
	all := []shape{
		{name: "1-surge", replicas: 1},
		{name: "3-surge", replicas: 3},
		{name: "5-surge", replicas: 5},
		{name: "3-delete-first", replicas: 3, deleteFirst: true},
		{name: "5-delete-first", replicas: 5, deleteFirst: true},
	}
	for _, s := range all {
		if *shapes != "" && *shapes != s.name || *shapes == "" && !*long && s.replicas == 5 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, pace())
			w.rollOver()
			if *faults == "" {
				w.killManagers()
			}
			w.breakMembers()
			w.rollOver()
			w.end()
		})
	}
}

// pace is how soon managers look again: as released in the long form, whose figures are told to users.
func pace() controller.Pace {
	if *long {
		return controller.Pace{}
	}
	return controller.Pace{Soon: quick, Later: slow}
}

// rollOver replaces all Machines, without trouble.
func (w *world) rollOver() {
	w.Helper()
	w.sing()
	w.script.arm(nil)
	before := w.countReplaced()
	w.rollOut()
	took := w.rest()
	n := w.countReplaced() - before
	if n != int(w.shape.replicas) {
		w.Errorf("%d Machines were replaced, and there are %d", n, w.shape.replicas)
	}
	acts, _ := w.script.done()
	w.Logf("a full rollout took %s and %d acts", took.Round(time.Second/10), len(acts))
	shared.table.count(0, n)
	shared.table.add("none, all of "+w.shape.name, took)
}

func (w *world) countReplaced() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replaced
}

// leader is the Machine whose member leads.
func (w *world) leader() string {
	w.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, n := range w.all() {
			var status *clientv3.StatusResponse
			c, err := n.direct()
			if err == nil {
				status, err = c.Status(w.Context(), c.Endpoints()[0])
			}
			n.mu.Lock()
			leads := err == nil && status.Leader == n.id
			n.mu.Unlock()
			if leads {
				return n.name
			}
		}
	}
	w.Fatal("etcd has no leader")
	return ""
}

// any is any Machine.
func (w *world) any() string {
	nodes := w.all()
	return nodes[w.random.IntN(len(nodes))].name
}

// killManagers records one replacement, and then does it once for each point at which a manager can die on the way.
func (w *world) killManagers() {
	w.Helper()
	w.sing()
	w.script.arm(nil)
	before := w.countReplaced()
	w.outdate(w.leader())
	shared.table.add("none, one of "+w.shape.name, w.rest())
	acts, _ := w.script.done()
	w.Logf("acts of one replacement: %q", acts)
	points := pointsOf(acts)
	w.Logf("these are %d points", len(points))
	if !*long {
		points = pick(w.random, points, 6)
	}
	begin, killed := time.Now(), 0
	for _, p := range points {
		if w.killAt(p) {
			killed++
		}
	}
	n := w.countReplaced() - before
	shared.table.count(killed, n)
	w.Logf("killed at %d of %d points, %d Machines replaced, %s", killed, len(points), n, time.Since(begin).Round(time.Second))
}

// pointsOf are the points at which a manager can die.
func pointsOf(acts []string) (points []death) {
	counts := map[string]int{}
	for _, act := range acts {
		if counts[act]++; counts[act] > 1 && strings.HasPrefix(act, "report") {
			continue // to the world it is the same as the report before
		}
		points = append(points, death{act: act, nth: counts[act]}, death{act: act, nth: counts[act], after: true})
	}
	return points
}

// killAt replaces one Machine, and the manager dies on the way. Reports may be written more or less often than when the
// points were recorded, so a point that does not come has more chances.
func (w *world) killAt(p death) bool {
	w.Helper()
	for range 3 {
		w.sing()
		w.note("---- the manager is to be killed %s", p)
		w.script.arm(&p)
		machine := w.any()
		if p.act == "etcd: move leader" {
			machine = w.leader()
		}
		w.outdate(machine)
		took := w.rest()
		if _, deaths := w.script.done(); deaths == 1 {
			shared.table.add("manager killed, "+w.shape.name, took)
			return true
		}
	}
	shared.table.miss(w.shape.name + ": the manager killed " + p.String())
	return false
}

// pick leaves as many of a list as are wanted, in an order that the seed says.
func pick[T any](random *rand.Rand, list []T, n int) []T {
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), n)]
}
