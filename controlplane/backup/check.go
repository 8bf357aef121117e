// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/stall"
)

// Trial says which snapshot to try.
type Trial struct {
	Store *store.Store
	// Name is the name of the snapshot.
	Name string
	// Canary is a key that must be in it, empty for none.
	Canary string
	// Scratch is a folder for twice its size.
	Scratch string
	// Keep has what is left in KeepDir be fit for the first member of a cluster that goes on.
	Keep bool
	// KeepDir is a folder that must not exist or be empty, and that what was fetched (snapshot.db) and restored (data) is left
	// in. Empty means that nothing is left.
	KeepDir   string
	Rehearser Rehearser
}

// Check fetches a stored snapshot and restores it, to try whether that can be done, and compares what it finds with the
// manifest.
func Check(ctx context.Context, t Trial) (m store.Manifest, report rehearsal.Report, err error) {
	folder, done, err := t.folder()
	if err != nil {
		return m, report, err
	}
	defer func() { err = errors.Join(err, done()) }()
	file := filepath.Join(folder, snapshotFile)
	if m, err = t.fetch(ctx, file); err != nil {
		return m, report, err
	}
	report, err = t.Rehearser.Rehearse(ctx, rehearsal.Request{Snapshot: file, Dir: folder, Canary: t.Canary, Keep: t.Keep}, func(rehearsal.Inspection) {})
	if err == nil && (report.Revision != m.Revision || report.TotalKeys != m.TotalKeys || report.HashKV != m.HashKV) {
		err = fmt.Errorf("%w: its manifest speaks of revision %d, %d keys and hash %08x, etcd says %d, %d and %08x",
			rehearsal.ErrUnusable, m.Revision, m.TotalKeys, m.HashKV, report.Revision, report.TotalKeys, report.HashKV)
	}
	if err != nil {
		return m, report, fmt.Errorf("snapshot %s in %s: %w", t.Name, t.Store, err)
	}
	return m, report, nil
}

// folder returns where to work, and what to do in the end.
func (t Trial) folder() (dir string, done func() error, err error) {
	if t.KeepDir == "" {
		s, err := newScratch(t.Scratch)
		if err != nil {
			return "", nil, err
		}
		return s.dir, s.remove, nil
	}
	entries, err := os.ReadDir(t.KeepDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return "", nil, errors.Join(fmt.Errorf("%s is not an empty folder: name one that does not exist", t.KeepDir), err)
	}
	if err := os.MkdirAll(t.KeepDir, 0o700); err != nil {
		return "", nil, err
	}
	dir, err = filepath.Abs(t.KeepDir)
	return dir, func() error { return nil }, err
}

func (t Trial) fetch(ctx context.Context, path string) (store.Manifest, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return store.Manifest{}, err
	}
	ctx, watch := stall.New(ctx, storeBound)
	defer watch.Stop()
	m, err := t.Store.Fetch(ctx, t.Name, &sink{File: file, report: func(int64) { watch.Progress() }})
	return m, errors.Join(stall.Cause(ctx, err), file.Close())
}
