// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reminder remembers what was asked of a guest and when, so that it is not asked with every look. It asks nobody
// itself.
package reminder

import (
	"sync"
	"time"
)

// AskAgain is how long a guest has before it is asked again. A guest that was still booting has not heard the first time.
const AskAgain = 10 * time.Second

// Shutdowns remembers which guests were asked to shut down. The zero value is ready to use. What a session forgets when it
// ends is asked once more by the next.
type Shutdowns struct {
	mu    sync.Mutex
	asked map[string]time.Time
}

// Due tells whether a guest is to be asked now, and then counts it as asked.
func (s *Shutdowns) Due(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.asked[id]; ok && now.Sub(last) < AskAgain {
		return false
	}
	if s.asked == nil {
		s.asked = map[string]time.Time{}
	}
	s.asked[id] = now
	return true
}

// Forget drops a guest that is gone, or that was not reached.
func (s *Shutdowns) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asked, id)
}
