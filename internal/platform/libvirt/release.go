// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"maps"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// Release implements platform.Platform.
func (s *Session) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	var last platform.Observation
	err := s.withOwn(ctx, req.Identity, func(c *client, v view) error {
		graceful := v.graceful(s.config.Clock.Now(), req.ForceAfter)
		var err error
		if graceful {
			err = s.shutDown(ctx, c, req.UUID)
		} else {
			s.shutdowns.Forget(req.UUID)
			err = remove(ctx, c, v)
		}
		if err != nil {
			return err
		}
		after, err := look(ctx, c, req.Identity)
		if err != nil {
			return err
		}
		last = after.observation()
		if graceful {
			last = shuttingDown(last, req.ForceAfter)
		}
		return nil
	})
	return last, err
}

// remove takes an instance away: the guest first, so that nothing uses the volumes and addresses any more, then the
// addresses, and what proves that they were ours last, so that as long as anything is left the next call finds it.
func remove(ctx context.Context, c *client, v view) error {
	if v.domain == nil && !v.anyVolume() {
		return nil
	}
	if v.domain != nil {
		if err := c.destroy(ctx, v.id.UUID); err != nil {
			return err
		}
	}
	if err := removeReservations(ctx, c, v.id); err != nil {
		return err
	}
	if v.domain != nil {
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

// withOwn runs fn on an instance that was just proved to be ours, alone.
func (s *Session) withOwn(ctx context.Context, id platform.Identity, fn func(*client, view) error) error {
	if err := rules.CheckIdentity(id); err != nil {
		return err
	}
	unlock, err := s.locks.Lock(ctx, id.UUID)
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
