// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command libvirt measures what machines cost on a real libvirtd: our manager as a process of its own against a real API
// server, and beside it, on the same hypervisor and at the same parallelism, a plain loop of virsh commands. It prints
// the times and their ratio, requests and calls per machine, the manager's CPU time and memory, and what machines cost at
// rest. `make bench-libvirt N=50` and `make bench-quiet N=50 FOR=30m` run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func main() {
	b := &bench{}
	flag.IntVar(&b.n, "n", 50, "Number of machines.")
	flag.IntVar(&b.parallel, "parallel", 8, "How many are made at once, by either side.")
	flag.DurationVar(&b.rest, "rest", time.Minute, "How long the cost at rest is measured.")
	flag.BoolVar(&b.loop, "virsh", true, "Run the loop of virsh commands beside our manager.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	if err := b.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// start brings up a hypervisor and a management cluster, runs the measurement, and takes both down.
func (b *bench) start(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "lvb-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := components.FromEnvironment(func(line string) { say("%s", line) })
	if err != nil {
		return err
	}
	if b.loop {
		if _, err := exec.LookPath("virsh"); err != nil {
			return errors.New("virsh is missing: apt-get install libvirt-clients, or run with -virsh=false")
		}
	}
	binary := filepath.Join(dir, "ingot-manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir, build.Stderr = programs.Repo, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the manager: %w", err)
	}
	host, stopHost, err := hypervisor.StartForTest(ctx, hypervisor.Options{Name: "bench", StateDir: filepath.Join(dir, "hv")})
	defer func() { err = errors.Join(err, stopHost()) }()
	if err != nil {
		return err
	}
	plane, stopPlane, err := managementplane.StartForTest(ctx, managementplane.Options{Builder: programs})
	defer func() { err = errors.Join(err, stopPlane()) }()
	if err != nil {
		return err
	}
	core, err := programs.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return err
	}
	if err := builder.InstallCRDs(plane.Config, filepath.Join(core, "core", "config", "crd", "bases"), builder.CRDs(programs.Repo)); err != nil {
		return err
	}
	c, err := builder.NewClient(plane.Config)
	if err != nil {
		return err
	}
	b.dir, b.host, b.plane, b.client, b.binary = dir, host, plane, c, binary
	return b.run(ctx)
}
