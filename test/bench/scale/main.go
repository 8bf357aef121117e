// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command scale measures what machines cost the management cluster, without hypervisors: a real API server and etcd,
// Cluster API's own core manager, our manager, and the stateful fake platform whose guests boot at once and join. It makes
// a MachineDeployment of each size and prints the time until all are provisioned, the time of one machine, requests,
// memory, the time to quiet after a restart of our manager, and the cost at rest. `make bench-scale N=100,1000` runs it.
// `make bench-vsphere N=100 RTT=20ms` does the same beside with a simulated vCenter in a process of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
)

func main() {
	sizes := flag.String("n", "100", "Numbers of machines, comma-separated.")
	rest := flag.Duration("rest", time.Minute, "How long the cost at rest is measured.")
	beside := flag.Bool("vsphere", false, "Measure a simulated vCenter beside the platform that does nothing.")
	rtt := flag.Duration("rtt", 0, "How much longer every answer of the simulated vCenter takes.")
	serve := flag.Bool("vcenter", false, "Be the simulated vCenter of another process.")
	manage := flag.String("manager", "", "Be our manager of another process, with this kubeconfig.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	var vcenters []time.Duration
	if *beside {
		vcenters = append(vcenters, *rtt)
	}
	measured := func() error { return run(ctx, *sizes, *rest, vcenters) }
	switch {
	case *serve:
		measured = func() error { return serveVCenter(ctx, *rtt) }
	case *manage != "":
		measured = func() error { return serveManager(ctx, *manage) }
	}
	if err := measured(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

func run(ctx context.Context, sizes string, rest time.Duration, vcenters []time.Duration) error {
	programs, err := components.FromEnvironment(say)
	if err != nil {
		return err
	}
	var results []result
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return fmt.Errorf("-n %q is no list of numbers", sizes)
		}
		r, err := measure(ctx, programs, nothing{fake.New(fake.Options{})}, n, rest)
		if err != nil {
			return fmt.Errorf("%d machines: %w", n, err)
		}
		results = append(results, r)
		for _, rtt := range vcenters {
			if r, err = measureVCenter(ctx, programs, n, rest, rtt); err != nil {
				return fmt.Errorf("%d machines of vSphere: %w", n, err)
			}
			results = append(results, r)
		}
		if _, err := fmt.Fprint(os.Stdout, table(results)); err != nil {
			return err
		}
	}
	return nil
}

// measureVCenter measures a simulated vCenter.
func measureVCenter(ctx context.Context, programs *components.Builder, n int, rest, rtt time.Duration) (result, error) {
	v, err := startVCenter(ctx, rtt)
	if err != nil {
		return result{}, err
	}
	defer v.process.kill()
	return measure(ctx, programs, v, n, rest)
}

func say(line string) { fmt.Fprintln(os.Stderr, line) }
