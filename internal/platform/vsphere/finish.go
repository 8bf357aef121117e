// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// A machine whose clone cannot be all of it is unfinished: it is cloned without a start and says so in its mark, from its
// first moment. What is missing is done, it is started, and then its mark says so no longer; until then nobody is told that it
// was started. Each step can be taken again by whoever finds the machine as it is. A session that saw the start succeed never
// starts it a second time. Only when that session dies before the mark is taken away, and the guest has switched itself off
// by then, is it started once more.

// starting is what is being done when an unfinished machine is started.
const starting = "being started"

// finish takes an unfinished machine one step further.
func (s *Session) finish(ctx context.Context, c *client, req platform.Request, v *view) error {
	if v.failed != nil && !overtaken(v.failed) {
		return v.failed
	}
	m := v.vms[0]
	if v.ended == starting {
		s.started.Store(req.UUID, true)
	}
	_, started := s.started.Load(req.UUID)
	var next work
	var err error
	switch {
	case m.power == poweredOn || started:
		next.what = "being noted as started"
		next.task, err = c.setExtra(ctx, m.ref, map[string]string{unfinishedKey: ""})
	case m.version < req.HardwareVersion:
		next.what = fmt.Sprintf("its hardware being upgraded from version %d to %d", m.version, req.HardwareVersion)
		next.task, err = c.upgrade(ctx, m.ref, req.HardwareVersion)
	default:
		if err := s.tag(ctx, c, req.Tags, m.ref); err != nil {
			return err
		}
		if err := s.bind(ctx, c, req, m.ref); err != nil {
			return err
		}
		next.what = starting
		next.task, err = c.powerOn(ctx, m.ref)
	}
	return s.began(req.UUID, next, err, v)
}

// began notes a step that was begun, unless somebody else was faster: then the next look tells.
func (s *Session) began(uuid string, next work, err error, v *view) error {
	switch {
	case overtaken(err):
		v.making, v.told = next.what, false // by a task that is not ours, whose failure nobody would tell
		return nil
	case err != nil:
		return err
	}
	s.note(subject{uuid: uuid}, next, v)
	return nil
}

// overtaken tells whether a step has failed because it was taken already, or is being taken.
func overtaken(err error) bool {
	return errors.Is(err, errState) || errors.Is(err, errNotFound) || errors.Is(err, errBusy)
}

// tag puts the tags on a machine, which no clone does.
func (s *Session) tag(ctx context.Context, c *client, wanted []platform.Tag, vm ref) error {
	if len(wanted) == 0 {
		return nil
	}
	unlock, err := s.locks.Lock(ctx, "further")
	if err != nil {
		return err
	}
	ids, err := s.tagIDs(ctx, c, wanted)
	unlock()
	if err != nil {
		return err
	}
	if err := c.attach(ctx, ids, vm); err != nil {
		s.known.forgetTags() // a tag may have been removed, and made anew
		return fmt.Errorf("spec.platform.vsphere.tags: %w", err)
	}
	return nil
}
