// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// step is what Ensure does next to an instance.
type step int

const (
	// stepNone: the instance was started once; nobody touches it any more.
	stepNone step = iota
	// stepBuild makes volumes and definition.
	stepBuild
	// stepStart starts QEMU with the guest stopped.
	stepStart
	// stepMarkStarting writes down that the guest may run from now on.
	stepMarkStarting
	// stepResume lets the guest run.
	stepResume
	// stepMarkStarted writes down that the guest was let go.
	stepMarkStarted
)

// maxSteps bounds one round of Ensure. The longest way has six.
const maxSteps = 8

// next decides what to do, from what is there alone. See stage for why the order is safe against a crash at any point.
func next(v view, want mark, volumes []string) step {
	if v.domain == nil {
		return stepBuild
	}
	complete := !slices.ContainsFunc(volumes, func(name string) bool { return !v.volumes[name] })
	switch {
	case v.mark.Stage == stageStarted:
		return stepNone
	case v.mark.Stage == stageStarting && v.domain.power == powerPaused:
		return stepResume
	case v.mark.Stage == stageStarting:
		return stepMarkStarted
	case v.domain.power != powerOff:
		return stepMarkStarting
	case !complete || v.mark.Revision != want.Revision:
		return stepBuild
	default:
		return stepStart
	}
}

// Ensure implements platform.Platform.
func (s *Session) Ensure(ctx context.Context, req platform.Request) (platform.Observation, error) {
	if err := checkRequest(req); err != nil {
		return platform.Observation{}, err
	}
	unlock, err := s.locks.Lock(ctx, req.UUID)
	if err != nil {
		return platform.Observation{}, err
	}
	defer unlock()
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Observation{}, err
	}
	v, err := look(ctx, c, req.Identity)
	if err != nil {
		return platform.Observation{}, err
	}
	for range maxSteps {
		taken, err := s.advance(ctx, c, req, v)
		if err != nil {
			return platform.Observation{}, err
		}
		if taken == stepNone {
			return v.observation(), nil
		}
		if v, err = lookAfter(ctx, c, v, taken); err != nil {
			return platform.Observation{}, err
		}
	}
	return v.observation(), nil
}

// lookAfter looks at what a step may have changed. Calls are what making an instance costs its host.
func lookAfter(ctx context.Context, c *client, v view, taken step) (view, error) {
	if taken != stepBuild {
		now, err := v.again(ctx, c)
		if err != nil || now.domain != nil {
			return now, err
		}
	}
	return look(ctx, c, v.id)
}

// advance does the next step of an instance and tells which it was.
func (s *Session) advance(ctx context.Context, c *client, req platform.Request, v view) (taken step, err error) {
	if v.pool == nil && v.mark.Stage == stageNone {
		return stepNone, fmt.Errorf("%w: there is no storage pool %s on the host", platform.ErrInvalid, req.Storage)
	}
	h := hardware{req: req, emulated: s.config.Acceleration == Emulated, poolPath: v.poolPath()}
	_, want, err := h.render()
	if err != nil {
		return stepNone, err
	}
	taken = next(v, want, h.volumes())
	switch taken {
	case stepNone:
	case stepBuild:
		err = s.build(ctx, c, v, h)
	case stepStart:
		err = start(ctx, c, req, v)
	case stepMarkStarting:
		err = markStarting(ctx, c, v)
	case stepResume:
		err = ignoreState(c.resume(ctx, req.UUID))
	case stepMarkStarted:
		err = setStage(ctx, c, v, stageStarted)
	}
	return taken, err
}

// start starts QEMU with the guest stopped, unless what the definition claims was claimed by another at the same time. Then
// the definition goes, so that neither waits for the other, and the next step makes a new one. The guest has never run.
func start(ctx context.Context, c *client, req platform.Request, v view) error {
	placed, err := stillPlaced(ctx, c, req, v)
	if err != nil {
		return err
	}
	if placed {
		return ignoreState(c.startPaused(ctx, req.UUID))
	}
	if moved, err := v.movedOn(ctx, c); moved || err != nil {
		return err
	}
	return c.undefine(ctx, req.UUID)
}

// markStarting writes down that the guest may run from now on. A libvirtd that was killed while it started QEMU can wait
// for that QEMU for ever when it is back. The guest has never run, so QEMU is ended, and the next step starts another.
func markStarting(ctx context.Context, c *client, v view) error {
	err := setStage(ctx, c, v, stageStarting)
	if !errors.Is(err, errBusy) {
		return err
	}
	now, err := v.again(ctx, c)
	if err != nil || now.domain == nil || now.mark != v.mark {
		return err // another manager has gone on
	}
	return c.destroy(ctx, v.id.UUID)
}

// setStage writes down how far the first start has come.
func setStage(ctx context.Context, c *client, v view, to stage) error {
	m := v.mark
	m.Stage = to
	element, err := m.element()
	if err != nil {
		return fmt.Errorf("mark of domain %s: %w", v.id.UUID, err)
	}
	return c.setMark(ctx, v.id.UUID, element)
}

// ignoreState drops the error of a change that somebody else made first. The next look tells.
func ignoreState(err error) error {
	if errors.Is(err, errState) {
		return nil
	}
	return err
}

// checkRequest refuses what can never work on any host.
func checkRequest(req platform.Request) error {
	if err := rules.CheckRequest(req, pciDevicesField); err != nil {
		return err
	}
	if err := checkDisks(req.Disks); err != nil {
		return err
	}
	return checkBootstrap(req)
}
