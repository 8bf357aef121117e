// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// memory is what a manager remembers of endpoints. The zero value is ready to use.
type memory struct {
	mu        sync.Mutex
	endpoints map[string]*notes
}

// notes are what is remembered of one endpoint. One pass at a time works with them; events come at any time.
type notes struct {
	uid types.UID

	mu sync.Mutex
	// events counts what happened to the session; heard and sweptAfter are the count at the last check and the last sweep.
	events, heard, sweptAfter int
	// moved is whether machines of the endpoint were deleted because they moved to another management cluster.
	moved bool

	open   session.Session
	told   answer
	askAt  time.Time // when the answer is too old; zero before the first one
	swept  time.Time // when orphans were last looked for; zero before the first time
	sweep  time.Time // when they are to be looked for next
	others map[string]bool

	granted granted
}

// granted is what was told of the account's privileges, by which session and after how many events, and for what is used.
type granted struct {
	by     platform.Platform
	events int
	used   platform.Uses
	told   flow.Outcome
	until  time.Time
}

// of returns the notes of an endpoint; another endpoint of the same name has new ones.
func (m *memory) of(endpoint *ingotv1.PlatformEndpoint) *notes {
	n := m.named(endpoint.Name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.uid != endpoint.UID {
		n.uid, n.open, n.askAt, n.swept, n.sweep, n.others, n.granted = endpoint.UID, nil, time.Time{}, time.Time{}, time.Time{}, nil, granted{}
	}
	return n
}

func (m *memory) named(name string) *notes {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.endpoints == nil {
		m.endpoints = map[string]*notes{}
	}
	n := m.endpoints[name]
	if n == nil {
		n = &notes{}
		m.endpoints[name] = n
	}
	return n
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.endpoints, name)
}

// sessionChanged notes that something happened to the session.
func (n *notes) sessionChanged() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events++
}

// machineMoved notes that a machine was deleted because it moved.
func (n *notes) machineMoved() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moved = true
}

// movedAway is whether a machine was deleted because it moved.
func (n *notes) movedAway() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.moved
}

// moveRecorded notes that it is on record that machines moved.
func (n *notes) moveRecorded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moved = false
}

// check returns what the endpoint says: from memory while the session is the same, nothing happened to it and the answer
// is not too old.
func (n *notes) check(now time.Time, open session.Session, ask func() answer) answer {
	n.mu.Lock()
	fresh := n.open == open && n.heard == n.events && now.Before(n.askAt)
	heard := n.events
	n.mu.Unlock()
	if fresh {
		return n.told
	}
	told := ask()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open, n.heard, n.told, n.askAt = open, heard, told, now.Add(told.interval())
	return told
}

// nextCheck is when the endpoint is to be asked again.
func (n *notes) nextCheck() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.askAt
}

// privileges returns what was told of the account's privileges, and whether they are to be asked for: because the session is
// another one or something happened to it, because something else is used, or because that was told long ago.
func (n *notes) privileges(by platform.Platform, used platform.Uses, now time.Time) (told flow.Outcome, due bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.granted
	return g.told, g.by != by || g.events != n.events || !now.Before(g.until) || !equality.Semantic.DeepEqual(g.used, used)
}

// toldPrivileges notes what was told.
func (n *notes) toldPrivileges(by platform.Platform, used platform.Uses, told flow.Outcome, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.granted = granted{by: by, events: n.heard, used: used, told: told, until: until}
}

// privilegesAt is when the account's privileges are to be asked for again; zero where they are not.
func (n *notes) privilegesAt() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.granted.until
}

// sweepAt is when orphans are to be looked for: at once for the first time, soon after something happened to the session.
func (n *notes) sweepAt() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.swept.IsZero() && n.sweptAfter != n.events {
		return n.swept.Add(sweepFloor)
	}
	return n.sweep
}

// sweeping notes that orphans are being looked for now; the function that it returns notes when to do so again.
func (n *notes) sweeping(now time.Time) (again func(after time.Duration)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := n.events
	return func(after time.Duration) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.swept, n.sweptAfter, n.sweep = now, events, now.Add(after)
	}
}

// unsweep forgets the last look for orphans: what came of it was not written.
func (n *notes) unsweep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.swept, n.sweep = time.Time{}, time.Time{}
}

// next is how long until something is to be done without an event; 0 if nothing is.
func (n *notes) next(now time.Time) time.Duration {
	wait := time.Duration(0)
	for _, at := range []time.Time{n.nextCheck(), n.sweepAt(), n.privilegesAt()} {
		if at.After(now) {
			wait = sooner(wait, at.Sub(now))
		}
	}
	return wait
}

// refused notes that a uuid is not ours after all, and returns whether that is news.
func (n *notes) refused(uuid string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.others == nil {
		n.others = map[string]bool{}
	}
	news := !n.others[uuid]
	n.others[uuid] = true
	return news
}
