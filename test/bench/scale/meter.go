// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// requests counts what a client sends, by method and kind of object.
type requests struct {
	mu    sync.Mutex
	count map[string]int
	last  time.Time // of the last write
}

// counted returns a configuration whose clients are counted.
func (r *requests) counted(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next: next, to: r} })
	return config
}

type counter struct {
	next http.RoundTripper
	to   *requests
}

// RoundTrip implements http.RoundTripper.
func (c counter) RoundTrip(req *http.Request) (*http.Response, error) {
	c.to.add(req)
	return c.next.RoundTrip(req)
}

func (r *requests) add(req *http.Request) {
	if req.URL.Query().Get("watch") == "true" {
		return // one per kind and some minutes, whatever the number of machines
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[req.Method+" "+kindOf(req.URL.Path)]++
	if req.Method != http.MethodGet {
		r.last = time.Now()
	}
}

// kindOf takes names out of a path: /apis/group/v1/namespaces/x/things/y/status is things/status.
func kindOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	i := 2 // api/v1
	if parts[0] == "apis" {
		i = 3
	}
	if len(parts) > i+2 && parts[i] == "namespaces" {
		i += 2
	}
	if len(parts) <= i {
		return path
	}
	kind := parts[i]
	if len(parts) > i+2 {
		kind += "/" + parts[i+2]
	}
	return kind
}

// snapshot is what was counted so far.
func (r *requests) snapshot() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// lastWrite is when something was written last.
func (r *requests) lastWrite() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
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

// cpu is the CPU time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory is the resident memory of this process, now and at its peak, in MiB.
func memory() (now, peak int) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for l := range strings.Lines(string(status)) {
		fields := strings.Fields(l)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			now = kib >> 10
		case "VmHWM:":
			peak = kib >> 10
		}
	}
	return now, peak
}
