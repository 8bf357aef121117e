// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
)

const (
	// atOnce is how many jobs run at the same time: each holds two copies of a database on the scratch disk, and an etcd.
	atOnce = 2
	// firstRetry and lastRetry are how soon a job that has failed is tried again at first, and at last. Soon at first, because a
	// rollout waits for it, and what fails is often a node under load.
	firstRetry = 10 * time.Second
	lastRetry  = 15 * time.Minute
)

// Options are what a Keeper needs. Every field is required, except Store.Dir and what Store allows.
type Options struct {
	// Scratch is a folder for twice the size of the largest two databases. It may be lost at any time, and shared.
	Scratch string
	// Store is what is allowed of locations, and the manager's own folder.
	Store store.Options
	// Rehearser restores snapshots to try them.
	Rehearser Rehearser
	// Clock tells the time.
	Clock clock.PassiveClock
	// Ended is called when the job of a control plane has ended, so that it is asked for again. It may not block for long.
	Ended func(key types.NamespacedName)
}

// Keeper makes backups, at most one for a control plane and two in all at the same time. It is safe for concurrent use, and
// no method blocks but Wait.
type Keeper struct{ *keeper[Request] }

// New makes a Keeper, whose jobs end with the context, and removes what killed ones have left in the scratch folder.
func New(ctx context.Context, options Options) (*Keeper, error) {
	if err := sweep(options.Scratch); err != nil {
		return nil, fmt.Errorf("removing what killed backups left in %s: %w", options.Scratch, err)
	}
	return &Keeper{newKeeper(ctx, options.Clock, options.Ended, atOnce, func(ctx context.Context, r Request, report func(Running)) (State, error) {
		return (&job{Options: options, Request: r, report: report}).run(ctx)
	})}, nil
}

// task is what a keeper is asked for.
type task interface {
	check() error
	// mark is equal for tasks that have the same result, and that fail in the same way.
	mark() [sha256.Size]byte
}

// keeper runs jobs, at most one for a control plane, so many in all, and knows how they ended.
type keeper[R task] struct {
	ctx   context.Context //nolint:containedctx // jobs outlive the call that starts them, and end with the keeper
	clock clock.PassiveClock
	ended func(key types.NamespacedName)
	run   func(ctx context.Context, r R, report func(Running)) (State, error)
	turns chan struct{}
	jobs  sync.WaitGroup

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

func newKeeper[R task](ctx context.Context, clock clock.PassiveClock, ended func(types.NamespacedName), atOnce int, run func(context.Context, R, func(Running)) (State, error)) *keeper[R] {
	return &keeper[R]{ctx: ctx, clock: clock, ended: ended, run: run, turns: make(chan struct{}, atOnce), entries: map[types.NamespacedName]*entry{}}
}

// entry is what is known of a control plane.
type entry struct {
	mark     [sha256.Size]byte
	cancel   context.CancelFunc
	state    State
	failures int
}

// Ensure returns how it is with what is asked for, and starts to make it where nobody has.
func (k *keeper[R]) Ensure(key types.NamespacedName, r R) State {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state := k.look(key, r); state != nil {
		return state
	}
	mark, e := r.mark(), k.entries[key]
	if e == nil || e.mark != mark {
		e = &entry{mark: mark}
	}
	k.start(key, r, e)
	return e.state
}

// Look returns how it is with what is asked for, nil where Ensure would start to make it. The request needs no
// Source.
func (k *keeper[R]) Look(key types.NamespacedName, r R) State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.look(key, r)
}

// look is Look. The caller holds the lock.
func (k *keeper[R]) look(key types.NamespacedName, r R) State {
	now := k.clock.Now()
	if err := errors.Join(r.check(), k.ctx.Err()); err != nil {
		return Failed{Phase: Waiting, Err: err, RetryAt: now.Add(lastRetry)}
	}
	e := k.entries[key]
	if e == nil {
		return nil
	}
	failed, hasFailed := e.state.(Failed)
	_, runs := e.state.(Running)
	if runs || e.mark == r.mark() && (!hasFailed || now.Before(failed.RetryAt)) {
		return e.state
	}
	return nil
}

// start starts a job. The caller holds the lock.
func (k *keeper[R]) start(key types.NamespacedName, r R, e *entry) {
	ctx, cancel := context.WithCancel(k.ctx)
	e.cancel, e.state = cancel, Running{Phase: Waiting}
	k.entries[key] = e
	k.jobs.Go(func() {
		defer cancel()
		done, err := k.take(ctx, r, func(now Running) { k.set(e, now) })
		if k.conclude(key, e, done, err) {
			k.ended(key)
		}
	})
}

// take waits for its turn, and runs the job.
func (k *keeper[R]) take(ctx context.Context, r R, report func(Running)) (State, error) {
	select {
	case k.turns <- struct{}{}:
		defer func() { <-k.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return k.run(ctx, r, report)
}

func (k *keeper[R]) set(e *entry, s State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.state = s
}

// conclude returns whether anybody still wants to know.
func (k *keeper[R]) conclude(key types.NamespacedName, e *entry, done State, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		e.state, e.failures = done, 0
	} else {
		last, _ := e.state.(Running)
		e.state = Failed{Phase: last.Phase, Err: err, RetryAt: k.clock.Now().Add(backoff(e.failures))}
		e.failures++
	}
	return k.entries[key] == e
}

// backoff is how long to wait after so many failures before.
func backoff(failures int) time.Duration {
	return min(firstRetry<<min(failures, 10), lastRetry)
}

// Forget ends the job of a control plane that is gone, and forgets it. What it has made stays.
func (k *keeper[R]) Forget(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[key]; e != nil {
		e.cancel()
		delete(k.entries, key)
	}
}

// Wait waits until the context of the keeper has ended, and then until all jobs have.
func (k *keeper[R]) Wait() {
	<-k.ctx.Done()
	func() { // whoever is just starting a job has started it
		k.mu.Lock()
		defer k.mu.Unlock()
	}()
	k.jobs.Wait()
}
