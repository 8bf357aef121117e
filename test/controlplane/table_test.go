// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// table sums up what a run of the suite has done.
type table struct {
	begin time.Time

	mu               sync.Mutex
	points, replaced int
	missed           []string
	rows             map[string][]time.Duration
}

// add adds how long the control plane took to be whole again.
func (t *table) add(what string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[string][]time.Duration{}
	}
	t.rows[what] = append(t.rows[what], took)
}

func (t *table) count(points, replaced int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.points += points
	t.replaced += replaced
}

// miss notes a point that never came.
func (t *table) miss(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed = append(t.missed, what)
}

// String is the table as Markdown has it.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "seed %d: %d control plane Machines replaced, managers killed at %d points, in %s\n", *seed, t.replaced, t.points, time.Since(t.begin).Round(time.Second))
	for _, missed := range t.missed {
		_, _ = fmt.Fprintf(&b, "never came: %s\n", missed)
	}
	b.WriteString("| fault | times | until whole again: median | longest |\n|---|---|---|---|\n")
	for _, what := range slices.Sorted(maps.Keys(t.rows)) {
		took := t.rows[what]
		slices.SortFunc(took, func(a, b time.Duration) int { return cmp.Compare(a, b) })
		_, _ = fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", what, len(took), took[len(took)/2].Round(time.Second/10), took[len(took)-1].Round(time.Second/10))
	}
	return b.String()
}
