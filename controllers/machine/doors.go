// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import "sync"

// doors let only so many passes at a time speak to one endpoint, so that one that has fallen silent cannot hold every
// worker until its session is given up: some are always left for the others. The zero value lets everybody in.
type doors struct {
	// limit is how many there may be at once; 0 means any number.
	limit int

	mu     sync.Mutex
	inside map[string]int
}

// enter is whether a pass may speak to an endpoint. Who was let in must leave.
func (d *doors) enter(endpoint string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.limit > 0 && d.inside[endpoint] >= d.limit {
		return false
	}
	if d.inside == nil {
		d.inside = map[string]int{}
	}
	d.inside[endpoint]++
	return true
}

func (d *doors) leave(endpoint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inside[endpoint]--; d.inside[endpoint] == 0 {
		delete(d.inside, endpoint)
	}
}
