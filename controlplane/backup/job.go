// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/blang/semver/v4"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/stall"
)

const (
	// askBound is how long a location may take to tell what it holds, or to remove what is old.
	askBound = 2 * time.Minute
	// storeBound is how long storing and fetching may go without a byte: places try again by themselves, and the last answer is the
	// longest.
	storeBound = 5 * time.Minute
)

// job makes one backup.
type job struct {
	Options
	Request

	report func(Running)
}

func (j *job) run(ctx context.Context) (done Done, err error) {
	j.report(Running{Phase: Looking})
	place, err := store.Open(ctx, j.Location, j.Store)
	if err != nil {
		return Done{}, err
	}
	defer func() { _ = place.Close() }()
	listing, err := j.list(ctx, place)
	if err != nil {
		return Done{}, err
	}
	if i := slices.IndexFunc(listing.Manifests, j.answers); i >= 0 {
		return Done{Manifest: listing.Manifests[i], Warnings: j.tidy(ctx, place, listing)}, nil
	}
	folder, err := newScratch(j.Scratch)
	if err != nil {
		return Done{}, err
	}
	defer func() {
		if failure := folder.remove(); failure != nil {
			done.Warnings = append(done.Warnings, failure)
		}
	}()
	m, err := j.make(ctx, folder)
	if err != nil {
		return Done{}, err
	}
	if m, err = j.put(ctx, place, folder, m); err != nil {
		return Done{}, err
	}
	if listing, err = j.list(ctx, place); err != nil {
		return Done{}, err
	}
	if !slices.ContainsFunc(listing.Manifests, func(listed store.Manifest) bool { return listed.Name == m.Name }) {
		return Done{}, fmt.Errorf("snapshot %s was stored in %s, and is not there as it was sent: %w", m.Name, place, errors.Join(listing.Broken...))
	}
	return Done{Manifest: m, Warnings: j.tidy(ctx, place, listing)}, nil
}

// answers is whether a snapshot is what the request asks for.
func (j *job) answers(m store.Manifest) bool {
	return m.For == j.For && m.Cluster.UID == j.Cluster.UID && !m.Rehearsed.IsZero() && !m.Time.Before(j.Since)
}

func (j *job) list(ctx context.Context, place *store.Store) (store.Listing, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askBound, fmt.Errorf("%s has not answered for %s", place, askBound))
	defer cancel()
	listing, err := place.List(ctx, store.Cluster{Namespace: j.Cluster.Namespace, Name: j.Cluster.Name})
	return listing, stall.Cause(ctx, err)
}

const snapshotFile = "snapshot.db"

// make takes a snapshot into the scratch folder, and tries it.
func (j *job) make(ctx context.Context, folder *scratch) (store.Manifest, error) {
	m := store.Manifest{
		Cluster: j.Cluster, ControlPlane: j.ControlPlane, For: j.For, KubernetesVersion: j.KubernetesVersion,
		Time: j.Clock.Now().UTC().Truncate(time.Second),
	}
	j.report(Running{Phase: Snapshotting})
	taken, err := j.take(ctx, folder)
	if err != nil {
		return m, err
	}
	m.Node, m.EtcdVersion = taken.Node, taken.Version
	j.report(Running{Phase: Verifying})
	report, err := j.rehearse(ctx, folder, taken, &m)
	if err != nil {
		return m, fmt.Errorf("the snapshot of the etcd member on node %s: %w", taken.Node, err)
	}
	m.Revision, m.TotalKeys = report.Revision, report.TotalKeys
	m.HashKV, m.CompactRevision = report.HashKV, report.CompactRevision
	m.Rehearsed, m.RehearsedWith = j.Clock.Now().UTC().Truncate(time.Second), report.RehearsedWith
	return m, nil
}

func (j *job) take(ctx context.Context, folder *scratch) (taken etcd.Snapshot, err error) {
	file, err := os.OpenFile(folder.path(snapshotFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return taken, err
	}
	taken, err = j.Source.Snapshot(ctx, &sink{File: file, report: func(n int64) { j.report(Running{Phase: Snapshotting, Bytes: n}) }})
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("the scratch disk of %s is full; it needs room for the snapshot twice: %w", folder.dir, err)
	}
	return taken, errors.Join(err, file.Close())
}

// sink is a file.
type sink struct {
	*os.File

	n      int64
	report func(n int64)
}

// Write implements etcd.Sink.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	s.n += int64(n)
	s.report(s.n)
	return n, err
}

// Reset implements etcd.Sink.
func (s *sink) Reset() error {
	s.n = 0
	_, err := s.Seek(0, io.SeekStart)
	return errors.Join(err, s.Truncate(0))
}

// rehearse restores the snapshot, and compares it with a living member, which is asked as soon as it is known for what: it
// may forget soon.
func (j *job) rehearse(ctx context.Context, folder *scratch, taken etcd.Snapshot, m *store.Manifest) (rehearsal.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir := folder.path("rehearsal")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return rehearsal.Report{}, err
	}
	living := make(chan answer, 1)
	asked := false
	report, err := j.Rehearser.Rehearse(ctx, rehearsal.Request{Snapshot: folder.path(snapshotFile), Dir: dir, Canary: j.Canary}, func(i rehearsal.Inspection) {
		j.report(Running{Phase: Rehearsing})
		asked = true
		go func() {
			hash, err := j.Source.HashKV(ctx, i.Revision, taken.Node)
			living <- answer{hash, err}
		}()
	})
	switch {
	case err != nil:
		return report, err
	case report.Revision < taken.Floor:
		return report, fmt.Errorf("%w: it ends at revision %d, and etcd had acknowledged %d when it was taken", rehearsal.ErrUnusable, report.Revision, taken.Floor)
	case !asked:
		return report, errors.New("the rehearsal has a result, and has not read the file")
	}
	a := <-living
	m.ComparedWith, m.Uncompared, err = a.compare(report)
	return report, err
}

// answer is what a living member says.
type answer struct {
	hash etcd.Hash
	err  error
}

// hashesAlike is the first etcd that hashes what is left of a compaction as those after it do.
const hashesAlike = "3.5.16"

// compare returns the node whose member has the same, or why that cannot be told. That it has something else is an error.
func (a answer) compare(report rehearsal.Report) (with, not string, err error) {
	if not := a.uncompared(report); not != "" {
		return "", not, nil
	}
	if a.hash.Value != report.HashKV {
		return "", "", fmt.Errorf("%w: at revision %d its data have the hash %08x, those of the member on node %s have %08x; see whether the members of etcd agree with each other",
			rehearsal.ErrUnusable, report.Revision, report.HashKV, a.hash.Node, a.hash.Value)
	}
	return a.hash.Node, "", nil
}

// uncompared returns why nothing can be told from the answer, empty where it can.
func (a answer) uncompared(report rehearsal.Report) string {
	if a.err != nil {
		return a.err.Error()
	}
	if v, err := semver.Parse(a.hash.Version); err != nil || v.LT(semver.MustParse(hashesAlike)) {
		return fmt.Sprintf("etcd %s on node %s may hash the same data otherwise", a.hash.Version, a.hash.Node)
	}
	if a.hash.CompactRevision != report.CompactRevision || a.hash.Revision != report.Revision {
		return fmt.Sprintf("etcd on node %s has compacted its data meanwhile", a.hash.Node)
	}
	return ""
}

func (j *job) put(ctx context.Context, place *store.Store, folder *scratch, m store.Manifest) (store.Manifest, error) {
	j.report(Running{Phase: Storing})
	file, err := os.Open(folder.path(snapshotFile))
	if err != nil {
		return m, err
	}
	defer func() { _ = file.Close() }()
	ctx, watch := stall.New(ctx, storeBound)
	defer watch.Stop()
	var n int64
	m, err = place.Put(ctx, m, file, func(more int) {
		watch.Progress()
		n += int64(more)
		j.report(Running{Phase: Storing, Bytes: n})
	})
	return m, stall.Cause(ctx, err)
}

// tidy removes what is old. That it cannot is no reason to do without the backup: some places forbid it on purpose.
func (j *job) tidy(ctx context.Context, place *store.Store, listing store.Listing) []error {
	ctx, cancel := context.WithTimeoutCause(ctx, askBound, fmt.Errorf("%s has not answered for %s", place, askBound))
	defer cancel()
	keep := j.Keep
	if keep == 0 {
		keep = DefaultKeep
	}
	warnings := listing.Broken
	if err := place.Tidy(ctx, listing, keep, j.Clock.Now()); err != nil {
		warnings = append(warnings, stall.Cause(ctx, err))
	}
	return warnings
}
