// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// superseded are versions of machines that this manager has replaced by its own writes. A cache that still shows one of
// them is behind: a pass over it would ask, write and tell things twice, and the newer version, whose event is on its way,
// wakes the machine again. The zero value is ready to use.
type superseded struct {
	mu       sync.Mutex
	versions map[client.ObjectKey][]string
}

// add notes that a write replaced a version by another. A write that changed nothing replaces nothing.
func (s *superseded) add(key client.ObjectKey, before, after string) {
	if before == after {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[client.ObjectKey][]string{}
	}
	s.versions[key] = append(s.versions[key], before)
}

// has is whether a version was replaced. One that was not is newer than all that were, and those are forgotten.
func (s *superseded) has(key client.ObjectKey, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.versions[key], version) {
		return true
	}
	delete(s.versions, key)
	return false
}

// forget drops what is known of a machine that is gone.
func (s *superseded) forget(key client.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, key)
}
