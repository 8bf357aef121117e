// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/stall"
)

const (
	// stallBound is how long a snapshot may go without a byte.
	stallBound = 30 * time.Second
	// hashBound is how long a member may take to hash all it holds: a second for every few hundred megabytes.
	hashBound = 2 * time.Minute
)

// ErrBroken means that bytes are no whole snapshot of etcd.
var ErrBroken = errors.New("it is no whole snapshot of etcd")

// Sink takes the bytes of a snapshot.
type Sink interface {
	io.Writer
	// Reset forgets what was written. It is called before each member that is tried.
	Reset() error
}

// Snapshot is what is known of a snapshot of which every byte has come.
type Snapshot struct {
	// Node is where the member runs that it came from, and Version is the etcd that runs there.
	Node, Version string
	// Floor is a revision that the members had agreed on before: everything up to it is in the snapshot.
	Floor int64
	// Bytes is its size, with the sum that etcd adds to the end.
	Bytes int64
}

// Hash is what a member says of all keys and values up to a revision. Members that are the same say the same, where they
// have compacted as much.
type Hash struct {
	// Node is where the member runs, and Version is the etcd that runs there.
	Node, Version             string
	Value                     uint32
	Revision, CompactRevision int64
}

// Snapshot writes a snapshot of one healthy member to the sink: of a follower where there is one, because the leader has
// enough to do, and of the next member where one fails or falls silent. Everything that etcd had acknowledged when it was
// called is in it. However large it is, it may take as long as bytes come. The sum that etcd adds to the end is checked;
// what the sink holds when Snapshot fails is of no use.
func (c Cluster) Snapshot(ctx context.Context, sink Sink) (Snapshot, error) {
	nodes, err := c.healthy(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("taking a snapshot of etcd: %w", err)
	}
	return Take(ctx, nodes, sink, c.Stall, c.snapshot)
}

// healthy returns the nodes of the healthy voting members, the leader's last.
func (c Cluster) healthy(ctx context.Context) ([]string, error) {
	members, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	return Sources(members)
}

func (c Cluster) snapshot(ctx context.Context, node string, to io.Writer, progress func()) (taken Snapshot, err error) {
	err = c.with(ctx, node, func(ctx context.Context, client *clientv3.Client) error {
		status, err := statusOf(ctx, client)
		if err != nil {
			return err
		}
		progress()
		agreed, err := client.Get(ctx, "\x00") // the member must have caught up to answer
		if err != nil {
			return err
		}
		progress()
		stream, err := client.SnapshotWithVersion(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = stream.Snapshot.Close() }()
		taken = Snapshot{Version: status.Version, Floor: agreed.Header.Revision}
		_, err = io.Copy(to, stream.Snapshot)
		return err
	})
	return taken, err
}

// Taking reads the snapshot of the member on a node, all bytes of it, and says when it gets on otherwise.
type Taking func(ctx context.Context, node string, to io.Writer, progress func()) (Snapshot, error)

// Take takes a snapshot from the first of the nodes that gives a whole one. stallFor is how long it may go without a byte, 0 is
// 30 seconds.
func Take(ctx context.Context, nodes []string, sink Sink, stallFor time.Duration, from Taking) (Snapshot, error) {
	var errs []error
	for _, node := range nodes {
		snapshot, err := take(ctx, node, sink, cmp.Or(stallFor, stallBound), from)
		if err == nil {
			return snapshot, nil
		}
		errs = append(errs, fmt.Errorf("of the member on node %s: %w", node, err))
		if sunk := new(sinkError); errors.As(err, &sunk) || ctx.Err() != nil {
			break // another member would not help
		}
	}
	return Snapshot{}, fmt.Errorf("taking a snapshot of etcd: %w", errors.Join(errs...))
}

func take(ctx context.Context, node string, sink Sink, stallFor time.Duration, from Taking) (Snapshot, error) {
	if err := sink.Reset(); err != nil {
		return Snapshot{}, &sinkError{err}
	}
	ctx, watch := stall.New(ctx, stallFor)
	defer watch.Stop()
	sum := &summed{sum: sha256.New()}
	taken, err := from(ctx, node, io.MultiWriter(&watched{sink: sink, watch: watch}, sum), watch.Progress)
	if err != nil {
		return Snapshot{}, stall.Cause(ctx, err)
	}
	taken.Node, taken.Bytes = node, sum.n
	return taken, sum.check()
}

// watched passes bytes on to a sink, and tells that there was progress.
type watched struct {
	sink  Sink
	watch *stall.Watch
}

func (w *watched) Write(p []byte) (int, error) {
	w.watch.Progress()
	n, err := w.sink.Write(p)
	w.watch.Progress() // a slow disk is no stalled member
	if err != nil {
		return n, &sinkError{err}
	}
	return n, nil
}

// sinkError is an error of the sink: no member is to blame.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return "storing it: " + e.err.Error() }

func (e *sinkError) Unwrap() error { return e.err }

// Check reads a snapshot to its end and checks the sum that etcd has added. Errors wrap ErrBroken, except those of the reader.
func Check(snapshot io.Reader) error {
	s := &summed{sum: sha256.New()}
	if _, err := io.Copy(s, snapshot); err != nil {
		return err
	}
	return s.check()
}

// summed hashes everything but the last bytes, which are etcd's sum of what comes before.
type summed struct {
	sum  hash.Hash
	tail []byte
	n    int64
}

func (s *summed) check() error {
	switch {
	case s.n%512 != sha256.Size:
		return fmt.Errorf("%w: %d bytes are not as many as a database and its sum have; it was cut off", ErrBroken, s.n)
	case !bytes.Equal(s.sum.Sum(nil), s.tail):
		return fmt.Errorf("%w: the sum at its end is %x, that of its %d bytes is %x", ErrBroken, s.tail, s.n-sha256.Size, s.sum.Sum(nil))
	default:
		return nil
	}
}

func (s *summed) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	s.tail = append(s.tail, p...)
	if more := len(s.tail) - sha256.Size; more > 0 {
		_, _ = s.sum.Write(s.tail[:more])
		s.tail = append(s.tail[:0], s.tail[more:]...)
	}
	return len(p), nil
}

// HashKV returns the hash of everything up to a revision by a healthy member. The one on the node that the snapshot came
// from is asked last: that another member has the same says more.
func (c Cluster) HashKV(ctx context.Context, revision int64, from string) (hash Hash, err error) {
	nodes, err := c.healthy(ctx)
	if err != nil {
		return Hash{}, fmt.Errorf("asking etcd for its hash: %w", err)
	}
	if i := slices.Index(nodes, from); i >= 0 {
		nodes = append(slices.Delete(nodes, i, i+1), from)
	}
	var errs []error
	for _, node := range nodes {
		if hash, err = c.hash(ctx, node, revision); err == nil {
			return hash, nil
		}
		errs = append(errs, fmt.Errorf("the member on node %s: %w", node, err))
	}
	return Hash{}, fmt.Errorf("asking etcd for its hash at revision %d: %w", revision, errors.Join(errs...))
}

func (c Cluster) hash(ctx context.Context, node string, revision int64) (hash Hash, err error) {
	ctx, cancel := context.WithTimeout(ctx, hashBound)
	defer cancel()
	err = c.with(ctx, node, func(ctx context.Context, client *clientv3.Client) error {
		status, err := statusOf(ctx, client)
		if err != nil {
			return err
		}
		said, err := client.HashKV(ctx, endpoint, revision)
		if err == nil {
			hash = Hash{Node: node, Version: status.Version, Value: said.Hash, Revision: said.HashRevision, CompactRevision: said.CompactRevision}
		}
		return err
	})
	return hash, err
}
