// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/test/bench/scale/usage"
)

// table is what was measured so far, one column per number of machines.
func table(results []result) string {
	var out strings.Builder
	row := func(what string, value func(result) string) {
		fmt.Fprintf(&out, "%-52s", what)
		for _, r := range results {
			fmt.Fprintf(&out, "%16s", value(r))
		}
		fmt.Fprintln(&out)
	}
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
	fmt.Fprintln(&out)
	row("platform", func(r result) string { return r.place })
	row("machines", func(r result) string { return strconv.Itoa(r.n) })
	row("all provisioned after", func(r result) string { return seconds(r.provisioned) })
	row("all ready after", func(r result) string { return seconds(r.ready) })
	row("one machine, creation to provisioned, p50", func(r result) string { return seconds(r.p50) })
	row("one machine, creation to provisioned, p99", func(r result) string { return seconds(r.p99) })
	row("of that, our own share, p50", func(r result) string { return seconds(r.own50) })
	row("of that, our own share, p99", func(r result) string { return seconds(r.own99) })
	row("API requests of our manager per machine created", func(r result) string { return fmt.Sprintf("%.2f", r.created) })
	row("API requests of our manager per machine deleted", func(r result) string { return fmt.Sprintf("%.2f", r.deleted) })
	row("platform calls per machine created", func(r result) string { return fmt.Sprintf("%.2f", r.calls) })
	row("platform calls per machine deleted", func(r result) string { return fmt.Sprintf("%.2f", r.goneCalls) })
	row("CPU time per machine, of the process of the manager", func(r result) string { return fmt.Sprintf("%.1f ms", float64(r.cpuPerMachine.Microseconds())/1000) })
	row("memory of that process of its own, then / peak", func(r result) string { return fmt.Sprintf("%d/%d MiB", r.memory.Own, r.memory.OwnPeak) })
	row("pages of its program's file that are mapped, then", func(r result) string { return fmt.Sprintf("%d MiB", r.memory.Files) })
	row("both together, peak", func(r result) string { return fmt.Sprintf("%d MiB", r.memory.Peak) })
	row("quiet after a restart of the manager", func(r result) string { return seconds(r.quiet) })
	row("API requests of that restart per machine", func(r result) string { return fmt.Sprintf("%.2f", r.quietRequests) })
	row("platform calls of that restart per machine", func(r result) string { return fmt.Sprintf("%.2f", r.quietCalls) })
	row("API requests at rest, all machines together", func(r result) string { return fmt.Sprintf("%d in %s", r.restRequests, r.restFor) })
	row("platform calls at rest, all machines together", func(r result) string { return fmt.Sprintf("%d in %s", r.restCalls, r.restFor) })
	row("all deleted after", func(r result) string { return seconds(r.gone) })
	last := results[len(results)-1]
	for _, line := range []struct {
		what  string
		lines []string
	}{{"created, requests", last.createdLines}, {"created, calls", last.callLines}, {"deleted, requests", last.goneLines}, {"deleted, calls", last.goneCalled}} {
		fmt.Fprintf(&out, "%s of each machine: %s\n", line.what, strings.Join(line.lines, ", "))
	}
	fmt.Fprintf(&out, "created, requests for all machines together: %s\n", strings.Join(last.sharedLines, ", "))
	return out.String()
}

// requestsSince tells requests of machines, per machine, from those that machines share: lists, and writes to endpoints and images.
func requestsSince(before, after usage.Used, n int) (lines []string, total float64, shared []string) {
	isShared := func(what string) bool {
		verb, kind, _ := strings.Cut(what, " ")
		kind, _, _ = strings.Cut(kind, "/")
		return verb == "LIST" || slices.Contains([]string{"platformendpoints", "imagereplicas", "nodeimages", "ingotmachinetemplates", "ingotclusters"}, kind)
	}
	one, all := map[string]int{}, map[string]int{}
	for what, n := range after.Requests {
		if n -= before.Requests[what]; isShared(what) {
			all[what] = n
		} else {
			one[what] = n
		}
	}
	lines, total = since(nil, one, n)
	shared, _ = since(nil, all, 1)
	return lines, total, shared
}

// since returns what was counted after before, per unit, most first, and the total.
func since(before, after map[string]int, per int) (lines []string, total float64) {
	type line struct {
		what string
		n    float64
	}
	var all []line
	for what, n := range after {
		if d := float64(n-before[what]) / float64(per); d >= 0.005 {
			all = append(all, line{what, d})
			total += d
		}
	}
	slices.SortFunc(all, func(a, b line) int {
		if a.n != b.n {
			return int(1e6 * (b.n - a.n))
		}
		return strings.Compare(a.what, b.what)
	})
	for _, l := range all {
		lines = append(lines, fmt.Sprintf("%.2f %s", l.n, l.what))
	}
	return lines, total
}
