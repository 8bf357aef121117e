// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Release implements platform.Platform.
func (s *Session) Release(ctx context.Context, req platform.ReleaseRequest) (platform.Observation, error) {
	var last platform.Observation
	err := s.withOwn(ctx, req.Identity, func(c *client, v view) error {
		asked, err := s.remove(ctx, c, req, &v)
		if err != nil {
			return err
		}
		last = v.observation()
		if asked {
			last.Detail = "asked to shut down, is switched off at " + req.ForceAfter.UTC().Format(time.RFC3339)
		}
		return nil
	})
	return last, err
}

// remove takes an instance one step nearer to its end. asked is whether the guest has time to end by itself.
func (s *Session) remove(ctx context.Context, c *client, req platform.ReleaseRequest, v *view) (asked bool, err error) {
	if v.making != "" || v.unsure || len(v.vms) == 0 {
		return false, nil
	}
	if v.failed != nil && !errors.Is(v.failed, errState) && !errors.Is(v.failed, errNotFound) {
		return false, v.failed
	}
	s.started.Delete(v.id.UUID)
	s.unstarted.Delete(v.id.UUID)
	m := v.vms[0]
	if m.power == poweredOn && s.config.Clock.Now().Before(req.ForceAfter) {
		asked, err = s.shutDown(ctx, c, v.id, m)
		if asked || err != nil {
			return asked, err
		}
	}
	next := work{what: "being switched off"}
	if m.power == poweredOff {
		next, err = s.dispose(ctx, c, m)
	} else {
		s.shutdowns.Forget(v.id.UUID)
		next.task, err = c.powerOff(ctx, m.ref)
	}
	return false, s.began(v.id.UUID, next, err, v)
}

// dispose destroys a virtual machine that is off. Disks that are not its own are taken out of it first: they stay.
func (s *Session) dispose(ctx context.Context, c *client, m vm) (next work, err error) {
	if !m.disksRead { // it went off since it was told
		read, err := c.ask(ctx, question{vms: []ref{m.ref}, disks: true})
		if err != nil || len(read.vms) == 0 {
			return work{what: "being destroyed"}, cmp.Or(err, errNotFound)
		}
		m.strangers = read.vms[0].strangers
	}
	if len(m.strangers) > 0 {
		next.what = fmt.Sprintf("taking out %d disks that are not its own", len(m.strangers))
		next.task, err = c.detach(ctx, m)
		return next, err
	}
	next.what, next.destroys = "being destroyed", true
	if err := s.leaveGroups(ctx, c, m); err != nil {
		return next, err
	}
	next.task, err = c.destroy(ctx, m.ref)
	return next, err
}

// shutDown asks a guest to shut down, once in a while. A guest without VMware Tools cannot hear, and is not waited for.
func (s *Session) shutDown(ctx context.Context, c *client, id platform.Identity, m vm) (asked bool, err error) {
	if !s.shutdowns.Due(id.UUID, s.config.Clock.Now()) {
		return true, nil
	}
	err = c.askToShutDown(ctx, m.ref)
	switch {
	case err == nil, errors.Is(err, errState), errors.Is(err, errNotFound), errors.Is(err, errBusy):
		return true, nil
	case errors.Is(err, errNoTools):
		s.shutdowns.Forget(id.UUID)
		return false, nil
	default:
		s.shutdowns.Forget(id.UUID)
		return false, err
	}
}

// ScrubBootstrap implements platform.BootstrapScrubber. The guest cannot read the properties any more from then on; what it
// has read already is its own.
func (s *Session) ScrubBootstrap(ctx context.Context, id platform.Identity) error {
	return s.withOwn(ctx, id, func(c *client, v view) error {
		if v.making != "" || v.unsure {
			return fmt.Errorf("%w: the machine is still being made", errBusy)
		}
		for _, m := range v.vms {
			if len(m.mark.bootstrap) == 0 {
				continue
			}
			blank := map[string]string{bootstrapKey: ""}
			for _, key := range m.mark.bootstrap {
				blank[key] = ""
			}
			task, err := c.setExtra(ctx, m.ref, blank)
			if err == nil {
				err = s.await(ctx, c, task)
			}
			if err != nil && !errors.Is(err, errNotFound) {
				return err
			}
		}
		return nil
	})
}

// awaitBound is how long a task is waited for that takes a moment.
const awaitBound = 15 * time.Second

// await waits for the end of a task that takes a moment. The stream tells it; what it came to is read only where that was not
// told, or where it failed.
func (s *Session) await(ctx context.Context, c *client, begun ref) error {
	ctx, cancel := context.WithTimeout(ctx, awaitBound)
	defer cancel()
	select {
	case <-s.mirror.endOf(begun):
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", platform.ErrUnreachable, ctx.Err())
	}
	if told, known := s.mirror.task(begun); known && told.succeeded {
		return nil
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		_, t, err := c.read(ctx, nil, begun)
		switch {
		case err != nil:
			return err
		case t == nil:
			return fmt.Errorf("%w: vCenter does not know the task any more", platform.ErrUnreachable)
		case t.done:
			return t.err
		}
		s.pause(ctx, wait)
	}
}
