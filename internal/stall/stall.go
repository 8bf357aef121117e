// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stall ends what makes no progress. A transfer of unknown size has no sensible deadline: what it has is a longest
// time without a byte. The package knows neither bytes nor connections: whoever moves them says so.
package stall

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Err says that something has stalled; errors that Watch ends a context with wrap it.
var Err = errors.New("no progress")

// Watch ends a context when there is no progress for too long.
type Watch struct {
	bound  time.Duration
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// New starts a Watch, and returns the context that it ends. Whoever calls it calls Stop in the end. Afterwards Cause says
// why the context ended.
func New(ctx context.Context, bound time.Duration) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{bound: bound, cancel: cancel}
	w.timer = time.AfterFunc(bound, func() { cancel(fmt.Errorf("%w for %s", Err, bound)) })
	return ctx, w
}

// Progress says that there was progress.
func (w *Watch) Progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(w.bound)
	}
}

// Stop ends the context and the Watch.
func (w *Watch) Stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// Cause prefers why the context ended to the error that its end had caused, which says nothing.
func Cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}
