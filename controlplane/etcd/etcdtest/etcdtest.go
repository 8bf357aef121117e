// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Way is what every way to the members can do. What it cannot is told by errors, and tested beside it.
type Way interface {
	Remover
	Members(ctx context.Context) ([]plan.Member, error)
	MoveLeader(ctx context.Context, from, to plan.Member) error
	Snapshot(ctx context.Context, sink etcd.Sink) (etcd.Snapshot, error)
}

// Lab is three real members, each on a node of its own, and hands beside them. It ends with its test.
type Lab interface {
	// Way is a way to the members on these nodes, or on all of them where none is named.
	Way(nodes ...string) Way
	// Freeze has a member stand still until thaw is called, and Kill ends it for ever, with all that answers for it.
	Freeze(node string) (thaw func())
	Kill(node string)
	// Put has the members agree on a key.
	Put(t *testing.T, key, value string)
}

// Run runs the whole suite. start starts three members.
func Run(t *testing.T, start func(t *testing.T) Lab) {
	t.Helper()
	for _, c := range []struct {
		name string
		why  string
		test func(*testing.T, Lab)
	}{
		{"Members", "who plans replacements must know who is well, whatever stands still", testMembers},
		{"Silence", "could not tell is never nobody", testSilence},
		{"Replace", "a manager that was killed does everything again", testReplace},
		{"Dead", "a machine that burned down must not keep its member", testDead},
		{"Snapshot", "what was acknowledged is in the backup, or there is none", testSnapshot},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Log("why: " + c.why)
			c.test(t, start(t))
		})
	}
}

// Until waits until the members are as they should be, and returns them.
func Until(t *testing.T, way Way, what string, is func([]plan.Member) bool) []plan.Member {
	t.Helper()
	var last []plan.Member
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if last, err = way.Members(t.Context()); err == nil && is(last) {
			return last
		}
	}
	t.Fatalf("it never happens that %s: %+v, %v", what, last, err)
	return nil
}

// Leader is who leads, zero where nobody does.
func Leader(all []plan.Member) plan.Member {
	if i := slices.IndexFunc(all, func(m plan.Member) bool { return m.Leader }); i >= 0 {
		return all[i]
	}
	return plan.Member{}
}

// follower is a healthy member that does not lead.
func follower(t *testing.T, all []plan.Member) plan.Member {
	t.Helper()
	i := slices.IndexFunc(all, func(m plan.Member) bool { return m.Healthy && !m.Leader })
	if i < 0 {
		t.Fatalf("nobody follows: %+v", all)
	}
	return all[i]
}

// Whole is whether there are that many members, all well and with a vote, and one leads.
func Whole(n int) func([]plan.Member) bool {
	return func(all []plan.Member) bool {
		return len(all) == n && Leader(all).Name != "" && !slices.ContainsFunc(all, func(m plan.Member) bool { return !m.Healthy || m.Learner })
	}
}

func testMembers(t *testing.T, lab Lab) {
	way := lab.Way()
	all := Until(t, way, "there are three", Whole(3))
	if !slices.IsSortedFunc(all, func(a, b plan.Member) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("they are not sorted: %+v", all)
	}
	victim := follower(t, all)
	thaw := lab.Freeze(victim.Name)
	Until(t, way, "one that stands still is not well, and the others are", func(now []plan.Member) bool {
		return len(now) == 3 && !slices.ContainsFunc(now, func(m plan.Member) bool { return m.Healthy == (m.ID == victim.ID) })
	})
	thaw()
	Until(t, way, "it is well again", Whole(3))
}

// testSilence: of members that cannot agree nobody knows what they will agree on next.
func testSilence(t *testing.T, lab Lab) {
	all := Until(t, lab.Way(), "there are three", Whole(3))
	if told, err := lab.Way("no-such-node").Members(t.Context()); !errors.Is(err, etcd.ErrUnreachable) || told != nil {
		t.Errorf("of nodes that are not there it is told: %+v, %v", told, err)
	}
	for _, m := range all[:2] {
		defer lab.Freeze(m.Name)()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		told, err := lab.Way().Members(t.Context())
		if errors.Is(err, etcd.ErrUnreachable) || err == nil && len(told) == 3 && !slices.ContainsFunc(told, func(m plan.Member) bool { return m.Healthy }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without a quorum it is told: %+v, %v", told, err)
		}
	}
	if _, err := lab.Way().Snapshot(t.Context(), &Sink{}); !errors.Is(err, etcd.ErrUnreachable) {
		t.Errorf("without a quorum there is a snapshot: %v", err)
	}
}

func testReplace(t *testing.T, lab Lab) {
	way := lab.Way()
	all := Until(t, way, "there are three", Whole(3))
	old := Leader(all)
	for range 2 {
		if err := way.MoveLeader(t.Context(), old, follower(t, all)); err != nil {
			t.Fatal(err)
		}
	}
	Until(t, way, "another leads", func(now []plan.Member) bool { return Leader(now).Name != "" && Leader(now).ID != old.ID })
	for range 2 {
		Remove(t, way, old)
	}
	Until(t, way, "it is gone", func(now []plan.Member) bool { return Whole(2)(now) && now[0].ID != old.ID && now[1].ID != old.ID })
	if err := way.MoveLeader(t.Context(), old, follower(t, Until(t, way, "one leads", Whole(2)))); err != nil {
		t.Errorf("having one hand over that is gone: %v", err)
	}
}

func testDead(t *testing.T, lab Lab) {
	way := lab.Way()
	old := Leader(Until(t, way, "there are three", Whole(3)))
	lab.Kill(old.Name)
	all := Until(t, way, "another leads", func(now []plan.Member) bool { return Leader(now).Name != "" && Leader(now).ID != old.ID })
	if err := way.MoveLeader(t.Context(), old, follower(t, all)); err != nil {
		t.Errorf("having a dead one hand over: %v", err)
	}
	Remove(t, way, old)
	Until(t, way, "it is gone", Whole(2))
}

func testSnapshot(t *testing.T, lab Lab) {
	way := lab.Way()
	all := Until(t, way, "there are three", Whole(3))
	lost := follower(t, all)
	lab.Kill(lost.Name)
	Until(t, way, "two are well", func(now []plan.Member) bool {
		return len(now) == 3 && !slices.ContainsFunc(now, func(m plan.Member) bool { return m.Healthy == (m.ID == lost.ID) })
	})
	const canary = "a value that nothing else in a database has"
	lab.Put(t, "canary", canary)
	sink := &Sink{}
	taken, err := way.Snapshot(t.Context(), sink)
	if err != nil || taken.Version == "" || taken.Bytes != int64(sink.Len()) || taken.Node == lost.Name {
		t.Fatalf("the snapshot is %+v, %v", taken, err)
	}
	if err := etcd.Check(bytes.NewReader(sink.Bytes())); err != nil {
		t.Error(err)
	}
	if !bytes.Contains(sink.Bytes(), []byte(canary)) {
		t.Error("what was acknowledged before is not in it")
	}
}

// Sink keeps a snapshot.
type Sink struct{ bytes.Buffer }

// Reset implements etcd.Sink.
func (s *Sink) Reset() error {
	s.Buffer.Reset()
	return nil
}
