// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/test/bench/scale/usage"
)

// result is what was measured with one number of machines.
type result struct {
	place                   string
	n                       int
	provisioned, ready      time.Duration // until all are
	p50, p99                time.Duration // of one machine, from its creation until it is provisioned
	own50, own99            time.Duration // of that, from Cluster API's word that it is to be made, without what it waited for the place
	created, deleted        float64       // requests of our manager per machine
	sharedLines             []string      // requests of our manager meanwhile that are one for all machines
	createdLines, goneLines []string
	calls, goneCalls        float64 // calls of the place per machine until ready, and of one deleted
	callLines, goneCalled   []string
	memory                  usage.Memory
	cpuPerMachine           time.Duration
	quiet                   time.Duration // from the start of a new manager until its last request or call, to the second
	quietRequests           float64       // per machine, of that
	quietCalls              float64       // of the port per machine, of that
	restFor                 time.Duration
	restRequests, restCalls int
	gone                    time.Duration
}

// measure runs one number of machines from nothing to nothing.
func (b bench) measure(ctx context.Context, at place, n int) (r result, err error) {
	r = result{place: at.name(), n: n, restFor: b.rest}
	p, err := startPlane(ctx, b.programs)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.prepare(ctx, at, b.inFlight); err != nil {
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
	called, err := e.place.look(ctx)
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
	now, err := e.place.look(ctx)
	if err != nil {
		return err
	}
	took, own := seen.durations(now.away)
	r.provisioned, r.p50, r.p99 = seen.all.Sub(begin), quantile(took, 0.5), quantile(took, 0.99)
	r.own50, r.own99 = quantile(own, 0.5), quantile(own, 0.99)
	after, err := e.manager.used()
	if err != nil {
		return err
	}
	r.createdLines, r.created, r.sharedLines = requestsSince(before, after, r.n)
	r.callLines, r.calls = since(called.calls, now.calls, r.n)
	r.cpuPerMachine = (after.CPU - before.CPU) / time.Duration(r.n)
	r.memory = after.Memory
	return nil
}

// restart replaces the manager and waits until it has nothing more to do.
func (e *experiment) restart(ctx context.Context) error {
	if err := e.manager.stop(); err != nil {
		return err
	}
	say("  restarting the manager")
	begin := time.Now()
	before, err := e.place.look(ctx)
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
		now, err := e.place.look(ctx)
		if err != nil {
			return err
		}
		_, calls = since(before.calls, now.calls, 1)
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
	called, err := e.place.look(ctx)
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
	now, err := e.place.look(ctx)
	_, calls := since(called.calls, now.calls, 1)
	e.result.restRequests, e.result.restCalls = int(total), int(calls)
	return err
}

func (e *experiment) remove(ctx context.Context) error {
	begin := time.Now()
	before, err := e.manager.used()
	if err != nil {
		return err
	}
	called, err := e.place.look(ctx)
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
	e.result.goneLines, e.result.deleted, _ = requestsSince(before, after, e.result.n)
	now, err := e.place.look(ctx)
	if err != nil {
		return err
	}
	e.result.goneCalled, e.result.goneCalls = since(called.calls, now.calls, e.result.n)
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	left, err := e.place.look(ctx)
	if err == nil && left.instances > 0 {
		err = fmt.Errorf("%d instances are left on the platform", left.instances)
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
