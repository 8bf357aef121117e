// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A lease is what the disk of an import is sent by. It is kept alive while the disk is on its way, completed when all of it was
// read and is the declared one, and aborted otherwise. One that nobody keeps alive ends by itself, with all that was made.

const (
	// leaseBound is how long vCenter may take to have a lease ready.
	leaseBound = 2 * time.Minute
	// leaseEvery is how long vCenter is not told that a disk is still being sent, at most.
	leaseEvery = 30 * time.Second
)

// leaseReady waits until a disk can be sent.
func (s *Session) leaseReady(ctx context.Context, begun ref) (lease, error) {
	bounded, end := context.WithTimeout(ctx, leaseBound)
	defer end()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		c, err := s.session(bounded)
		if err != nil {
			return lease{}, err
		}
		l, err := c.lease(bounded, begun)
		switch {
		case err != nil:
			return l, leaseGone(err)
		case l.failed != nil:
			return l, fmt.Errorf("the import of the disk: %w", l.failed)
		case l.ready && l.disks != 1:
			return l, fmt.Errorf("%w: vCenter wants %d disks for the import of one", platform.ErrUnsupported, l.disks)
		case l.ready:
			return l, nil
		case bounded.Err() != nil:
			return l, fmt.Errorf("%w: the import of the disk did not begin within %s", platform.ErrUnreachable, leaseBound)
		}
		s.pause(bounded, wait)
	}
}

// send sends a disk, and reads what comes after it: the last byte decides whether it is the declared one.
func (s *Session) send(ctx context.Context, l lease, disk *parcel, content *content) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	sent := &tally{from: disk.stream}
	err = c.upload(ctx, l, sent, disk.size)
	if err == nil && sent.sum() != disk.size {
		err = fmt.Errorf("%w: it was content with %d of %d bytes", errUpload, sent.sum(), disk.size)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, context.Cause(ctx))
	case content.failure() != nil:
		return content.failure()
	case err != nil:
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
	}
	return nil
}

// keepLease tells vCenter that a disk is still being sent, and ends an import whose lease has ended. It returns the function
// that ends this.
func (s *Session) keepLease(ctx context.Context, l lease, percent func() int32, cancel context.CancelCauseFunc) (stop func()) {
	every := max(min(l.timeout/3, leaseEvery), 100*time.Millisecond)
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := s.config.Clock.Now(); ; {
			s.pause(ctx, every)
			if ctx.Err() != nil {
				return
			}
			c, err := s.acquire(ctx)
			if err == nil {
				err = c.leaseProgress(ctx, l.ref, percent())
			}
			switch {
			case err == nil:
				last = s.config.Clock.Now()
			case ctx.Err() != nil:
				return
			case !errors.Is(err, platform.ErrUnreachable) || s.config.Clock.Since(last) > l.timeout:
				cancel(leaseGone(err))
				return
			}
		}
	}()
	return func() {
		end()
		<-done
	}
}

// leaseGone words that a lease has ended before its disk was there. It can be tried again.
func leaseGone(err error) error {
	if errors.Is(err, platform.ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: vCenter has ended the import: %w", platform.ErrUnreachable, err)
}

func (s *Session) complete(ctx context.Context, l ref) error {
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	if err := c.leaseComplete(ctx, l); err != nil {
		return leaseGone(err)
	}
	return nil
}

// leaseFailure is why an import has failed. Where it was the host that failed, the lease knows better.
func (s *Session) leaseFailure(ctx context.Context, begun ref, failed error) error {
	if !errors.Is(failed, errUpload) {
		return failed
	}
	ctx, cancel := s.tidying(ctx)
	defer cancel()
	if c, err := s.acquire(ctx); err == nil {
		if l, err := c.lease(ctx, begun); err == nil && l.failed != nil {
			return fmt.Errorf("the import of the disk: %w", l.failed)
		}
	}
	return failed
}

// abort ends a lease. One that cannot be ended ends by itself.
func (s *Session) abort(ctx context.Context, begun ref) {
	ctx, cancel := s.tidying(ctx)
	defer cancel()
	c, err := s.acquire(ctx)
	if err == nil {
		err = c.leaseAbort(ctx, begun)
	}
	if err != nil {
		s.config.Log.V(1).Info("A lease was not aborted, and ends by itself", "lease", begun.value, "reason", err.Error())
	}
}
