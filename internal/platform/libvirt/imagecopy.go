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

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/copying"
)

const (
	// settleBound is how long libvirt may take to see what was written, and cleaning up may take.
	settleBound = time.Minute
	settlePause = 200 * time.Millisecond
)

// startCopy starts to copy an artefact in the background of the session.
func (s *Session) startCopy(req platform.ImageRequest) {
	s.images.Start(s.copying, req.ImageIdentity, func(ctx context.Context, j *copying.Job) error {
		err := s.copyImage(ctx, j, req)
		s.config.Log.V(1).Info("Image copy ended", "sha256", req.SHA256, "pool", req.Storage, "error", err)
		return err
	}, func() { s.events(platform.Event{ImageSHA256: req.SHA256}) })
}

// copyImage makes one copy: open, check the kind of disk, write, look, seal. Whatever goes wrong, the copy has no seal
// and is removed.
func (s *Session) copyImage(ctx context.Context, j *copying.Job, req platform.ImageRequest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	source, err := copying.Open(ctx, s.config.Clock, j, req)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	defer copying.Watch(s.config.Clock, j, cancel)()

	content := &content{from: bufio.NewReaderSize(source, 1<<20)}
	if header, err := content.from.Peek(headerSize); err != nil && !errors.Is(err, io.EOF) {
		return copying.Translate(err)
	} else if err := checkDisk(req.Format, header); err != nil {
		return copying.Refuse(content, req, err)
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	n := copyName{sha256: req.SHA256, attempt: newAttempt(), format: req.Format}
	if err := s.write(ctx, c, req, n, content); err != nil {
		return errors.Join(copying.WithCause(ctx, err), s.discard(ctx, req.Storage, n))
	}
	return nil
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
		err = copying.Translate(err)
	}
	return n, err
}

// newAttempt names an attempt so that two managers never write the same volume.
func newAttempt() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
