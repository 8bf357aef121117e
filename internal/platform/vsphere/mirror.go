// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// mirror is what the stream of changes has told and not taken back: vCenter's own words, in the order in which things
// happened there. It costs no round trip to ask, so it answers whether something has ended, and whether what vCenter was seen
// to remove has stayed away. What is changed or destroyed is never judged by it: that is read anew. The zero value is a
// mirror without a stream, which knows nothing.
type mirror struct {
	mu   sync.Mutex
	live bool
	// heard is when vCenter answered last, whether something had changed or not; next is closed when it does again.
	heard time.Time
	next  chan struct{}
	vms   map[ref]toldVM
	tasks map[ref]toldTask
	// ended has a channel for each task that somebody waits for, closed at its end.
	ended map[ref]chan struct{}
}

// toldVM is what was told of a virtual machine or template.
type toldVM struct {
	instanceUUID string
	power        powerState

	machine, copyOf, importOf string // parts of its mark

	// first and further are the addresses that the guest tells; parts counts what was told in parts that are not taken apart here.
	first, further string
	parts          int
}

// toldTask is what was told of a task.
type toldTask struct {
	done, succeeded bool
	// clone is whether it makes a virtual machine, and from what it makes it.
	clone bool
	from  ref
}

// begin begins anew with an empty mirror, and end forgets everything: without a stream nothing is told.
func (m *mirror) begin() { m.reset(true) }

func (m *mirror) end() { m.reset(false) }

func (m *mirror) reset(live bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live, m.vms, m.tasks = live, map[ref]toldVM{}, map[ref]toldTask{}
	m.hear(time.Time{})
	for task := range m.ended {
		m.letGo(task) // whoever waits must ask
	}
}

// take takes one answer of the stream. It returns the uuids of the machines of which something new was told, and the tasks that
// have ended or were forgotten by vCenter. What is told once more and is as before wakes nobody: the network of a guest is told
// with much beside its addresses.
func (m *mirror) take(told changes, now time.Time) (machines []string, ended []ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hear(now)
	for _, c := range told.vms {
		before, known := m.vms[c.ref]
		vm := apply(m.vms, c)
		if vm.machine != "" && vm.machine == vm.instanceUUID && (c.left || !known || vm != before) {
			machines = append(machines, vm.machine)
		}
	}
	for _, c := range told.tasks {
		if task := apply(m.tasks, c); task.done || c.left {
			ended = append(ended, c.ref)
			m.letGo(c.ref)
		}
	}
	return machines, ended
}

// apply makes a change, and returns what has changed as it is now, or was when it left.
func apply[T any](all map[ref]T, c change[T]) T {
	now := all[c.ref]
	for _, edit := range c.edits {
		edit(&now)
	}
	all[c.ref] = now
	if c.left {
		delete(all, c.ref)
	}
	return now
}

func (m *mirror) letGo(task ref) {
	if ended := m.ended[task]; ended != nil {
		close(ended)
		delete(m.ended, task)
	}
}

// task returns what was told of a task.
func (m *mirror) task(task ref) (told toldTask, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	told, known = m.tasks[task]
	return told, known
}

// endOf returns a channel that is closed when the stream tells the end of a task, or ends itself. It is closed already where
// nothing will be told.
func (m *mirror) endOf(task ref) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := m.ended[task]
	if ended == nil {
		ended = make(chan struct{})
		if !m.live || m.tasks[task].done {
			close(ended)
			return ended
		}
		if m.ended == nil {
			m.ended = map[ref]chan struct{}{}
		}
		m.ended[task] = ended
	}
	return ended
}

// refs returns the virtual machines and templates with an instance UUID. live is false when the mirror cannot tell.
func (m *mirror) refs(uuid string) (found []ref, live bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, told := range m.vms {
		if told.instanceUUID == uuid {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b ref) int { return compare(a.value, b.value) })
	return found, m.live
}

// tellsOf tells whether the stream tells of every change of virtual machines.
func (m *mirror) tellsOf(vms []vm) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live && !slices.ContainsFunc(vms, func(v vm) bool {
		_, told := m.vms[v.ref]
		return !told
	})
}

// imports returns the virtual machines that say that they are imports of an image, whatever they are.
func (m *mirror) imports(copyMark string) (found []ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, told := range m.vms {
		if strings.HasSuffix(told.importOf, " "+copyMark) {
			found = append(found, r)
		}
	}
	return found
}

// off tells whether a virtual machine with an instance UUID was told not to run.
func (m *mirror) off(uuid string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, told := range m.vms {
		if told.instanceUUID == uuid && told.power != poweredOn {
			return true
		}
	}
	return false
}

// copies are the copies of images, complete or not.
func (m *mirror) copies() []ref {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []ref
	for r, told := range m.vms {
		if told.copyOf != "" {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b ref) int { return compare(a.value, b.value) })
	return found
}

// heardAt is when vCenter answered last, and a channel that is closed when it answers again.
func (m *mirror) heardAt() (heard time.Time, next <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		m.next = make(chan struct{})
	}
	return m.heard, m.next
}

// silent tells whether vCenter has not answered yet.
func (m *mirror) silent() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard.IsZero()
}

func (m *mirror) hear(now time.Time) {
	m.heard = now
	if m.next != nil {
		close(m.next)
		m.next = nil
	}
}

// strays tells whether a clone that is none of ours may be under way from an image's copy, or from what is not known.
func (m *mirror) strays(ours map[ref]bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, told := range m.tasks {
		if told.clone && !told.done && !ours[r] {
			if from, known := m.vms[told.from]; !known || from.copyOf != "" {
				return true
			}
		}
	}
	return false
}
