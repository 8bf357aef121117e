// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package artefact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// stream is a file on a server as one row of bytes, over as many connections as that takes.
type stream struct {
	ctx   context.Context //nolint:containedctx // the stream lives as long as its reader; its context ends with it
	clock clock.WithDelayedExecution
	file  *file
	// patience is how long one connection may be silent.
	patience time.Duration
	// reader knows what was handed on: how many bytes, and their digest so far.
	reader *meter

	conn    *connection
	version version
	// pauses are those that are left until something new came.
	pauses wait.Backoff
	// noRanges says that the server cannot be asked for a part.
	noRanges bool
	// again is how many bytes were read that had been handed on before.
	again int64
	// joined says that what was handed on may be of different versions of the file.
	joined bool
}

// start connects for the first time. The reader's guard bounds how long that takes.
func (o Opener) start(ctx context.Context, f *file, reader *meter) (*stream, error) {
	s := &stream{ctx: ctx, clock: o.clock(), file: f, patience: o.stall() / 2, reader: reader, pauses: pauses()}
	if err := s.connect(ctx, o.stall()); err != nil {
		return nil, asSource(err)
	}
	return s, nil
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.conn.Read(p)
		switch {
		case n > 0:
			s.pauses = pauses()
			return n, nil
		case err == nil:
			return 0, nil
		case !errors.Is(err, io.EOF):
		case s.conn.whole || s.reader.count.Load() >= s.file.declared:
			return 0, io.EOF
		default:
			err = io.ErrUnexpectedEOF
		}
		if err := s.resume(err); err != nil {
			return 0, asSource(err)
		}
	}
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.conn.Close() }

// resume connects again after the connection broke. An attempt counts until something new was read: see Read.
func (s *stream) resume(broken error) error {
	_ = s.conn.Close()
	for {
		if cause := context.Cause(s.ctx); cause != nil {
			return fmt.Errorf("%w: %w", ErrSource, cause)
		}
		if s.pauses.Steps == 0 {
			return fmt.Errorf("%w: gave up after %d attempts to go on: %w", ErrSource, maxAttempts, broken)
		}
		d := s.pauses.Step()
		if busy, ok := errors.AsType[busyError](broken); ok {
			if busy.after > maxRetryAfter {
				return fmt.Errorf("%w: %w and asks to be left alone for %s", ErrSource, broken, busy.after)
			}
			d = max(d, busy.after)
		}
		if err := pause(s.ctx, s.clock, d); err != nil {
			return fmt.Errorf("%w: %w; before that: %w", ErrSource, err, broken)
		}
		err := s.connect(s.ctx, s.patience)
		if _, ok := errors.AsType[lastingError](err); ok || err == nil {
			return err
		}
		broken = err
	}
}

// connect makes a connection whose next byte is the next to hand on.
func (s *stream) connect(ctx context.Context, limit time.Duration) error {
	next := s.reader.count.Load()
	from := next
	if s.noRanges {
		from = 0
	}
	ctx, end := context.WithCancelCause(ctx)
	connecting := newGuard(s.clock, limit, end)
	resp, err := s.file.get(ctx, from, s.version.condition())
	connecting.disarm()
	if err != nil {
		err = withCause(ctx, err)
		end(nil)
		return err
	}
	c := &connection{
		ctx: ctx, end: end, guard: newGuard(s.clock, s.patience, end), body: resp.Body, from: resp.Body, version: versionOf(resp.Header),
	}
	c.guard.disarm()
	defer func() {
		if s.conn != c {
			_ = resp.Body.Close()
			end(nil)
		}
	}()
	if err := s.place(c, resp, from); err != nil {
		return err
	}
	if c.first == 0 {
		if err := s.skip(c, next); err != nil {
			return err
		}
		s.version, s.joined = c.version, false
	}
	s.conn = c
	return nil
}

// skip reads again what was handed on already, and drops it. It must be the same: what follows belongs to it.
func (s *stream) skip(c *connection, length int64) error {
	if s.again+length > s.file.declared {
		return lasting(fmt.Errorf("%w: the server sends the file only as a whole, and too much of it was read twice already", ErrSource))
	}
	sum := sha256.New()
	for buffer := make([]byte, min(length, 64<<10)); length > 0; {
		n, err := c.Read(buffer[:min(length, int64(len(buffer)))])
		s.reader.guard.arm()
		sum.Write(buffer[:n])
		length -= int64(n)
		s.again += int64(n)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && c.whole:
			return changed()
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	if !bytes.Equal(sum.Sum(nil), s.reader.sum.Sum(nil)) {
		return changed()
	}
	return nil
}

// asSource makes sure that an error tells whose it is.
func asSource(err error) error {
	for _, known := range []error{ErrSource, ErrMismatch, ErrFormat} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrSource, err)
}
