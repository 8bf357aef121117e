// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
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

// BenchmarkFleet measures what n machines of one cluster cost together. Each has a name and an identity of its own; all have
// the secrets of the input, which are those of the cluster.
func BenchmarkFleet(b *testing.B, s Suite, n int, in osfamily.Input) {
	b.Helper()
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		for i := range n {
			in.Machine.Name, in.Machine.ProviderID = fmt.Sprintf("node-%d", i), fmt.Sprintf("ingot://6ba7b810-9dad-11d1-80b4-%012d", i)
			if _, report := s.Family.Render(in); report.Err() != nil {
				b.Fatal(report.Err())
			}
		}
	}
	b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s/fleet")
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
