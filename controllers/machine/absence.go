// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// absenceGap is the least time between the two looks that prove an instance gone. An endpoint that lags behind itself may
// say once that something is not there.
const absenceGap = 2 * time.Second

// absences remember when released instances were first seen absent. A manager that has forgotten looks twice again. The
// zero value is ready to use.
type absences struct {
	mu    sync.Mutex
	first map[types.UID]time.Time
}

// prove takes a look that saw nothing, and returns how long to wait before the look that proves it; 0 means proved.
func (a *absences) prove(machine types.UID, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, seen := a.first[machine]; !seen {
		if a.first == nil {
			a.first = map[types.UID]time.Time{}
		}
		a.first[machine] = now
	}
	return a.left(machine, now)
}

// early is how long it is too early yet for the second look, of an instance that was seen absent once; 0 otherwise.
func (a *absences) early(machine types.UID, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left(machine, now)
}

// left is the time to the second look. The caller holds the lock.
func (a *absences) left(machine types.UID, now time.Time) time.Duration {
	return max(0, absenceGap-now.Sub(a.first[machine])) // the zero time is long ago
}

// forget drops what was seen: the looks must follow each other.
func (a *absences) forget(machine types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.first, machine)
}
