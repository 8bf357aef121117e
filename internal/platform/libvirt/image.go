// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// staleAfter is how long an unsealed copy that nobody writes is left alone. Another manager may be writing it; one that
// was killed is not.
const staleAfter = 2 * time.Minute

// EnsureImage implements platform.Platform.
func (s *Session) EnsureImage(ctx context.Context, req platform.ImageRequest) (platform.ImageObservation, error) {
	if err := checkImageRequest(req); err != nil {
		return platform.ImageObservation{}, err
	}
	unlock, err := s.locks.Lock(ctx, imageKey(req.ImageIdentity))
	if err != nil {
		return platform.ImageObservation{}, err
	}
	defer unlock()
	job, finished := s.images.Take(req.ImageIdentity)
	if finished && job.Err != nil {
		return platform.ImageObservation{}, job.Err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.ImageObservation{}, err
	}
	if job != nil && !finished {
		return platform.ImageObservation{BytesDone: job.Progress()}, nil
	}
	return s.storeImage(ctx, c, req)
}

// storeImage looks for a usable copy, and starts to make one if there is none.
func (s *Session) storeImage(ctx context.Context, c *client, req platform.ImageRequest) (platform.ImageObservation, error) {
	var none platform.ImageObservation
	p, err := c.pool(ctx, req.Storage)
	if errors.Is(err, errNotFound) {
		return none, fmt.Errorf("%w: there is no storage pool %s on the host", platform.ErrInvalid, req.Storage)
	}
	if err != nil {
		return none, err
	}
	if err := checkPool(p); err != nil {
		return none, err
	}
	names, err := c.volumes(ctx, req.Storage)
	if err != nil {
		return none, err
	}
	if err := s.sweep(ctx, c, req.ImageIdentity, names); err != nil {
		return none, err
	}
	n, ok, err := usableCopy(ctx, c, req.Storage, req.SHA256, names)
	switch {
	case err != nil:
		return none, err
	case ok && n.format != req.Format:
		return none, fmt.Errorf("%w: artefact %s is declared as %s and is %s", platform.ErrInvalid, req.SHA256, req.Format, n.format)
	case ok:
		return platform.ImageObservation{Ready: true, BytesDone: req.SizeBytes, ExternalID: p.path + "/" + n.volume()}, nil
	}
	broken, _, _ := copies(req.SHA256, names)
	for _, n := range broken {
		if err := removeCopy(ctx, c, req.Storage, n); err != nil && !errors.Is(err, platform.ErrInUse) {
			return none, err
		}
	}
	if p, err = measuredPool(ctx, c, req.Storage); err != nil {
		return none, err
	}
	if p.available < req.SizeBytes {
		return none, fmt.Errorf("%w: storage pool %s has %s left, the artefact alone has %s: make room in the pool",
			platform.ErrCapacity, p.name, mib(p.available), mib(req.SizeBytes))
	}
	s.startCopy(req)
	return none, nil
}

// sweep removes what killed managers left behind of an image.
func (s *Session) sweep(ctx context.Context, c *client, id platform.ImageIdentity, names []string) error {
	_, unsealed, seals := copies(id.SHA256, names)
	for _, seal := range seals {
		if err := c.deleteVolume(ctx, id.Storage, seal); err != nil {
			return err
		}
	}
	for _, n := range unsealed {
		v, err := c.volume(ctx, id.Storage, n.volume())
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if s.config.Clock.Now().Sub(modified(v)) < staleAfter {
			continue
		}
		if err := removeCopy(ctx, c, id.Storage, n); err != nil && !errors.Is(err, platform.ErrInUse) {
			return err
		}
	}
	return nil
}

// modified returns when a volume was last written, by the host's clock. One that does not tell is as old as can be.
func modified(v *libvirtxml.StorageVolume) time.Time {
	if v.Target == nil || v.Target.Timestamps == nil {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(v.Target.Timestamps.Mtime, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// ReleaseImage implements platform.Platform.
func (s *Session) ReleaseImage(ctx context.Context, id platform.ImageIdentity) error {
	if err := rules.CheckImage(id); err != nil {
		return err
	}
	unlock, err := s.locks.Lock(ctx, imageKey(id))
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.images.Abort(ctx, id); err != nil {
		return err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	names, err := c.volumes(ctx, id.Storage)
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	sealed, unsealed, seals := copies(id.SHA256, names)
	for _, n := range append(sealed, unsealed...) {
		if err := removeCopy(ctx, c, id.Storage, n); err != nil {
			return err
		}
	}
	for _, seal := range seals {
		if err := c.deleteVolume(ctx, id.Storage, seal); err != nil {
			return err
		}
	}
	return nil
}

// removeCopy removes one copy unless a disk depends on it. The seal is broken before the deciding look, so that a
// disk that is made at the same moment is either seen here or sees the broken seal (makeRoot).
func removeCopy(ctx context.Context, c *client, pool string, n copyName) error {
	if err := refuseInUse(ctx, c, pool, n); err != nil {
		return err
	}
	data, err := c.volume(ctx, pool, n.volume())
	if err != nil {
		return ignoreNotFound(err)
	}
	sealed, err := c.present(ctx, pool, n.seal())
	if err != nil || !sealed[n.seal()] {
		return errors.Join(err, c.deleteVolume(ctx, pool, n.volume()))
	}
	if err := c.deleteVolume(ctx, pool, n.seal()); err != nil {
		return err
	}
	if err := refuseInUse(ctx, c, pool, n); err != nil {
		return errors.Join(err, seal(ctx, c, pool, n, physical(data)))
	}
	return c.deleteVolume(ctx, pool, n.volume())
}

func refuseInUse(ctx context.Context, c *client, pool string, n copyName) error {
	users, err := c.dependants(ctx, pool, n.volume())
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("%w: %d volumes in storage pool %s are layers over it, the first is %s", platform.ErrInUse, len(users), pool, users[0])
	}
	return nil
}

// seal states that a copy is complete and verified. The seal is an empty file that is as long as the copy: libvirt does
// not flush what it stores, so a host that loses power can come back with a copy that is shorter than it was.
func seal(ctx context.Context, c *client, pool string, n copyName, size uint64) error {
	err := c.createVolume(ctx, pool, &libvirtxml.StorageVolume{
		Name:       n.seal(),
		Capacity:   &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: size},
		Allocation: &libvirtxml.StorageVolumeSize{Unit: "bytes"},
		Target:     target("raw", "0644"),
	})
	if errors.Is(err, errExists) {
		return nil
	}
	return blameCapacity(ctx, c, pool, err)
}

// usableCopy returns the first copy of an image that is sealed and as long as its seal says.
func usableCopy(ctx context.Context, c *client, pool, sha256 string, names []string) (copyName, bool, error) {
	sealed, _, _ := copies(sha256, names)
	for _, n := range sealed {
		data, err := c.volume(ctx, pool, n.volume())
		if err != nil {
			return copyName{}, false, ignoreNotFound(err)
		}
		mark, err := c.volume(ctx, pool, n.seal())
		if err != nil {
			return copyName{}, false, ignoreNotFound(err)
		}
		if size := physical(data); size > 0 && size == physical(mark) {
			return n, true, nil
		}
	}
	return copyName{}, false, nil
}

func physical(v *libvirtxml.StorageVolume) uint64 {
	if v.Physical == nil {
		return 0
	}
	return v.Physical.Value
}

func ignoreNotFound(err error) error {
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

func imageKey(id platform.ImageIdentity) string { return "image/" + id.Storage + "/" + id.SHA256 }

func checkImageRequest(req platform.ImageRequest) error {
	if err := rules.CheckImage(req.ImageIdentity); err != nil {
		return err
	}
	switch {
	case req.Format != "qcow2" && req.Format != "raw":
		return fmt.Errorf("%w: libvirt hosts take artefacts of format qcow2 or raw, not %s", platform.ErrUnsupported, req.Format)
	case req.SizeBytes < 1:
		return fmt.Errorf("%w: the size of the artefact is %d bytes", platform.ErrInvalid, req.SizeBytes)
	}
	return nil
}
