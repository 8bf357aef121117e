// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Release implements platform.Platform.
func (s *Session) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	var last platform.Observation
	err := s.withOwn(ctx, req.Identity, func(c *client, v view) error {
		if err := remove(ctx, c, v); err != nil {
			return err
		}
		after, err := look(ctx, c, req.Identity)
		if err != nil {
			return err
		}
		last = after.observation()
		return nil
	})
	return last, err
}

// remove takes an instance away: the domain first, so that nothing uses the volumes any more, and the volumes that Ensure
// made last, so that as long as anything is left the next call finds one of them.
func remove(ctx context.Context, c *client, v view) error {
	if v.domain == nil && !v.anyVolume() {
		return nil
	}
	if v.domain != nil {
		if err := c.destroy(ctx, v.id.UUID); err != nil {
			return err
		}
		if err := c.undefine(ctx, v.id.UUID); err != nil {
			return err
		}
	}
	if v.pool == nil {
		return nil
	}
	return removeVolumes(ctx, c, v.id)
}

// removeVolumes removes everything in the pool that carries the owner token, the root disk last. Other programs make files
// beside the volumes (virtlogd the older parts of a console log, people snapshots); libvirt sees those only when it reads
// the directory anew.
func removeVolumes(ctx context.Context, c *client, id platform.Identity) error {
	if err := c.refreshPool(ctx, id.Storage); err != nil {
		return err
	}
	names := namesOf(id)
	own, err := c.ownVolumes(ctx, id.Storage, names)
	if err != nil {
		return err
	}
	delete(own, names.root)
	for _, name := range append(slices.Sorted(maps.Keys(own)), names.root) {
		if err := c.deleteVolume(ctx, id.Storage, name); err != nil {
			return err
		}
	}
	return nil
}

// ScrubBootstrap implements platform.BootstrapScrubber. What QEMU has read at its start stays in its memory, where the
// guest's root user can read it, until the guest is powered off; the definition of the running process still names
// the file, which is gone.
func (s *Session) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	return s.withOwn(ctx, id, func(c *client, v view) error {
		if v.refersToBootstrap() {
			if err := forgetBootstrap(ctx, c, v.definition); err != nil {
				return err
			}
		}
		if name := namesOf(id).bootstrap; v.volumes[name] {
			return c.deleteVolume(ctx, id.Storage, name)
		}
		return nil
	})
}

// forgetBootstrap takes the firmware configuration file out of a definition.
func forgetBootstrap(ctx context.Context, c *client, d *libvirtxml.Domain) error {
	var kept []libvirtxml.DomainSysInfo
	for _, info := range d.SysInfo {
		if info.FWCfg == nil {
			kept = append(kept, info)
		}
	}
	d.SysInfo = kept
	text, err := d.Marshal()
	if err != nil {
		return fmt.Errorf("definition of domain %s: %w", d.Name, err)
	}
	return c.define(ctx, text)
}

// withOwn runs fn on an instance that was just proved to be ours, alone.
func (s *Session) withOwn(ctx context.Context, id platform.Identity, fn func(*client, view) error) error {
	if err := checkIdentity(id); err != nil {
		return err
	}
	unlock, err := s.locks.lock(ctx, id.UUID)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	v, err := look(ctx, c, id)
	if err != nil {
		return err
	}
	return fn(c, v)
}
