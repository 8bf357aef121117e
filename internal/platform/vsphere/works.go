// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"fmt"
	"sync"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// readAgain is how soon a task is read although nothing was heard of it: what was heard may have been lost.
const readAgain = 30 * time.Second

// subject is what a task is for: a machine by its uuid, or a copy of an image.
type subject struct {
	uuid  string
	image platform.ImageIdentity
}

func (s subject) event() platform.Event {
	return platform.Event{UUID: s.uuid, ImageSHA256: s.image.SHA256}
}

// work is a task of ours that has not been seen to end.
type work struct {
	task ref
	// what says in a few words what is done, and destroys is whether it is the end of a virtual machine.
	what     string
	destroys bool
	// watched is whether the session hears of the task's end, and told whether it has.
	watched, told bool
	read          time.Time
	percent       int32
}

// words say how far the task is, for people.
func (w work) words() string {
	if w.percent > 0 {
		return fmt.Sprintf("%s, %d %%", w.what, w.percent)
	}
	return w.what
}

// works are the tasks of a session, at most one for each subject. It is memory: what a session forgets when it ends is
// found out by looking. The zero value is ready to use.
type works struct {
	mu sync.Mutex
	of map[subject]*work
}

// begin notes a task that was begun, whose end the session hears.
func (w *works) begin(s subject, begun work) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[subject]*work{}
	}
	begun.watched = true
	w.of[s] = &begun
}

// get returns the task of a subject, if there is one.
func (w *works) get(s subject) (work, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.of[s]; found != nil {
		return *found, true
	}
	return work{}, false
}

// silent tells whether nothing can have happened to a task since it was read.
func (w work) silent(now time.Time) bool {
	return w.watched && !w.told && now.Sub(w.read) < readAgain
}

// unwatched notes that nothing is heard of any task.
func (w *works) unwatched() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, found := range w.of {
		found.watched = false
	}
}

// ended notes that the end of a task was told, and returns whose it is.
func (w *works) ended(task ref) (of subject, now work, ours bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, found := range w.of {
		if found.task == task {
			found.told = true
			return s, *found, true
		}
	}
	return subject{}, work{}, false
}

// saw notes what was read of a task that has not ended.
func (w *works) saw(s subject, task ref, percent int32, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.of[s]; found != nil && found.task == task {
		found.percent, found.read = percent, now
	}
}

// end forgets the task of a subject.
func (w *works) end(s subject) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, s)
}

// tasks are all tasks whose subject is known.
func (w *works) tasks() map[ref]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[ref]bool{}
	for _, found := range w.of {
		all[found.task] = true
	}
	return all
}
