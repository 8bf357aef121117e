// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// smallestRoom is the free space in a storage pool below which a failure of libvirt is put down to it. libvirt does
// not say why it could not write.
const smallestRoom = 16 << 20

// build makes everything that the first start needs: first what can be refused, then the volumes, last the
// definition. The guest has never run, so what an earlier attempt left half made is made anew.
//
// One manager at a time works on a machine. For the moment in which a dying one and its successor overlap, build looks
// again before each step that would spoil what the other has started, and leaves it alone.
func (s *Session) build(ctx context.Context, c *client, v view, h hardware) error {
	p, req := *v.pool, h.req
	if v.definition != nil {
		h.given = v.definition.Name // a domain keeps the name that a person gave it
	}
	image, err := s.checkHost(ctx, c, h, p)
	if err != nil {
		return err
	}
	plan, err := c.planAddresses(ctx, req)
	if err != nil {
		return err
	}
	placed, unlock, err := s.place(ctx, c, req)
	if err != nil {
		return err
	}
	defer unlock()
	if err := makeRoot(ctx, c, req, p, image); err != nil {
		return err
	}
	if err := makeDisks(ctx, c, req, p); err != nil {
		return err
	}
	if moved, err := v.movedOn(ctx, c); moved || err != nil {
		return err
	}
	if err := makeReservations(ctx, c, req.Identity, plan.reservations); err != nil {
		return err
	}
	if err := s.makeCarrier(ctx, c, req, p, plan); err != nil {
		return err
	}
	if err := makeConsole(ctx, c, req, p); err != nil {
		return err
	}
	if moved, err := v.movedOn(ctx, c); moved || err != nil {
		return err
	}
	h.placed = placed
	definition, _, err := h.render()
	if err != nil {
		return err
	}
	return c.define(ctx, definition)
}

// movedOn tells whether somebody has defined or started the domain since v was gathered.
func (v view) movedOn(ctx context.Context, c *client) (bool, error) {
	now, err := v.again(ctx, c)
	if err != nil {
		return false, err
	}
	return (now.domain == nil) != (v.domain == nil) || now.mark != v.mark || now.domain != nil && now.domain.power != powerOff, nil
}

// makeConsole makes the file that QEMU appends the console log to, as a volume, so that it can be found and removed.
func makeConsole(ctx context.Context, c *client, req platform.Request, p pool) error {
	err := c.createVolume(ctx, p.name, &libvirtxml.StorageVolume{
		Name:     namesOf(req.Identity).console,
		Capacity: &libvirtxml.StorageVolumeSize{Unit: "bytes"},
		Target:   target("raw", "0600"),
	})
	if errors.Is(err, errExists) {
		return nil
	}
	return blameCapacity(ctx, c, p.name, err)
}

// checkHost refuses what this host cannot do, and returns the image.
func (s *Session) checkHost(ctx context.Context, c *client, h hardware, p pool) (copyName, error) {
	req := h.req
	if err := s.checkHostRuns(); err != nil {
		return copyName{}, err
	}
	if err := checkPool(p); err != nil {
		return copyName{}, err
	}
	if err := s.checkFeatures(ctx, c, req); err != nil {
		return copyName{}, err
	}
	if err := checkNetworks(ctx, c, req); err != nil {
		return copyName{}, err
	}
	name := h.name()
	other, err := c.domainNamed(ctx, name)
	switch {
	case err == nil && other != req.UUID:
		return copyName{}, fmt.Errorf("%w: domain %s is there with another uuid (%s): rename or remove it",
			platform.ErrForeign, name, other)
	case err != nil && !errors.Is(err, errNotFound):
		return copyName{}, err
	}
	volumes, err := c.volumes(ctx, p.name)
	if err != nil {
		return copyName{}, err
	}
	if volume, ok := foreignVolume(req.Identity, volumes); ok {
		return copyName{}, fmt.Errorf("%w: volume %s in storage pool %s was made for this machine by another management cluster",
			platform.ErrForeign, volume, p.name)
	}
	image, ok, err := usableCopy(ctx, c, p.name, req.ImageSHA256, volumes)
	switch {
	case err != nil:
		return copyName{}, err
	case !ok:
		return copyName{}, notReady(req.ImageSHA256, p.name)
	default:
		return image, checkRoom(ctx, c, req)
	}
}

func notReady(sha256, pool string) error {
	return fmt.Errorf("%w: image %s is not in storage pool %s, complete and verified", platform.ErrImageNotReady, sha256, pool)
}

// checkPool refuses pools whose volumes are not files: overlays, carriers and console logs need a directory.
func checkPool(p pool) error {
	switch p.kind {
	case "dir", "fs", "netfs":
		return nil
	default:
		return fmt.Errorf("%w: storage pool %s is of type %s: use one of type dir, fs or netfs", platform.ErrUnsupported, p.name, p.kind)
	}
}

// makeRoot makes the root disk. The seal of the image is looked at once more afterwards: whoever removes an image
// breaks the seal first and looks for disks second, so one of the two notices the other.
func makeRoot(ctx context.Context, c *client, req platform.Request, p pool, image copyName) error {
	base, err := c.volume(ctx, p.name, image.volume())
	if errors.Is(err, errNotFound) {
		return notReady(req.ImageSHA256, p.name)
	}
	if err != nil {
		return err
	}
	size, err := rootSize(req, base)
	if err != nil {
		return err
	}
	want := &libvirtxml.StorageVolume{
		Name:         namesOf(req.Identity).root,
		Capacity:     &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: size},
		Target:       target("qcow2", "0600"),
		BackingStore: &libvirtxml.StorageVolumeBackingStore{Path: base.Target.Path, Format: &libvirtxml.StorageVolumeTargetFormat{Type: image.format}},
	}
	if err := replaceUnlessSame(ctx, c, p.name, want); err != nil {
		return err
	}
	still, err := c.present(ctx, p.name, image.seal())
	if err != nil {
		return err
	}
	if !still[image.seal()] {
		return errors.Join(notReady(req.ImageSHA256, p.name), c.deleteVolume(ctx, p.name, want.Name))
	}
	return nil
}

// rootSize returns the size of the root disk, which cannot be smaller than the image.
func rootSize(req platform.Request, base *libvirtxml.StorageVolume) (uint64, error) {
	if base.Capacity == nil || base.Target == nil {
		return 0, fmt.Errorf("volume %s: libvirt does not tell its size", base.Name)
	}
	size := uint64(req.RootDiskBytes)
	switch {
	case size == 0:
		return base.Capacity.Value, nil
	case size < base.Capacity.Value:
		return 0, fmt.Errorf("%w: root disk of %d bytes is smaller than the image, which has %d bytes",
			platform.ErrInvalid, size, base.Capacity.Value)
	default:
		return size, nil
	}
}

// replaceUnlessSame makes a disk unless the very same is there, complete.
func replaceUnlessSame(ctx context.Context, c *client, pool string, want *libvirtxml.StorageVolume) error {
	have, err := c.volume(ctx, pool, want.Name)
	switch {
	case err == nil && sameDisk(have, want):
		return nil
	case err == nil:
		if err := c.deleteVolume(ctx, pool, want.Name); err != nil {
			return err
		}
	case !errors.Is(err, errNotFound):
		return err
	}
	return blameCapacity(ctx, c, pool, c.createVolume(ctx, pool, want))
}

func sameDisk(have, want *libvirtxml.StorageVolume) bool {
	return have.Target != nil && have.Target.Format != nil && have.Target.Format.Type == want.Target.Format.Type &&
		have.Capacity != nil && have.Capacity.Value == want.Capacity.Value && below(have) == below(want)
}

// below is the path of the disk that a disk is a layer over; empty for one that stands by itself.
func below(v *libvirtxml.StorageVolume) string {
	if v.BackingStore == nil {
		return ""
	}
	return v.BackingStore.Path
}

// blameCapacity turns a failure to write into platform.ErrCapacity when the pool is full.
func blameCapacity(ctx context.Context, c *client, poolName string, failure error) error {
	if failure == nil || errors.Is(failure, platform.ErrUnreachable) {
		return failure
	}
	p, err := measuredPool(ctx, c, poolName)
	if err != nil || p.available >= smallestRoom {
		return failure
	}
	return fmt.Errorf("%w: storage pool %s has %s left: %w", platform.ErrCapacity, poolName, mib(p.available), failure)
}

// target describes a file. Only images may be read by others than QEMU.
func target(format, mode string) *libvirtxml.StorageVolumeTarget {
	return &libvirtxml.StorageVolumeTarget{
		Format:      &libvirtxml.StorageVolumeTargetFormat{Type: format},
		Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: mode},
	}
}
