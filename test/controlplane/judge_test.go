// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// This file is the judge. It knows what the manager cannot know: which members run, and what was done to them. It blames the
// manager only for what could be known when it looked at etcd last.

// observe records every change of the members, until the context ends.
func (w *world) observe(ctx context.Context) {
	last := ""
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		members, err := w.members(ctx)
		if err != nil {
			continue
		}
		w.mark(members)
		if now := called(members); now != last {
			last = now
			w.note("members: %s", now)
		}
	}
}

// members returns the members as they agree on them now.
func (w *world) members(ctx context.Context) (members []*etcdserverpb.Member, err error) {
	err = w.through(func(c *clientv3.Client) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		listed, err := c.MemberList(ctx)
		if err == nil {
			members = listed.Members
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	before := w.agreed
	w.agreed = members
	w.mu.Unlock()
	for _, m := range before {
		if !slices.ContainsFunc(members, func(o *etcdserverpb.Member) bool { return o.ID == m.ID }) {
			w.mu.Lock()
			ours := w.removing[m.ID]
			w.mu.Unlock()
			if !ours {
				w.accuse("member %s was removed, and not by us", m.Name)
			}
		}
	}
	return members, nil
}

// mark notes on nodes which are no members any more, so that nobody is led to them.
func (w *world) mark(members []*etcdserverpb.Member) {
	for _, n := range w.all() {
		n.mu.Lock()
		was := n.removed
		n.removed = n.removed || n.stage >= promoted && !slices.ContainsFunc(members, func(m *etcdserverpb.Member) bool { return m.ID == n.id })
		is := n.removed
		n.mu.Unlock()
		if is && !was {
			w.severAPI(n)
		}
	}
}

func called(members []*etcdserverpb.Member) string {
	var names []string
	for _, m := range members {
		name := m.Name
		if name == "" {
			name = fmt.Sprintf("%x, never started", m.ID)
		}
		if m.IsLearner {
			name += " (learner)"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// membersNow are the members now, or as last agreed where nobody can agree.
func (w *world) membersNow(ctx context.Context) []*etcdserverpb.Member {
	members, err := w.members(ctx)
	if err != nil {
		w.mu.Lock()
		members = w.agreed
		w.mu.Unlock()
	}
	return members
}

// judgeLoss accuses who takes a voter away that etcd cannot spare.
func (w *world) judgeLoss(ctx context.Context, what string, taken func(*etcdserverpb.Member) bool, unwell map[string]bool) {
	all, well, takes := 0, 0, false
	for _, m := range w.membersNow(ctx) {
		switch {
		case m.IsLearner:
		case taken(m):
			takes = true
		default:
			all++
			if m.Name != "" && !unwell[m.Name] && w.node(m.Name) != nil {
				well++
			}
		}
	}
	if takes && well < all/2+1 {
		w.accuse("%s: of the %d other voters %d are well", what, all, well)
	}
}

// judgeRemove judges the removal of a member.
func (w *world) judgeRemove(ctx context.Context, member plan.Member, unwell map[string]bool) {
	w.judgeLoss(ctx, "member "+member.Called()+" is removed", func(m *etcdserverpb.Member) bool {
		return strconv.FormatUint(m.ID, 16) == member.ID
	}, unwell)
	if id, err := strconv.ParseUint(member.ID, 16, 64); err == nil {
		w.mu.Lock()
		w.removing[id] = true
		w.mu.Unlock()
	}
}

// removed notes that a member is none any more, so that nobody is led to it.
func (w *world) removed(member plan.Member) {
	n := w.node(member.Name)
	if n == nil {
		return
	}
	n.mu.Lock()
	n.removed = true
	n.mu.Unlock()
	w.severAPI(n)
}

// judgeDelete judges the deletion of a Machine: what is on it will go.
func (w *world) judgeDelete(ctx context.Context, name string, last seen) {
	w.mu.Lock()
	ending := w.ending
	w.mu.Unlock()
	if ending {
		return
	}
	w.judgeLoss(ctx, "Machine "+name+" is deleted", func(m *etcdserverpb.Member) bool { return m.Name == name }, last.unwell)
	votes := func(name string) bool {
		return !last.unheard[name] && slices.ContainsFunc(w.membersNow(ctx), func(m *etcdserverpb.Member) bool { return m.Name == name && !m.IsLearner })
	}
	w.mu.Lock()
	var others []string
	for other := range w.deletes {
		others = append(others, other)
	}
	w.deletes[name] = true
	w.mu.Unlock()
	for _, other := range others {
		if other != name && votes(name) && votes(other) {
			w.accuse("Machine %s is deleted while %s goes: two healthy ones at a time", name, other)
		}
	}
}

// judgeRelease judges that a Machine is let go: it must not have a vote any more.
func (w *world) judgeRelease(ctx context.Context, name string) {
	w.mu.Lock()
	ending := w.ending
	w.mu.Unlock()
	members, err := w.members(ctx)
	if err != nil {
		return // nobody can tell
	}
	for _, m := range members {
		if !ending && m.Name == name && !m.IsLearner {
			w.accuse("Machine %s is let go with its member", name)
		}
	}
}

// judgeStop judges that an instance ends: with it dies what is on it.
func (w *world) judgeStop(ctx context.Context, n *node) {
	w.mu.Lock()
	ending := w.ending
	w.mu.Unlock()
	n.mu.Lock()
	id := n.id
	n.mu.Unlock()
	if ending || id == 0 {
		return
	}
	members, err := w.members(ctx)
	if err != nil {
		return // nobody can tell
	}
	for _, m := range members {
		if m.ID == id && !m.IsLearner {
			w.accuse("the instance of %s ends, and its member votes", n.name)
		}
	}
}
