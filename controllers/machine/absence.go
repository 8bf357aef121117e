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
	first, seen := a.first[machine]
	if !seen {
		if a.first == nil {
			a.first = map[types.UID]time.Time{}
		}
		a.first[machine] = now
		return absenceGap
	}
	return max(0, absenceGap-now.Sub(first))
}

// forget drops what was seen: the looks must follow each other.
func (a *absences) forget(machine types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.first, machine)
}
