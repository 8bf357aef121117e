// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/stall"
)

// sink keeps a snapshot, and does something once some of it has come.
type sink struct {
	bytes.Buffer

	resets int
	midway func() error
}

func (s *sink) Reset() error {
	s.resets++
	s.Buffer.Reset()
	return nil
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.Buffer.Write(p)
	if midway := s.midway; midway != nil && s.Len() > 1<<20 {
		s.midway = nil
		return n, midway()
	}
	return n, err
}

// fill puts so much that a snapshot does not fit into what the network holds for a reader that has stopped.
func (m *members) fill(t *testing.T) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	value := make([]byte, 1<<20)
	m.client(t, func(ctx context.Context, c *clientv3.Client) error {
		for i := range 40 {
			_, _ = random.Read(value)
			if _, err := c.Put(ctx, fmt.Sprintf("filler/%02d", i), string(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// order is the order in which members are asked for a snapshot: followers by ID, then the leader.
func order(all []plan.Member) []string {
	var nodes []string
	for _, m := range all {
		if !m.Leader {
			nodes = append(nodes, m.Name)
		}
	}
	return append(nodes, leader(all).Name)
}

func (m *members) settled() []string {
	m.Helper()
	return order(m.until("everyone is healthy and one leads", func(all []plan.Member) bool {
		return leader(all).Name != "" && !slices.ContainsFunc(all, func(m plan.Member) bool { return !m.Healthy })
	}))
}

func TestSnapshot(t *testing.T) {
	m := start(t, 3)
	m.fill(t)

	t.Run("while writes go on, it is whole, comes from a follower, and all that was acknowledged before is in it", func(t *testing.T) {
		asked := m.settled()
		var revision int64
		ctx, cancel := context.WithCancel(t.Context())
		written := make(chan struct{})
		m.client(t, func(_ context.Context, c *clientv3.Client) error {
			put, err := c.Put(t.Context(), "before", "all")
			if err == nil {
				revision = put.Header.Revision
			}
			return err
		})
		go func() {
			defer close(written)
			m.client(t, func(clientCtx context.Context, c *clientv3.Client) error {
				for i := 0; ctx.Err() == nil; i++ {
					if _, err := c.Put(clientCtx, fmt.Sprintf("during/%d", i%100), "written"); err != nil {
						return err
					}
				}
				return nil
			})
		}()
		var s sink
		got, err := m.cluster.Snapshot(t.Context(), &s)
		cancel()
		<-written
		if err != nil {
			t.Fatal(err)
		}
		if got.Node != asked[0] || got.Floor < revision || got.Bytes != int64(s.Len()) || got.Bytes < 40<<20 || got.Version == "" {
			t.Errorf("%+v of %d bytes, where members were to be asked in the order %v, and revision %d was acknowledged", got, s.Len(), asked, revision)
		}
		if err := etcd.Check(&s.Buffer); err != nil {
			t.Error(err)
		}
	})
	t.Run("members that are the same give the same hash, and the one of the snapshot is asked last", func(t *testing.T) {
		asked := m.settled()
		var revision int64
		m.client(t, func(ctx context.Context, c *clientv3.Client) error {
			got, err := c.Get(ctx, "before")
			revision = got.Header.Revision
			return err
		})
		first, err := m.cluster.HashKV(t.Context(), revision, asked[0])
		if err != nil || first.Node != asked[1] {
			t.Fatalf("%+v, %v", first, err)
		}
		second, err := m.cluster.HashKV(t.Context(), revision, asked[1])
		if second.Node = first.Node; err != nil || second != first {
			t.Errorf("%+v and %+v, %v", first, second, err)
		}
		if _, err := m.cluster.HashKV(t.Context(), revision+1000, asked[0]); err == nil {
			t.Error("there is a hash of a revision that does not exist")
		}
	})
	t.Run("a member that freezes midway costs the bound, and the next one gives it", func(t *testing.T) {
		asked := m.settled()
		bounded := m.cluster
		bounded.Stall = 4 * time.Second
		victim := m.nodes[asked[0]].process.Process
		defer m.settled()
		defer func() { _ = victim.Signal(syscall.SIGCONT) }()
		s := sink{midway: func() error { return victim.Signal(syscall.SIGSTOP) }}
		began := time.Now()
		got, err := bounded.Snapshot(t.Context(), &s)
		if err != nil || got.Node != asked[1] || s.resets != 2 || etcd.Check(&s.Buffer) != nil {
			t.Errorf("%+v after %d tries, %v; members were to be asked in the order %v", got, s.resets, err, asked)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("an only member that freezes ends it within the bound, and the error says so", func(t *testing.T) {
		asked := m.settled()
		alone := m.cluster
		alone.Nodes, alone.Stall = asked[:1], 4*time.Second
		victim := m.nodes[asked[0]].process.Process
		defer m.settled()
		defer func() { _ = victim.Signal(syscall.SIGCONT) }()
		_, err := alone.Snapshot(t.Context(), &sink{midway: func() error { return victim.Signal(syscall.SIGSTOP) }})
		if !errors.Is(err, stall.Err) || !strings.Contains(err.Error(), asked[0]) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a full disk is nobody's fault, and nobody else is asked", func(t *testing.T) {
		m.settled()
		s := sink{midway: func() error { return syscall.ENOSPC }}
		if _, err := m.cluster.Snapshot(t.Context(), &s); !errors.Is(err, syscall.ENOSPC) || s.resets != 1 {
			t.Errorf("%v after %d tries", err, s.resets)
		}
	})
	t.Run("who is told to stop stops", func(t *testing.T) {
		m.settled()
		ctx, cancel := context.WithCancel(t.Context())
		s := sink{midway: func() error { cancel(); return nil }}
		if _, err := m.cluster.Snapshot(ctx, &s); !errors.Is(err, context.Canceled) || s.resets != 1 {
			t.Errorf("%v after %d tries", err, s.resets)
		}
	})
	t.Run("a member that dies midway is followed by the next", func(t *testing.T) {
		asked := m.settled()
		s := sink{midway: m.nodes[asked[0]].process.Process.Kill}
		got, err := m.cluster.Snapshot(t.Context(), &s)
		if err != nil || got.Node != asked[1] || s.resets != 2 || etcd.Check(&s.Buffer) != nil {
			t.Errorf("%+v after %d tries, %v; members were to be asked in the order %v", got, s.resets, err, asked)
		}
	})
	t.Run("without a quorum there is none: what one member holds may be old", func(t *testing.T) {
		asked := order(m.until("one leads", func(all []plan.Member) bool { return leader(all).Name != "" }))
		alone := m.cluster
		alone.Nodes = asked[len(asked)-1:] // who is dead costs time only
		for _, n := range m.nodes {
			if n.name != alone.Nodes[0] {
				_ = n.process.Process.Kill()
			}
		}
		if _, err := alone.Snapshot(t.Context(), &sink{}); !errors.Is(err, etcd.ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})
}

// What a broken network or disk makes of a snapshot is never taken for one.
func TestCheck(t *testing.T) {
	t.Parallel()
	database := bytes.Repeat([]byte("page"), 1024)
	sum := sha256.Sum256(database)
	whole := slices.Concat(database, sum[:])
	flipped := slices.Clone(whole)
	flipped[100] ^= 1
	for why, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"a whole one is one":              {whole, nil},
		"nothing is none":                 {nil, etcd.ErrBroken},
		"one without its sum is none":     {database, etcd.ErrBroken},
		"one that was cut off is none":    {whole[:len(whole)-7], etcd.ErrBroken},
		"a cut at a page is found":        {whole[512:], etcd.ErrBroken},
		"a single bit that has turned is": {flipped, etcd.ErrBroken},
	} {
		if err := etcd.Check(&trickle{whole: c.bytes}); !errors.Is(err, c.want) {
			t.Errorf("%s, but: %v", why, err)
		}
	}
}

// trickle hands out a few bytes at a time, as networks do.
type trickle struct{ whole []byte }

func (r *trickle) Read(p []byte) (int, error) {
	reader := bytes.NewReader(r.whole)
	n, err := reader.Read(p[:min(len(p), 13)])
	r.whole = r.whole[n:]
	return n, err
}
