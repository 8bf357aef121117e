// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// measure makes the machines, lets them rest, removes them, and prints the figures.
func (b *bench) measure(ctx context.Context, virsh [2]time.Duration) error {
	before, err := b.manager.scrape(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.create(ctx, "m", b.n); err != nil {
		return err
	}
	created := time.Since(begin)
	if err := b.join(ctx, "m", b.n); err != nil {
		return err
	}
	made, err := b.manager.scrape(ctx)
	if err != nil {
		return err
	}
	rested, err := b.idle(ctx, made)
	if err != nil {
		return err
	}
	removing := time.Now()
	if err := b.remove(ctx, "m", b.n); err != nil {
		return err
	}
	removed := time.Since(removing)
	gone, err := b.manager.scrape(ctx)
	if err != nil {
		return err
	}
	var out strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&out, "%-58s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("machines, at once", "%d, %d", b.n, b.parallel)
	line("created, started and told to Cluster API, by our manager", "%.1f s", created.Seconds())
	if virsh[0] > 0 {
		line("created and started, by virsh", "%.1f s", virsh[0].Seconds())
		line("ratio", "%.2f", created.Seconds()/virsh[0].Seconds())
		line("removed, by virsh", "%.1f s", virsh[1].Seconds())
	}
	line("removed, by our manager", "%.1f s", removed.Seconds())
	b.perMachine(line, "per machine, created and joined", before, made)
	b.perMachine(line, "per machine, removed", rested, gone)
	line("at rest for", "%s, all machines together", b.rest)
	line("  API requests", "%.0f %s", rested.total(requestMetric)-made.total(requestMetric), rested.minus(made, requestMetric, 1))
	line("  libvirt calls", "%s", rested.minus(made, callMetric, 1))
	line("manager: CPU", "%.1f ms per machine created, joined and removed", 1000*(gone.cpu-before.cpu-(rested.cpu-made.cpu))/float64(b.n))
	line("manager: CPU at rest", "%.1f s in %s", rested.cpu-made.cpu, b.rest)
	line("manager: memory at its peak", "%d MiB", b.manager.peak())
	if _, err := fmt.Fprintf(os.Stdout, "\n%s", out.String()); err != nil {
		return err
	}
	return b.expectEmpty()
}

func (b *bench) perMachine(line func(string, string, ...any), what string, from, to sample) {
	line(what, "")
	line("  API requests", "%.2f (%s)", (to.total(requestMetric)-from.total(requestMetric))/float64(b.n), to.minus(from, requestMetric, b.n))
	line("  libvirt calls", "%.1f (%s)", (to.total(callMetric)-from.total(callMetric))/float64(b.n), to.minus(from, callMetric, b.n))
}

// idle lets the machines rest.
func (b *bench) idle(ctx context.Context, from sample) (sample, error) {
	say("at rest for %s", b.rest)
	for deadline := time.Now().Add(b.rest); time.Now().Before(deadline); {
		select {
		case <-time.After(min(time.Minute, time.Until(deadline))):
		case <-ctx.Done():
			return from, ctx.Err()
		}
		now, err := b.manager.scrape(ctx)
		if err != nil {
			return from, err
		}
		say("  so far: %.0f API requests, libvirt calls: %s", now.total(requestMetric)-from.total(requestMetric), now.minus(from, callMetric, 1))
	}
	return b.manager.scrape(ctx)
}

// expectEmpty checks that nothing but the image is left.
func (b *bench) expectEmpty() error {
	entries, err := os.ReadDir(b.host.PoolPath)
	if err != nil {
		return err
	}
	var left []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "ingot-image-") {
			left = append(left, e.Name())
		}
	}
	slices.Sort(left)
	if len(left) > 0 {
		return fmt.Errorf("left in the pool: %v", left)
	}
	return nil
}
