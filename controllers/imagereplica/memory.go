// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// memory is what a manager remembers of replicas: when the platform was last asked about each, and what has happened
// since. It is what makes a stable replica cost no call. The zero value is ready to use.
type memory struct {
	mu       sync.Mutex
	replicas map[string]*notes
}

// notes are what is remembered of one replica. One pass at a time works with them; events come at any time.
type notes struct {
	uid types.UID

	mu sync.Mutex
	// events counts what happened to the copy or to the session; answered is the count that the last call answers.
	events, answered int
	until            time.Time // when to ask again; zero before the first time
	failures         int
	leaving          bool // whether the last call asked for the removal
}

// of returns the notes of a replica; another replica of the same name has new ones.
func (m *memory) of(replica *ingotv1.ImageReplica) *notes {
	n := m.named(replica.Name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.uid != replica.UID {
		n.uid, n.until, n.failures, n.leaving = replica.UID, time.Time{}, 0, false
	}
	return n
}

func (m *memory) named(name string) *notes {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replicas == nil {
		m.replicas = map[string]*notes{}
	}
	n := m.replicas[name]
	if n == nil {
		n = &notes{}
		m.replicas[name] = n
	}
	return n
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.replicas, name)
}

// happened notes an event.
func (n *notes) happened() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events++
}

// heard is how much has happened so far.
func (n *notes) heard() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events
}

// rests is whether there is nothing to ask yet, and for how long.
func (n *notes) rests(now time.Time) (time.Duration, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.until.Sub(now), n.answered == n.events && now.Before(n.until)
}

// rest notes that the platform was asked: what had happened is answered, and the answer is good for a time, which it
// returns.
func (n *notes) rest(now time.Time, answered int, wait time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answered, n.until = answered, now.Add(wait)
	return wait
}

// ask has the platform asked in the next pass.
func (n *notes) ask() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until = time.Time{}
}

// failed notes one more failure, and returns how many there were before it.
func (n *notes) failed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failures++
	return n.failures - 1
}

// succeeded forgets failures.
func (n *notes) succeeded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failures = 0
}

// releasing notes that the last call asked for the removal.
func (n *notes) releasing() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.leaving {
		n.leaving, n.failures = true, 0
	}
}

// releases is whether the last call asked for the removal.
func (n *notes) releases() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leaving
}
