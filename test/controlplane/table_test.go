// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
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

func (t *table) print(out io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(out, "seed %d: %d control plane Machines replaced, managers killed at %d points, in %s\n", *seed, t.replaced, t.points, time.Since(t.begin).Round(time.Second))
	for _, missed := range t.missed {
		fmt.Fprintf(out, "never came: %s\n", missed)
	}
	fmt.Fprintln(out, "| fault | times | until whole again: median | longest |\n|---|---|---|---|")
	for _, what := range slices.Sorted(maps.Keys(t.rows)) {
		took := t.rows[what]
		slices.SortFunc(took, func(a, b time.Duration) int { return cmp.Compare(a, b) })
		fmt.Fprintf(out, "| %s | %d | %s | %s |\n", what, len(took), took[len(took)/2].Round(time.Second/10), took[len(took)-1].Round(time.Second/10))
	}
}
