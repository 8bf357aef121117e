// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// Benchmark measures how many machine configurations the family renders in a second: for each role the one with nothing
// set and the one with everything, and the family's own cases.
func Benchmark(b *testing.B, s Suite) {
	b.Helper()
	names := map[string]bool{
		"init": true, "control-plane": true, "worker": true, "init-full": true, "control-plane-full": true, "worker-full": true,
	}
	cases, _ := s.cases()
	cases = slices.DeleteFunc(cases, func(c Case) bool {
		_, refused := s.refusal(c)
		return refused || !names[c.Name] && !slices.ContainsFunc(s.Own, func(own Case) bool { return own.Name == c.Name })
	})
	BenchmarkCases(b, s, cases)
}

// BenchmarkCases measures the same for cases that a family has beside the portable ones.
func BenchmarkCases(b *testing.B, s Suite, cases []Case) {
	b.Helper()
	for _, c := range cases {
		b.Run(c.Name, func(b *testing.B) {
			b.ReportAllocs()
			before := processorTime(b)
			for b.Loop() {
				if _, report := s.Family.Render(c.Input); report.Err() != nil {
					b.Fatal(report.Err())
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "renders/s")
			b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "renders/cpu-s")
		})
	}
}

// processorTime is what this process has used of its processors. Unlike the clock, it does not count who else works there.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
