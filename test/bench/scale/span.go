// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"time"
)

// span is a time from one moment to another.
type span struct{ From, To time.Time }

// without is how long a span is without others, which may overlap.
func (s span) without(others []span) time.Duration {
	others = slices.SortedFunc(slices.Values(others), func(a, b span) int { return a.From.Compare(b.From) })
	left, at := time.Duration(0), s.From
	for _, o := range others {
		if o.From.After(s.To) {
			break
		}
		if o.From.After(at) {
			left += o.From.Sub(at)
		}
		if o.To.After(at) {
			at = o.To
		}
	}
	if s.To.After(at) {
		left += s.To.Sub(at)
	}
	return left
}
