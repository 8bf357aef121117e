// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// SwitchOff implements platform.PowerCycler.
func (s *Session) SwitchOff(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return s.switchPower(ctx, id, func(c *client, v view) error {
		if v.domain.power == powerOff {
			return nil
		}
		return c.destroy(ctx, id.UUID)
	})
}

// SwitchOn implements platform.PowerCycler. QEMU starts with the guest running: that it may run was written down at its
// first start.
func (s *Session) SwitchOn(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return s.switchPower(ctx, id, func(c *client, v view) error {
		if v.domain.power != powerOff {
			return nil
		}
		return ignoreState(c.startAgain(ctx, id.UUID))
	})
}

// switchPower runs fn on a domain whose guest was let go once, and returns what is there afterwards.
func (s *Session) switchPower(ctx context.Context, id platform.Identity, fn func(*client, view) error) (seen platform.Observation, err error) {
	err = s.withOwn(ctx, id, func(c *client, v view) error {
		if v.domain != nil && v.mark.Stage == stageStarted {
			if err := fn(c, v); err != nil {
				return err
			}
			if v, err = v.again(ctx, c); err != nil {
				return err
			}
		}
		seen = v.observation()
		return nil
	})
	return seen, err
}
