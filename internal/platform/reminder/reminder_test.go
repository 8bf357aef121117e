// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package reminder_test

import (
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/reminder"
)

// A guest that is asked with every call may take the second press of the button for another wish.
func TestShutdownsAreRare(t *testing.T) {
	var s reminder.Shutdowns
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		id    string
		after time.Duration
		want  bool
	}{{"a", 0, true}, {"a", 0, false}, {"b", 0, true}, {"a", 9 * time.Second, false}, {"a", time.Second, true}, {"a", time.Second, false}} {
		now = now.Add(c.after)
		if got := s.Due(c.id, now); got != c.want {
			t.Errorf("%s at %s: %v", c.id, now, got)
		}
	}
	s.Forget("a")
	if !s.Due("a", now) {
		t.Error("a guest that was not reached is not asked again")
	}
}
