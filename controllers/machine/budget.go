// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// turnBound is how long a machine may keep its turn. A guest that never takes an address must not keep others out for
// ever.
const turnBound = 10 * time.Minute

// budget lets a limited number of machines per endpoint be in the making at once: from the first call that makes
// something until the first address. Those that wait get their turn in the order in which they came, control planes
// first. It is memory of one manager: after a restart machines that are in the making take their turn again. The zero
// value is not usable; see newBudget.
type budget struct {
	clock clock.PassiveClock
	// wake is told of a machine whose turn has come. It must not call back.
	wake func(client.ObjectKey)
	// waited is told how long a machine waited for the turn that it gets. It must not call back.
	waited func(endpoint string, wait time.Duration)

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is the budget of one endpoint.
type lane struct {
	making  map[client.ObjectKey]time.Time // since when
	waiting []waiter
}

type waiter struct {
	key          client.ObjectKey
	controlPlane bool
	since        time.Time
}

func newBudget(clk clock.PassiveClock, wake func(client.ObjectKey)) *budget {
	return &budget{clock: clk, wake: wake, waited: func(string, time.Duration) {}, lanes: map[string]*lane{}}
}

// enter asks for a turn. A machine that has one keeps it; one that gets none is remembered and woken. One more place
// than limit is there for control planes. waited is how long the machine has waited so far.
func (b *budget) enter(endpoint string, key client.ObjectKey, limit int, controlPlane bool) (granted bool, waited time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, now := b.lane(endpoint), b.clock.Now()
	if _, has := l.making[key]; has {
		return true, 0
	}
	since := now
	if i := slices.IndexFunc(l.waiting, func(w waiter) bool { return w.key == key }); i >= 0 {
		since = l.waiting[i].since
	} else {
		l.queue(waiter{key: key, controlPlane: controlPlane, since: now})
	}
	for _, admitted := range l.admit(now, limit) {
		b.waited(endpoint, now.Sub(admitted.since))
		if admitted.key != key {
			b.wake(admitted.key)
		}
	}
	_, granted = l.making[key]
	return granted, now.Sub(since)
}

// occupy gives a machine its turn without asking: it is in the making already.
func (b *budget) occupy(endpoint string, key client.ObjectKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lane(endpoint)
	if _, has := l.making[key]; !has {
		l.making[key] = b.clock.Now()
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(w waiter) bool { return w.key == key })
}

// making is for how long a machine has had its turn; 0 when it has none.
func (b *budget) making(endpoint string, key client.ObjectKey) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, has := b.lane(endpoint).making[key]
	if !has {
		return 0
	}
	return b.clock.Since(since)
}

func (b *budget) lane(endpoint string) *lane {
	l := b.lanes[endpoint]
	if l == nil {
		l = &lane{making: map[client.ObjectKey]time.Time{}}
		b.lanes[endpoint] = l
	}
	return l
}

// leave gives a turn back, wherever the machine has one or waits for one. Who is next asks again when woken.
func (b *budget) leave(key client.ObjectKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lanes {
		_, had := l.making[key]
		delete(l.making, key)
		l.waiting = slices.DeleteFunc(l.waiting, func(w waiter) bool { return w.key == key })
		if had && len(l.waiting) > 0 {
			b.wake(l.waiting[0].key)
		}
	}
}

// queue puts a machine behind those of its kind; control planes stand before all others.
func (l *lane) queue(w waiter) {
	at := len(l.waiting)
	if w.controlPlane {
		if i := slices.IndexFunc(l.waiting, func(other waiter) bool { return !other.controlPlane }); i >= 0 {
			at = i
		}
	}
	l.waiting = slices.Insert(l.waiting, at, w)
}

// admit gives turns to those at the head of the queue while there is room, and returns them.
func (l *lane) admit(now time.Time, limit int) []waiter {
	l.expire(now)
	var admitted []waiter
	for len(l.waiting) > 0 {
		room := limit
		if l.waiting[0].controlPlane {
			room++
		}
		if len(l.making) >= room {
			break
		}
		admitted = append(admitted, l.waiting[0])
		l.making[l.waiting[0].key] = now
		l.waiting = l.waiting[1:]
	}
	return admitted
}

// expire ends the turns that have lasted too long.
func (l *lane) expire(now time.Time) {
	for key, since := range l.making {
		if now.Sub(since) >= turnBound {
			delete(l.making, key)
		}
	}
}

// visit tells of each endpoint how many machines have a turn, how many wait for one, and for how long the first has.
func (b *budget) visit(visit func(endpoint string, making, waiting int, longest time.Duration)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	for endpoint, l := range b.lanes {
		l.expire(now)
		longest := time.Duration(0)
		for _, w := range l.waiting {
			longest = max(longest, now.Sub(w.since))
		}
		visit(endpoint, len(l.making), len(l.waiting), longest)
	}
}
