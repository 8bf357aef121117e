// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import "testing"

// Benchmark renders each good case again and again.
func Benchmark(b *testing.B, s Suite) {
	b.Helper()
	good, _ := s.cases()
	for _, c := range good {
		if _, refused := s.Refuses[c.Name]; refused {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, report := s.Family.Render(c.Input); report.Err() != nil {
					b.Fatal(report.Err())
				}
			}
		})
	}
}
