// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package copying

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// stallBound is how long a copy may make no progress. It is longer than the source's own bound.
const stallBound = 5 * time.Minute

// Open opens the artefact of a request, and has the job tell how much of it was read. Errors are the port's.
func Open(ctx context.Context, at clock.WithDelayedExecution, j *Job, req platform.ImageRequest) (*artefact.Reader, error) {
	source, err := artefact.Opener{Clock: at}.Open(ctx, artefact.Source{
		URL: req.Source, Compression: req.Compression, SHA256: req.SHA256, SizeBytes: req.SizeBytes,
	})
	if err != nil {
		return nil, Translate(err)
	}
	j.Follow(source.BytesRead)
	return source, nil
}

// Watch cancels a copy that stands still. It returns the function that ends the watch.
func Watch(at clock.WithDelayedExecution, j *Job, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		for last := int64(-1); ; {
			timer := at.NewTimer(stallBound)
			select {
			case <-done:
				timer.Stop()
				return
			case <-timer.C():
			}
			now := j.Progress()
			if now == last {
				cancel(fmt.Errorf("the copy made no progress for %s", stallBound))
				return
			}
			last = now
		}
	}()
	return func() { close(done) }
}

// Translate turns the errors of an artefact into those of the port.
func Translate(err error) error {
	switch {
	case errors.Is(err, artefact.ErrMismatch):
		return fmt.Errorf("%w: %w", platform.ErrDigestMismatch, err)
	case errors.Is(err, artefact.ErrFormat):
		return fmt.Errorf("%w: %w", platform.ErrInvalid, err)
	default:
		return fmt.Errorf("%w: %w", platform.ErrSource, err)
	}
}

// Refuse reports an artefact that may not be stored. Wrong bytes are the likelier reason, so the rest of what was read,
// whose errors are the port's, is looked at first.
func Refuse(rest io.Reader, req platform.ImageRequest, reason error) error {
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return err
	}
	return fmt.Errorf("%w: artefact %s cannot be used: %w", platform.ErrInvalid, req.SHA256, reason)
}

// WithCause adds the reason for which a copy was cancelled.
func WithCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
