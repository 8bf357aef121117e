// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// SwitchOff implements platform.PowerCycler.
func (s *Session) SwitchOff(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return s.switchPower(ctx, id, func(c *client, m vm) (task ref, err error) {
		if m.power == poweredOff {
			return ref{}, nil
		}
		return c.powerOff(ctx, m.ref)
	})
}

// SwitchOn implements platform.PowerCycler.
func (s *Session) SwitchOn(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	return s.switchPower(ctx, id, func(c *client, m vm) (task ref, err error) {
		if m.power == poweredOn {
			return ref{}, nil
		}
		return c.powerOn(ctx, m.ref)
	})
}

// switchPower begins a task on a virtual machine that is finished, waits until it has ended, and returns what is there then. A
// task that somebody else was faster with is no failure: the next look tells.
func (s *Session) switchPower(ctx context.Context, id platform.Identity, begin func(*client, vm) (task ref, err error)) (seen platform.Observation, err error) {
	err = s.withOwn(ctx, id, func(c *client, v view) error {
		if v.making != "" || v.unsure || len(v.vms) == 0 || v.vms[0].mark.unfinished {
			seen = v.observation()
			return nil
		}
		task, err := begin(c, v.vms[0])
		if err == nil && !task.zero() {
			err = s.await(ctx, c, task)
		}
		if err != nil && !overtaken(err) {
			return err
		}
		if v, err = s.look(ctx, c, id, proof); err != nil {
			return err
		}
		seen = v.observation()
		return nil
	})
	return seen, err
}
