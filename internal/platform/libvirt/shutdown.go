// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// graceful tells whether a guest still has time to shut down. Only one that runs does: one that is held cannot hear.
func (v view) graceful(now, forceAfter time.Time) bool {
	return v.domain != nil && v.domain.power == powerOn && now.Before(forceAfter)
}

// shutDown asks a guest to shut down, once in a while. It presses the power button, which every guest knows; the domains
// of this package have no channel to an agent in the guest. A guest that reboots instead goes off as well, as far as this
// version of libvirt and QEMU can tell them to.
func (s *Session) shutDown(ctx context.Context, c *client, id string) error {
	if !s.shutdowns.Due(id, s.config.Clock.Now()) {
		return nil
	}
	err := c.forbidReboot(ctx, id)
	if !errors.Is(err, platform.ErrUnreachable) {
		err = ignoreNotFound(ignoreState(c.askToShutDown(ctx, id)))
	}
	if err != nil {
		s.shutdowns.Forget(id)
	}
	return err
}

// shuttingDown words what Release tells about a guest that has been asked. It is the same with every call.
func shuttingDown(o platform.Observation, forceAfter time.Time) platform.Observation {
	if o.Power == platform.PowerOn {
		o.Detail = "asked to shut down, is switched off at " + forceAfter.UTC().Format(time.RFC3339)
	}
	return o
}
