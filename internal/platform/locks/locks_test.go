// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package locks_test

import (
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/locks"
)

// Two passes over one machine wait for each other, two machines do not, and nothing is kept of a machine that is gone.
func TestKeyed(t *testing.T) {
	var l locks.Keyed
	unlock, err := l.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	got := make(chan func())
	go func() {
		unlock, err := l.Lock(t.Context(), "a")
		if err != nil {
			t.Error(err)
		}
		got <- unlock
	}()
	select {
	case <-got:
		t.Fatal("two hold the same key")
	default:
	}
	unlock()
	(<-got)()
	if n := l.Held(); n != 0 {
		t.Errorf("%d keys are kept", n)
	}
}
