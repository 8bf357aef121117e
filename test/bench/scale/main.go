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
	inFlight := flag.Int("in-flight", 8, "How many machines may be made at once (spec.budget.createsInFlight). 8 is what an endpoint has that says nothing.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	b := bench{rest: *rest, inFlight: *inFlight}
	if *beside {
		b.vcenters = append(b.vcenters, *rtt)
	}
	measured := func() error { return b.run(ctx, *sizes) }
	if *serve {
		measured = func() error { return serveVCenter(ctx, *rtt, *inFlight) }
	}
	if err := measured(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

// bench is what is the same for all numbers of machines.
type bench struct {
	programs *components.Builder
	rest     time.Duration
	inFlight int
	vcenters []time.Duration // round-trip times
	manager  string          // the program of a manager of its own; empty where nobody needs it
}

func (b bench) run(ctx context.Context, sizes string) (err error) {
	if b.programs, err = components.FromEnvironment(say); err != nil {
		return err
	}
	if len(b.vcenters) > 0 {
		folder, err := os.MkdirTemp("", "ingot-bench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		if b.manager, err = buildManager(ctx, b.programs.Repo, folder); err != nil {
			return err
		}
	}
	var results []result
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return fmt.Errorf("-n %q is no list of numbers", sizes)
		}
		r, err := b.measure(ctx, nothing{fake.New(fake.Options{})}, n)
		if err != nil {
			return fmt.Errorf("%d machines: %w", n, err)
		}
		say(table([]result{r})) // the next may take long
		results = append(results, r)
		for _, rtt := range b.vcenters {
			if r, err = b.measureVCenter(ctx, n, rtt); err != nil {
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
func (b bench) measureVCenter(ctx context.Context, n int, rtt time.Duration) (result, error) {
	v, err := startVCenter(ctx, rtt, b.inFlight)
	if err != nil {
		return result{}, err
	}
	defer v.process.kill()
	v.program = b.manager
	return b.measure(ctx, v, n)
}

func say(line string) { fmt.Fprintln(os.Stderr, line) }
