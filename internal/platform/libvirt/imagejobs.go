// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"sync"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// imageJobs are the copies that run in the background of a session, one per image. The zero value is ready to use.
type imageJobs struct {
	mu   sync.Mutex
	jobs map[platform.ImageIdentity]*imageJob
	all  sync.WaitGroup
}

// imageJob is one copy. err may be read once done is closed.
type imageJob struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	mu    sync.Mutex
	bytes func() int64
}

// follow tells where progress is read.
func (j *imageJob) follow(bytes func() int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes = bytes
}

// progress returns how much was read from the source.
func (j *imageJob) progress() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.bytes == nil {
		return 0
	}
	return j.bytes()
}

// start runs a copy. The caller has made sure that there is none for that image. ended is called after the result can
// be taken.
func (i *imageJobs) start(ctx context.Context, id platform.ImageIdentity, run func(context.Context, *imageJob) error, ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	j := &imageJob{cancel: cancel, done: make(chan struct{})}
	i.mu.Lock()
	if i.jobs == nil {
		i.jobs = map[platform.ImageIdentity]*imageJob{}
	}
	i.jobs[id] = j
	i.mu.Unlock()
	i.all.Go(func() {
		defer cancel()
		j.err = run(ctx, j)
		close(j.done)
		ended()
	})
}

// take returns the copy of an image and whether it has finished. A finished one is handed out once.
func (i *imageJobs) take(id platform.ImageIdentity) (j *imageJob, finished bool) {
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

// abort ends the copy of an image and forgets its result.
func (i *imageJobs) abort(ctx context.Context, id platform.ImageIdentity) error {
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
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, ctx.Err())
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.jobs, id)
	return nil
}

// wait returns when no copy runs any more.
func (i *imageJobs) wait() { i.all.Wait() }
