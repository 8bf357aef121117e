// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/artefact"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// stallBound is how long a copy may make no progress. It is longer than the source's own bound.
	stallBound = 5 * time.Minute
	// settleBound is how long libvirt may take to see what was written, and cleaning up may take.
	settleBound = time.Minute
	settlePause = 200 * time.Millisecond
)

// startCopy starts to copy an artefact in the background of the session.
func (s *Session) startCopy(req platform.ImageRequest) {
	s.images.start(s.copying, req.ImageIdentity, func(ctx context.Context, j *imageJob) error {
		err := s.copyImage(ctx, j, req)
		s.config.Log.V(1).Info("Image copy ended", "sha256", req.SHA256, "pool", req.Storage, "error", err)
		return err
	}, func() { s.events(platform.Event{ImageSHA256: req.SHA256}) })
}

// copyImage makes one copy: open, check the kind of disk, write, look, seal. Whatever goes wrong, the copy has no seal
// and is removed.
func (s *Session) copyImage(ctx context.Context, j *imageJob, req platform.ImageRequest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source, err := artefact.Opener{Clock: s.config.Clock}.Open(ctx, artefact.Source{
		URL: req.Source, Compression: req.Compression, SHA256: req.SHA256, SizeBytes: req.SizeBytes,
	})
	if err != nil {
		return translate(err)
	}
	defer func() { _ = source.Close() }()
	j.follow(source.BytesRead)
	defer s.watchProgress(j, cancel)()

	content := &content{from: bufio.NewReaderSize(source, 1<<20)}
	if header, err := content.from.Peek(headerSize); err != nil && !errors.Is(err, io.EOF) {
		return translate(err)
	} else if err := checkDisk(req.Format, header); err != nil {
		return s.refuse(content, req, err)
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	n := copyName{sha256: req.SHA256, attempt: newAttempt(), format: req.Format}
	if err := s.write(ctx, c, req, n, content); err != nil {
		return errors.Join(withCause(ctx, err), s.discard(ctx, req.Storage, n))
	}
	return nil
}

// refuse reports a disk that may not be stored. Wrong bytes are the likelier reason, so they are looked for first.
func (s *Session) refuse(content *content, req platform.ImageRequest, reason error) error {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	return fmt.Errorf("%w: artefact %s cannot be used: %w", platform.ErrInvalid, req.SHA256, reason)
}

// write fills a volume and seals it.
func (s *Session) write(ctx context.Context, c *client, req platform.ImageRequest, n copyName, content *content) error {
	volume := &libvirtxml.StorageVolume{
		Name:     n.volume(),
		Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes"},
		Target:   target("raw", "0644"),
	}
	if err := c.createVolume(ctx, req.Storage, volume); err != nil {
		return blameCapacity(ctx, c, req.Storage, err)
	}
	if err := s.upload(ctx, req.Storage, n.volume(), content); err != nil {
		return blameCapacity(ctx, c, req.Storage, err)
	}
	if err := s.settle(ctx, c, req.Storage, n, content.count); err != nil {
		return err
	}
	return seal(ctx, c, req.Storage, n, uint64(content.count))
}

// settle waits until libvirt has seen what was written: it tells the format and size of the disk from then on.
func (s *Session) settle(ctx context.Context, c *client, pool string, n copyName, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	for {
		v, err := c.volume(ctx, pool, n.volume())
		if err != nil {
			return err
		}
		if v.Target != nil && v.Target.Format != nil && v.Target.Format.Type == n.format && v.Physical != nil && v.Physical.Value == uint64(size) {
			return nil
		}
		if err := ignoreState(c.refreshPool(ctx, pool)); err != nil {
			return err
		}
		timer := s.config.Clock.NewTimer(settlePause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: libvirt does not see volume %s as a %s disk of %d bytes", platform.ErrUnreachable, n.volume(), n.format, size)
		}
	}
}

// discard removes a copy that was not finished. What it cannot remove is swept later.
func (s *Session) discard(ctx context.Context, pool string, n copyName) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleBound)
	defer cancel()
	c, err := s.acquire(ctx)
	if err == nil {
		err = c.deleteVolume(ctx, pool, n.volume())
	}
	if errors.Is(err, platform.ErrUnreachable) {
		return nil
	}
	return err
}

// watchProgress cancels a copy that stands still. It returns the function that ends the watch.
func (s *Session) watchProgress(j *imageJob, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	go func() {
		for last := int64(-1); ; {
			timer := s.config.Clock.NewTimer(stallBound)
			select {
			case <-done:
				timer.Stop()
				return
			case <-timer.C():
			}
			now := j.progress()
			if now == last {
				cancel(fmt.Errorf("the copy made no progress for %s", stallBound))
				return
			}
			last = now
		}
	}()
	return func() { close(done) }
}

// content is what is written into the volume: the artefact's content, counted. Its errors are the port's already.
type content struct {
	from  *bufio.Reader
	count int64
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.count += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = translate(err)
	}
	return n, err
}

// translate turns the errors of the artefact into those of the port.
func translate(err error) error {
	switch {
	case errors.Is(err, artefact.ErrMismatch):
		return fmt.Errorf("%w: %w", platform.ErrDigestMismatch, err)
	case errors.Is(err, artefact.ErrFormat):
		return fmt.Errorf("%w: %w", platform.ErrInvalid, err)
	default:
		return fmt.Errorf("%w: %w", platform.ErrSource, err)
	}
}

// withCause adds the reason for which a copy was cancelled.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// newAttempt names an attempt so that two managers never write the same volume.
func newAttempt() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
