// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package copying is what adapters share that copy artefacts in the background of a session: the copies that run, what they
// read, and how their failures are told in the errors of the port.
//
// It knows no platform and no disk format, and decides nothing about what is stored where.
package copying

import (
	"context"
	"fmt"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Jobs are the copies that run in the background of a session, one per image. The zero value is ready to use.
type Jobs struct {
	mu   sync.Mutex
	jobs map[platform.ImageIdentity]*Job
	all  sync.WaitGroup
}

// Job is one copy. Err may be read once it has finished.
type Job struct {
	Err error

	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	bytes func() int64
}

// Follow tells where progress is read.
func (j *Job) Follow(bytes func() int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes = bytes
}

// Progress returns how many bytes were read from the source.
func (j *Job) Progress() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.bytes == nil {
		return 0
	}
	return j.bytes()
}

// Start runs a copy. The caller has made sure that there is none for that image. ended is called after the result can
// be taken.
func (i *Jobs) Start(ctx context.Context, id platform.ImageIdentity, run func(context.Context, *Job) error, ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	j := &Job{cancel: cancel, done: make(chan struct{})}
	i.mu.Lock()
	if i.jobs == nil {
		i.jobs = map[platform.ImageIdentity]*Job{}
	}
	i.jobs[id] = j
	i.mu.Unlock()
	i.all.Go(func() {
		defer cancel()
		j.Err = run(ctx, j)
		close(j.done)
		ended()
	})
}

// Take returns the copy of an image and whether it has finished; nil when there is none. A finished one is handed out once.
func (i *Jobs) Take(id platform.ImageIdentity) (j *Job, finished bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	j = i.jobs[id]
	if j == nil {
		return nil, false
	}
	select {
	case <-j.done:
		delete(i.jobs, id)
		return j, true
	default:
		return j, false
	}
}

// Abort ends the copy of an image and forgets its result. Errors: platform.ErrNotAsked, when it has not ended in time.
func (i *Jobs) Abort(ctx context.Context, id platform.ImageIdentity) error {
	i.mu.Lock()
	j := i.jobs[id]
	i.mu.Unlock()
	if j == nil {
		return nil
	}
	j.cancel()
	select {
	case <-j.done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", platform.ErrNotAsked, ctx.Err())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.jobs, id)
	return nil
}

// Wait returns when no copy runs any more.
func (i *Jobs) Wait() { i.all.Wait() }
