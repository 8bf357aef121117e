// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package usage measures what a manager takes, from inside its process: its requests to the management cluster, CPU time and
// memory. It knows nothing of what managers do.
package usage

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// Used is what a manager has asked for and taken so far.
type Used struct {
	// Requests are counted by verb and kind. Watches are left out: there is one for each kind.
	Requests map[string]int
	// LastWrite is when something was written last.
	LastWrite time.Time
	CPU       time.Duration
	Memory    Memory
}

// Memory is resident memory in MiB.
type Memory struct {
	// Own is what the process has allocated, and OwnPeak the most that it was.
	Own, OwnPeak int
	// Files is what is mapped of files: of the program itself. The kernel shares it between processes and can drop it.
	Files int
	// Peak is the most that both were together.
	Peak int
}

// sampleEvery is how often the memory of its own is looked at, of which the kernel keeps no peak.
const sampleEvery = 20 * time.Millisecond

// Meter measures this process.
type Meter struct {
	requests requests

	mu      sync.Mutex
	ownPeak int
}

// Start returns a meter that looks at memory until the context ends.
func Start(ctx context.Context) *Meter {
	m := &Meter{}
	go func() {
		for ctx.Err() == nil {
			m.look()
			time.Sleep(sampleEvery)
		}
	}()
	return m
}

// Counted returns a configuration whose clients are counted.
func (m *Meter) Counted(config *rest.Config) *rest.Config { return m.requests.counted(config) }

// Used is what was measured so far.
func (m *Meter) Used() Used {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return Used{
		Requests: m.requests.snapshot(), LastWrite: m.requests.lastWrite(), CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Memory: m.look(),
	}
}

// look looks at the memory of this process.
func (m *Meter) look() Memory {
	status := kibibytes("/proc/self/status")
	now := Memory{Own: status["RssAnon"] >> 10, Files: (status["RssFile"] + status["RssShmem"]) >> 10, Peak: status["VmHWM"] >> 10}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ownPeak = max(m.ownPeak, now.Own)
	now.OwnPeak = m.ownPeak
	return now
}

// kibibytes are the lines of a file of the kernel that have a size.
func kibibytes(file string) map[string]int {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	sizes := map[string]int{}
	for l := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(l, ":")
		if fields := strings.Fields(value); len(fields) == 2 && fields[1] == "kB" {
			sizes[name], _ = strconv.Atoi(fields[0])
		}
	}
	return sizes
}
