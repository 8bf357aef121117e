// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"maps"
	"sync"
	"time"
)

const (
	// absenceSpan is the least time between what the stream told for the first look that found nothing, and for the second.
	absenceSpan = 500 * time.Millisecond
	// departureAge is how long the stream is asked often so that it can tell a second time. Whoever asks later has vCenter asked.
	departureAge = 10 * time.Second
)

// departures are the instances that vCenter has destroyed at our request. The zero value is ready to use.
type departures struct {
	mu sync.Mutex
	of map[string]departure
}

// departure is when the end of the task was told, and when the instance was first said to be absent; zero before.
type departure struct{ told, first time.Time }

// tell notes that the task that destroys an instance has ended.
func (d *departures) tell(uuid string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]departure{}
	}
	d.of[uuid] = departure{told: now}
}

// say notes that an instance was said to be absent.
func (d *departures) say(uuid string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, is := d.of[uuid]; is {
		known.first = now
		d.of[uuid] = known
	}
}

// said is when an instance was first said to be absent; zero when it was not.
func (d *departures) said(uuid string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of[uuid].first
}

// any tells whether somebody is about to look a second time.
func (d *departures) any(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.of, func(_ string, known departure) bool { return now.Sub(known.told) >= departureAge })
	return len(d.of) > 0
}

func (d *departures) forget(uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, uuid)
}

func (d *departures) forgetAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.of)
}

// departed tells whether the stream proves that an instance is gone: vCenter has told that the task that we began to destroy
// it has succeeded and that the virtual machine left the inventory, nothing else has its uuid, and no clone is under way
// that may be of it. The second time vCenter must have answered anew since the first. That the virtual machine has left alone
// proves nothing: what the session may not see any more leaves too.
func (s *Session) departed(uuid string, w work) bool {
	now := s.config.Clock.Now()
	told, known := s.mirror.task(w.task)
	destroyed := w.destroys && known && told.done && told.succeeded
	first := s.departures.said(uuid)
	if !destroyed && (!w.task.zero() || first.IsZero() || s.mirror.heardAt().Sub(first) < absenceSpan) {
		return false
	}
	if standing, live := s.mirror.refs(uuid); !live || len(standing) > 0 || s.mirror.strays(s.works.tasks()) {
		return false
	}
	if destroyed {
		s.works.end(subject{uuid: uuid})
		s.departures.say(uuid, now)
	} else {
		s.departures.forget(uuid)
	}
	s.known.putRefs(uuid, nil)
	return true
}
