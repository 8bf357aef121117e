// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// absenceSpan is the least time between what the stream told for the first look that found nothing, and for the second.
	absenceSpan = 500 * time.Millisecond
	// departureAge is how long the stream is asked often for somebody who has not come for the first look yet.
	departureAge = time.Minute
	// departureKept is how long it is remembered what the stream has told. Whoever comes later has vCenter asked.
	departureKept = 15 * time.Minute
	// wordBound is how long the second look waits for vCenter to answer the stream anew: it is asked every second then.
	wordBound = (askSoonSeconds + 2) * time.Second
)

// departures are the instances that vCenter has destroyed at our request. The zero value is ready to use.
type departures struct {
	mu sync.Mutex
	of map[string]departure
}

// departure is the task that destroyed an instance, when its success was told, and when the instance was first said to be absent;
// zero before.
type departure struct {
	task        ref
	told, first time.Time
}

// tell notes that the task that destroys an instance has succeeded.
func (d *departures) tell(uuid string, task ref, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = map[string]departure{}
	}
	d.of[uuid] = departure{task: task, told: now}
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

// get returns what is known of the end of an instance.
func (d *departures) get(uuid string) (known departure, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, is = d.of[uuid]
	return known, is
}

// any tells whether somebody is about to look, for whom vCenter has not answered since he must know it. Who comes late finds
// what was told while he was expected.
func (d *departures) any(now, heard time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.of, func(_ string, known departure) bool { return now.Sub(known.told) >= departureKept })
	for _, known := range d.of {
		if known.first.IsZero() && now.Sub(known.told) < departureAge || !known.first.IsZero() && heard.Sub(known.first) < absenceSpan {
			return true
		}
	}
	return false
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
func (s *Session) departed(ctx context.Context, uuid string, w work) bool {
	known, is := s.departures.get(uuid)
	first := !w.task.zero()
	if !is || first && known.task != w.task || !first && (known.first.IsZero() || !s.heardAnew(ctx, known.first)) {
		return false
	}
	if standing, live := s.mirror.refs(uuid); !live || len(standing) > 0 || s.mirror.strays(s.works.tasks()) {
		return false
	}
	if first {
		s.works.end(subject{uuid: uuid})
		s.departures.say(uuid, s.config.Clock.Now())
	} else {
		s.departures.forget(uuid)
	}
	s.known.putRefs(uuid, nil)
	return true
}

// heardAnew tells whether vCenter has answered the stream since an instance was first said to be absent. By the time that a
// reconciler looks again it is about to, and that is waited for; who looks at once is not held up.
func (s *Session) heardAnew(ctx context.Context, first time.Time) bool {
	since := first.Add(absenceSpan)
	if heard, _ := s.mirror.heardAt(); heard.Before(since) && s.config.Clock.Since(first) < askSoonSeconds*time.Second {
		return false
	}
	late := s.config.Clock.NewTimer(wordBound)
	defer late.Stop()
	for {
		heard, next := s.mirror.heardAt()
		if !heard.Before(since) {
			return true
		}
		select {
		case <-next:
		case <-late.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
}
