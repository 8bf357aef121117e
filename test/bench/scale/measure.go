// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// result is what was measured with one number of machines.
type result struct {
	place                   string
	n                       int
	provisioned, ready      time.Duration // until all are
	p50, p99                time.Duration // of one machine, from its creation until it is provisioned
	created, deleted        float64       // requests of our manager per machine
	createdLines, goneLines []string
	calls, goneCalls        float64 // calls of the place per machine until ready, and of one deleted
	callLines, goneCalled   []string
	memoryNow, memoryPeak   int
	cpuPerMachine           time.Duration
	quiet                   time.Duration // from the start of a new manager until its last request or call, to the second
	quietRequests           float64       // per machine, of that
	quietCalls              float64       // of the port per machine, of that
	restFor                 time.Duration
	restRequests, restCalls int
	gone                    time.Duration
}

// measure runs one number of machines from nothing to nothing.
func measure(ctx context.Context, programs *components.Builder, at place, n int, rest time.Duration) (r result, err error) {
	r = result{place: at.name(), n: n, restFor: rest}
	p, err := startPlane(ctx, programs)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.prepare(ctx, at); err != nil {
		return r, err
	}
	g := newGuests(at, p.client)
	background, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { g.run(background) })
	defer func() { cancel(); all.Wait() }()
	m, err := at.manager(ctx, p)
	if err != nil {
		return r, err
	}
	e := experiment{plane: p, place: at, guests: g, manager: m, result: &r}
	defer func() { err = errors.Join(err, e.manager.stop()) }()
	for _, step := range []func(context.Context) error{e.warmUp, e.create, e.restart, e.idle, e.remove} {
		if err := step(ctx); err != nil {
			say("as far as it came:\n" + table([]result{r})) // it may have taken long
			return r, err
		}
	}
	return r, g.trouble()
}

// experiment is one number of machines on their way.
type experiment struct {
	plane   *plane
	place   place
	guests  *guests
	manager manager
	result  *result
}

// warmUp brings one machine up and down, so that the image is replicated and all caches are open.
func (e *experiment) warmUp(ctx context.Context) error {
	for pool := range poolsOf(e.result.n) {
		if err := e.plane.client.Create(ctx, deployment(pool)); err != nil {
			return err
		}
	}
	if err := e.scale(ctx, 1); err != nil {
		return err
	}
	if _, err := e.await(ctx, 1); err != nil {
		return err
	}
	if err := e.scale(ctx, 0); err != nil {
		return err
	}
	return e.awaitGone(ctx)
}

func (e *experiment) create(ctx context.Context) error {
	r := e.result
	before, err := e.manager.used()
	if err != nil {
		return err
	}
	called, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := e.scale(ctx, r.n); err != nil {
		return err
	}
	seen, err := e.await(ctx, r.n)
	if err != nil {
		return err
	}
	r.ready = time.Since(begin)
	if err := e.settle(ctx, 5*time.Second); err != nil {
		return err
	}
	r.provisioned, r.p50, r.p99 = seen.all.Sub(begin), quantile(seen.took, 0.5), quantile(seen.took, 0.99)
	after, err := e.manager.used()
	if err != nil {
		return err
	}
	r.createdLines, r.created = since(before.Requests, after.Requests, r.n)
	now, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	r.callLines, r.calls = since(called, now, r.n)
	r.cpuPerMachine = (after.CPU - before.CPU) / time.Duration(r.n)
	r.memoryNow, r.memoryPeak = after.MemoryNow, after.MemoryPeak
	return nil
}

// restart replaces the manager and waits until it has nothing more to do.
func (e *experiment) restart(ctx context.Context) error {
	if err := e.manager.stop(); err != nil {
		return err
	}
	say("  restarting the manager")
	begin := time.Now()
	before, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	m, err := e.place.manager(ctx, e.plane)
	if err != nil {
		return err
	}
	e.manager = m
	calls := 0.0
	for last, changed := -1, begin; int(calls) < e.result.n || time.Since(changed) < 5*time.Second; { // each machine is looked at
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		now, err := e.place.calls(ctx)
		if err != nil {
			return err
		}
		_, calls = since(before, now, 1)
		asked, err := m.used()
		if err != nil {
			return err
		}
		_, requests := since(nil, asked.Requests, 1)
		e.result.quietRequests = requests / float64(e.result.n)
		total := int(calls) + int(requests)
		if total != last {
			last, changed = total, time.Now()
		}
		e.result.quiet = changed.Sub(begin)
	}
	e.result.quietCalls = calls / float64(e.result.n)
	return nil
}

func (e *experiment) idle(ctx context.Context) error {
	say(fmt.Sprintf("  looking at rest for %s", e.result.restFor))
	before, err := e.manager.used()
	if err != nil {
		return err
	}
	called, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, e.result.restFor); err != nil {
		return err
	}
	after, err := e.manager.used()
	if err != nil {
		return err
	}
	_, total := since(before.Requests, after.Requests, 1)
	now, err := e.place.calls(ctx)
	_, calls := since(called, now, 1)
	e.result.restRequests, e.result.restCalls = int(total), int(calls)
	return err
}

func (e *experiment) remove(ctx context.Context) error {
	begin := time.Now()
	before, err := e.manager.used()
	if err != nil {
		return err
	}
	called, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	if err := e.scale(ctx, 0); err != nil {
		return err
	}
	if err := e.awaitGone(ctx); err != nil {
		return err
	}
	e.result.gone = time.Since(begin)
	after, err := e.manager.used()
	if err != nil {
		return err
	}
	e.result.goneLines, e.result.deleted = since(before.Requests, after.Requests, e.result.n)
	now, err := e.place.calls(ctx)
	if err != nil {
		return err
	}
	e.result.goneCalled, e.result.goneCalls = since(called, now, e.result.n)
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	left, err := e.place.instances(ctx)
	if err == nil && left > 0 {
		err = fmt.Errorf("%d instances are left on the platform", left)
	}
	return err
}

// scale has n machines, in as many pools as the experiment needs.
func (e *experiment) scale(ctx context.Context, n int) error {
	wanted := poolsOf(n)
	for pool := range poolsOf(e.result.n) {
		size := 0
		if pool < len(wanted) {
			size = wanted[pool]
		}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, size))
		if err := e.plane.client.Patch(ctx, deployment(pool), patch); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the manager has written nothing for a while.
func (e *experiment) settle(ctx context.Context, quiet time.Duration) error {
	for {
		now, err := e.manager.used()
		if err != nil || time.Since(now.LastWrite) >= quiet {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// progress is what was seen of machines that come up.
type progress struct {
	all                time.Time // when the last was provisioned
	took               []time.Duration
	provisioned, ready map[types.UID]bool
}

// see takes what a machine tells.
func (p *progress) see(m *infrav1.IngotMachine) {
	if told := m.Status.Initialization.Provisioned; told != nil && *told && !p.provisioned[m.UID] {
		p.provisioned[m.UID] = true
		p.all = time.Now()
		p.took = append(p.took, time.Since(m.CreationTimestamp.Time))
	}
	if conditions.IsTrue(m, infrav1.ReadyCondition) {
		p.ready[m.UID] = true
	}
}

// await waits until n machines are Ready.
func (e *experiment) await(ctx context.Context, n int) (*progress, error) {
	p := &progress{provisioned: map[types.UID]bool{}, ready: map[types.UID]bool{}}
	for told := time.Now(); len(p.ready) < n; {
		ended, err := e.watch(ctx, p, n, &told)
		if err != nil {
			return p, err
		}
		if !ended {
			break
		}
	}
	return p, nil
}

// watch looks on until n machines are Ready, or the watch has ended, as watches do now and then.
func (e *experiment) watch(ctx context.Context, p *progress, n int, told *time.Time) (ended bool, err error) {
	watch, err := e.plane.client.Watch(ctx, &infrav1.IngotMachineList{}, client.InNamespace(namespace))
	if err != nil {
		return false, err
	}
	defer watch.Stop()
	for len(p.ready) < n {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(3 * time.Minute):
			return false, fmt.Errorf("stuck at %d provisioned and %d ready of %d: %s", len(p.provisioned), len(p.ready), n, e.example(ctx, p.ready))
		case event, open := <-watch.ResultChan():
			if !open {
				return true, nil
			}
			if m, is := event.Object.(*infrav1.IngotMachine); is {
				p.see(m)
			}
		}
		if time.Since(*told) > 10*time.Second {
			*told = time.Now()
			say(fmt.Sprintf("  %d of %d provisioned, %d ready", len(p.provisioned), n, len(p.ready)))
		}
	}
	return false, nil
}

// example describes a machine that is not ready.
func (e *experiment) example(ctx context.Context, ready map[types.UID]bool) string {
	list := &infrav1.IngotMachineList{}
	if err := e.plane.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err.Error()
	}
	for i := range list.Items {
		if !ready[list.Items[i].UID] {
			return fmt.Sprintf("%s: %+v", list.Items[i].Name, list.Items[i].Status.Conditions)
		}
	}
	return fmt.Sprintf("%d IngotMachines exist (guests: %v)", len(list.Items), e.guests.trouble())
}

func (e *experiment) awaitGone(ctx context.Context) error {
	for told := time.Now(); ; {
		list := &metav1.PartialObjectMetadataList{} // one of them, and how many there are besides: who counts must not slow the counted
		list.SetGroupVersionKind(clusterv1.GroupVersion.WithKind("MachineList"))
		if err := e.plane.client.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return nil
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			say(fmt.Sprintf("  %d machines are to be deleted", 1+ptr.Deref(list.RemainingItemCount, 0)))
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

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
	row("API requests of our manager per machine created", func(r result) string { return fmt.Sprintf("%.2f", r.created) })
	row("API requests of our manager per machine deleted", func(r result) string { return fmt.Sprintf("%.2f", r.deleted) })
	row("platform calls per machine created", func(r result) string { return fmt.Sprintf("%.2f", r.calls) })
	row("platform calls per machine deleted", func(r result) string { return fmt.Sprintf("%.2f", r.goneCalls) })
	row("CPU time per machine, of the process of the manager", func(r result) string { return fmt.Sprintf("%.1f ms", float64(r.cpuPerMachine.Microseconds())/1000) })
	row("memory of that process then / peak", func(r result) string { return fmt.Sprintf("%d/%d MiB", r.memoryNow, r.memoryPeak) })
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
	return out.String()
}
