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
	// what says in a few words what is done.
	what string
	// watched is whether the session hears of the task's end. heard is how often it has heard something, and answered how
	// often it had before the task was last read.
	watched         bool
	heard, answered int
	read            time.Time
	percent         int32
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
	mu   sync.Mutex
	of   map[subject]*work
	told []subject
}

// begin notes a task that was begun.
func (w *works) begin(s subject, task ref, what string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[subject]*work{}
	}
	w.of[s] = &work{task: task, what: what, read: now}
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
	return w.watched && w.heard == w.answered && now.Sub(w.read) < readAgain
}

// watch notes that the session hears of the end of a task from now on.
func (w *works) watch(s subject, task ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.of[s]; found != nil && found.task == task {
		found.watched = true
	}
}

// unwatched notes that nothing is heard of any task.
func (w *works) unwatched() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, found := range w.of {
		found.watched = false
	}
}

// changed notes that something was heard of a task.
func (w *works) changed(task ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s, found := range w.of {
		if found.task == task {
			found.heard++
			w.told = append(w.told, s)
		}
	}
}

// stirred notes that something was heard of the virtual machine of a machine.
func (w *works) stirred(uuid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.of[subject{uuid: uuid}]; found != nil {
		found.heard++
	}
}

// ended returns the subjects of whose tasks something was heard, once.
func (w *works) ended() []subject {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// saw notes what was read of a task that has not ended. asked is the task as it was before it was read: what was heard since
// then is not answered.
func (w *works) saw(s subject, asked work, percent int32, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if found := w.of[s]; found != nil && found.task == asked.task {
		found.percent, found.read, found.answered = percent, now, asked.heard
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
