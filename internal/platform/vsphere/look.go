// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// view is everything that is there of one instance. It is gathered by look and judged by pure functions.
type view struct {
	id platform.Identity
	// vms are the virtual machines of the instance. There is one; whatever makes a second is not us, but both are ours.
	vms []vm
	// making says what is under way; empty when nothing is.
	making string
	// failed is why the last task of this session for the instance has failed; nil when it has not. It is told once.
	failed error
	// ended is the last task of this session for the instance, if it was just seen to succeed; empty otherwise. It is told once.
	ended string
	// unsure is whether a clone is under way that may be of this instance.
	unsure bool
	// told is whether the stream tells of every change of what was seen.
	told bool
}

// attention says how far look goes to tell that nothing is there.
type attention bool

const (
	// glance believes what vCenter has found. It is enough for making an instance, because its name cannot be taken twice.
	glance attention = false
	// proof also asks for clones that are under way, whoever began them.
	proof attention = true
)

// look gathers the view of an instance. A virtual machine with the machine's uuid that does not carry the owner token is
// platform.ErrForeign.
func (s *Session) look(ctx context.Context, c *client, id platform.Identity, how attention) (view, error) {
	v := view{id: id}
	of := subject{uuid: id.UUID}
	w, working := s.works.get(of)
	if working && w.silent(s.config.Clock.Now()) {
		v.making, v.told = w.words(), true
		return v, nil
	}
	if how == proof && s.departed(ctx, id.UUID, w) {
		return v, nil
	}
	q := question{vms: s.refs(id.UUID), task: w.task}
	// Clones are read before what they make is searched: one that ends between is found. A task of ours may have switched the
	// instance off before that was told.
	q.clones = how == proof && (working || len(q.vms) == 0 || s.mirror.off(id.UUID))
	q.disks = q.clones
	read, err := c.ask(ctx, q)
	if err != nil {
		return v, err
	}
	v.vms = read.vms
	if working {
		s.settle(of, w, read.task, &v)
	}
	if v.making == "" && len(v.vms) == 0 {
		if v.vms, err = s.search(ctx, c, id, read.task); err != nil {
			return v, err
		}
	}
	for _, m := range v.vms {
		if !m.mark.owns(id) || m.instanceUUID != id.UUID {
			return v, fmt.Errorf("%w: virtual machine %s has the instance UUID %s of this machine and no owner token of this management cluster; "+
				"nothing was changed", platform.ErrForeign, m.name, id.UUID)
		}
	}
	if v.making == "" && (len(v.vms) == 0 && how == proof || v.anyStopped()) {
		v.unsure, err = s.unsure(ctx, c, v, q, read)
	}
	if v.making == "" {
		v.told = s.mirror.tellsOf(v.vms)
	}
	return v, err
}

// refs are the virtual machines and templates with an instance UUID, as far as that was read or told.
func (s *Session) refs(uuid string) []ref {
	if known := s.known.refs(uuid); len(known) > 0 {
		return known
	}
	told, _ := s.mirror.refs(uuid)
	return told
}

// settle takes what was read of a task of ours into the view. Of a task that vCenter does not know any more, what is there
// tells what became of it.
func (s *Session) settle(of subject, w work, t *task, v *view) {
	switch {
	case t != nil && !t.done:
		s.works.saw(of, w.task, t.percent, s.config.Clock.Now())
		w.percent = t.percent
		v.making, v.told = w.words(), w.watched
		return
	case t != nil && t.err != nil:
		v.failed = fmt.Errorf("%s: %w", w.what, t.err)
	case t != nil:
		v.ended = w.what
	}
	s.works.end(of)
}

// search reads what a task has made, or what vCenter finds. What may stand there of somebody else is asked, and never taken
// from what the stream has told so far.
func (s *Session) search(ctx context.Context, c *client, id platform.Identity, t *task) ([]vm, error) {
	if t != nil && t.result.kind == kindVM {
		made, _, err := c.read(ctx, []ref{t.result}, ref{})
		if err != nil {
			return nil, err
		}
		if len(made) > 0 {
			s.known.putRefs(id.UUID, []ref{t.result})
			return made, nil
		}
	}
	return s.find(ctx, c, id)
}

// find asks for the virtual machines of an instance, and reads them.
func (s *Session) find(ctx context.Context, c *client, id platform.Identity) ([]vm, error) {
	refs, err := c.find(ctx, id.UUID)
	if err != nil {
		return nil, err
	}
	vms, _, err := c.read(ctx, refs, ref{})
	if err != nil {
		return nil, err
	}
	s.known.putRefs(id.UUID, refs)
	return vms, nil
}

// unsure tells whether what was seen of an instance may not be all: because a clone is under way that may be of it, or, where
// nothing was seen, because the session does not see where it was. What was not read with it already is read now.
func (s *Session) unsure(ctx context.Context, c *client, v view, asked question, read answer) (bool, error) {
	further := question{clones: !asked.clones}
	if len(v.vms) == 0 && v.id.SeenIn != "" {
		var err error
		if further.folder, err = s.lastSeenIn(ctx, c, v.id); err != nil {
			return true, err
		}
	}
	more, err := c.ask(ctx, further)
	if err != nil {
		return true, err
	}
	if !further.folder.zero() && !more.seesFolder {
		return true, unseenFolder(v.id)
	}
	if further.clones {
		read.clones = more.clones
	}
	return s.strays(ctx, c, read.clones)
}

// lastSeenIn returns the folder in which an instance is on record to have been.
func (s *Session) lastSeenIn(ctx context.Context, c *client, id platform.Identity) (ref, error) {
	at, err := whereOf(id.Storage, id.SeenIn, "")
	if err != nil {
		return ref{}, err
	}
	if found, known := s.known.place(at.folder); known {
		return found, nil
	}
	found, err := c.lookup(ctx, at.folder)
	if errors.Is(err, errNotFound) {
		return ref{}, unseenFolder(id)
	}
	if err == nil {
		s.known.putPlace(at.folder, found)
	}
	return found, err
}

func unseenFolder(id platform.Identity) error {
	return fmt.Errorf("%w: the session does not see the folder %s, where the machine was, so that nobody can tell whether it is gone: "+
		"give the user System.View and System.Read there, or make the folder again", platform.ErrUnreachable, id.SeenIn)
}

// strays tells whether one of the clones is of an image's copy, and was not begun by this session, or it does not know to have
// begun it because the answer was lost. It may be of any machine.
func (s *Session) strays(ctx context.Context, c *client, running []cloning) (bool, error) {
	ours := s.works.tasks()
	var sources []ref
	for _, clone := range running {
		if !ours[clone.task] && !slices.Contains(sources, clone.from) {
			sources = append(sources, clone.from)
		}
	}
	if len(sources) == 0 {
		return false, nil
	}
	from, _, err := c.read(ctx, sources, ref{})
	return len(from) < len(sources) || slices.ContainsFunc(from, func(m vm) bool { return m.mark.copyOf != "" }), err
}

// anyStopped tells whether one does not run that should: an unfinished one was never started.
func (v view) anyStopped() bool {
	return slices.ContainsFunc(v.vms, func(m vm) bool { return m.power != poweredOn && !m.mark.unfinished })
}

// observation is what the port tells about a view.
func (v view) observation() platform.Observation {
	switch {
	case v.making != "":
		return platform.Observation{Existence: platform.Exists, Detail: v.making, UntilEvent: v.told}
	case v.unsure:
		return platform.Observation{Detail: "a clone is under way that may be of this machine; vCenter tells when it has ended"}
	case len(v.vms) == 0:
		return platform.Observation{Existence: platform.Absent}
	}
	m := v.vms[0]
	o := platform.Observation{
		Existence: platform.Exists, Started: true, Power: platform.PowerOff, Detail: string(m.power), UntilEvent: v.told,
		BootstrapPresent: slices.ContainsFunc(v.vms, func(m vm) bool { return len(m.mark.bootstrap) > 0 }),
	}
	if m.mark.unfinished {
		o.Started, o.Detail = false, "cloned, and not finished yet"
		return o
	}
	if m.power == poweredOn {
		o.Power = platform.PowerOn
		o.Addresses = slices.Clone(m.mark.addresses)
		for _, a := range m.addresses {
			if !slices.Contains(o.Addresses, a) {
				o.Addresses = append(o.Addresses, a)
			}
		}
	}
	return o
}

// Observe implements platform.Platform.
func (s *Session) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	if err := rules.CheckIdentity(id); err != nil {
		return platform.Observation{}, err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Observation{}, err
	}
	v, err := s.look(ctx, c, id, proof)
	if err != nil {
		return platform.Observation{}, told(err)
	}
	return v.observation(), nil
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
	v, err := s.look(ctx, c, id, proof)
	if err != nil {
		return told(err)
	}
	return told(fn(c, v))
}
