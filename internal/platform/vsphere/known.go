// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"sync"
)

// known is what a session remembers of the inventory, to ask once for what stays as it is. Every use of it meets a refusal
// when it is wrong, and then it is forgotten. The zero value is ready to use.
type known struct {
	mu       sync.Mutex
	places   map[string]ref
	backings map[string]backing
	sources  map[string]*source // copies of images that are complete, by instance UUID
	vms      map[string][]ref   // by instance UUID
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places, k.backings, k.sources, k.vms = nil, nil, nil, nil
}

func (k *known) place(path string) (ref, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.places[path]
	return found, ok
}

func (k *known) putPlace(path string, r ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.places == nil {
		k.places = map[string]ref{}
	}
	k.places[path] = r
}

func (k *known) backing(path string) (backing, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.backings[path]
	return found, ok
}

func (k *known) putBacking(path string, b backing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.backings == nil {
		k.backings = map[string]backing{}
	}
	k.backings[path] = b
}

func (k *known) source(uuid string) *source {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sources[uuid]
}

func (k *known) putSource(uuid string, s *source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sources == nil {
		k.sources = map[string]*source{}
	}
	if s == nil {
		delete(k.sources, uuid)
		return
	}
	k.sources[uuid] = s
}

func (k *known) refs(uuid string) []ref {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.vms[uuid]
}

func (k *known) putRefs(uuid string, refs []ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.vms == nil {
		k.vms = map[string][]ref{}
	}
	if len(refs) == 0 {
		delete(k.vms, uuid)
		return
	}
	k.vms[uuid] = refs
}
