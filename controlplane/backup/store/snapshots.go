// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// leftoverAge is how old something without a manifest must be to be nobody's work in progress.
const leftoverAge = 24 * time.Hour

// manifestLimit is how large a manifest may be that is read.
const manifestLimit = 1 << 20

// Listing is what a place holds.
type Listing struct {
	// Manifests are the snapshots, newest first.
	Manifests []Manifest
	// Broken are errors, one for each manifest that cannot be read or whose file is not as it says. They are never removed
	// by this program.
	Broken []error

	objects []object
}

// List returns the snapshots of one cluster, or of all where the cluster is zero.
func (s *Store) List(ctx context.Context, c Cluster) (Listing, error) {
	prefix := ""
	if c != (Cluster{}) {
		if err := c.check(); err != nil {
			return Listing{}, err
		}
		prefix = c.String() + "/"
	}
	found, err := s.objects.list(ctx, prefix)
	if err != nil {
		return Listing{}, fmt.Errorf("listing snapshots in %s: %w", s, err)
	}
	listing := Listing{objects: found}
	sizes := map[string]int64{}
	for _, o := range found {
		sizes[o.key] = o.size
	}
	for _, o := range found {
		base, isManifest := strings.CutSuffix(o.key, manifestSuffix)
		if !isManifest {
			continue
		}
		if err := checkName(base); err != nil {
			continue // somebody else's
		}
		m, err := s.manifest(ctx, base)
		switch size, there := sizes[path.Join(path.Dir(o.key), m.File)]; {
		case errors.Is(err, ErrNotFound): // somebody has removed it meanwhile
		case err != nil:
			listing.Broken = append(listing.Broken, err)
		case !there:
			listing.Broken = append(listing.Broken, fmt.Errorf("snapshot %s in %s: its file %s is gone", m.Name, s, m.File))
		case size != m.SizeBytes:
			listing.Broken = append(listing.Broken, fmt.Errorf("snapshot %s in %s: its file %s has %d bytes instead of %d", m.Name, s, m.File, size, m.SizeBytes))
		default:
			listing.Manifests = append(listing.Manifests, m)
		}
	}
	newestFirst(listing.Manifests)
	return listing, nil
}

// manifest reads the manifest of a snapshot.
func (s *Store) manifest(ctx context.Context, snapshot string) (Manifest, error) {
	r, err := s.objects.read(ctx, snapshot+manifestSuffix)
	if err != nil {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: reading its manifest: %w", snapshot, s, err)
	}
	defer func() { _ = r.Close() }()
	content, err := io.ReadAll(io.LimitReader(r, manifestLimit))
	if err != nil {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: reading its manifest: %w", snapshot, s, err)
	}
	var m Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: its manifest cannot be read: %w", snapshot, s, err)
	}
	base := path.Base(snapshot)
	if m.Name != snapshot || m.Cluster.String() != path.Dir(snapshot) || m.File != base+fileSuffix && m.File != base+plainSuffix {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: its manifest speaks of %q and file %q", snapshot, s, m.Name, m.File)
	}
	return m, nil
}

// Put stores a snapshot, compressed, and then its manifest, which it completes and returns. Nothing is there before Put
// returns without an error. progress is told each time how many bytes of the snapshot were read.
func (s *Store) Put(ctx context.Context, m Manifest, snapshot io.ReadSeeker, progress func(n int)) (Manifest, error) {
	if err := m.Cluster.check(); err != nil {
		return Manifest{}, err
	}
	sum, size, err := identify(snapshot)
	if err != nil {
		return Manifest{}, fmt.Errorf("reading the snapshot: %w", err)
	}
	m.SnapshotBytes, m.Name = size, name(m.Cluster, m.Time, sum)
	m.File = path.Base(m.Name) + fileSuffix
	written := counted{sum: sha256.New()}
	compressed := compress(watched{snapshot, progress}, &written)
	defer func() { _ = compressed.Close() }()
	if err := s.objects.write(ctx, m.Name+fileSuffix, compressed); err != nil {
		return Manifest{}, fmt.Errorf("storing snapshot %s in %s: %w", m.Name, s, err)
	}
	m.SHA256, m.SizeBytes = hex.EncodeToString(written.sum.Sum(nil)), written.n
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return Manifest{}, fmt.Errorf("storing snapshot %s: %w", m.Name, err)
	}
	if err := s.objects.write(ctx, m.Name+manifestSuffix, bytes.NewReader(append(content, '\n'))); err != nil {
		return Manifest{}, fmt.Errorf("storing the manifest of snapshot %s in %s: %w", m.Name, s, err)
	}
	return m, nil
}

// identify returns the sum that etcd has added to the end of a snapshot, and the size of both, and goes back to the start.
func identify(snapshot io.ReadSeeker) (sum string, size int64, err error) {
	if _, err := snapshot.Seek(-sha256.Size, io.SeekEnd); err != nil {
		return "", 0, err
	}
	tail, err := io.ReadAll(snapshot)
	if err != nil {
		return "", 0, err
	}
	if size, err = snapshot.Seek(0, io.SeekCurrent); err != nil {
		return "", 0, err
	}
	_, err = snapshot.Seek(0, io.SeekStart)
	return hex.EncodeToString(tail), size, err
}

// Fetch writes a snapshot as etcd sent it. What was stored is checked by its manifest: what was written when Fetch fails is of
// no use. Errors wrap ErrNotFound where there is no such snapshot.
func (s *Store) Fetch(ctx context.Context, snapshot string, to io.Writer) (Manifest, error) {
	if err := checkName(snapshot); err != nil {
		return Manifest{}, err
	}
	m, err := s.manifest(ctx, snapshot)
	if err != nil {
		return Manifest{}, err
	}
	file, err := s.objects.read(ctx, path.Join(path.Dir(m.Name), m.File))
	if err != nil {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: reading its file: %w", snapshot, s, err)
	}
	defer func() { _ = file.Close() }()
	read := counted{sum: sha256.New()}
	if err := unpack(io.TeeReader(file, &read), to, m); err != nil {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: %w", snapshot, s, err)
	}
	if got := hex.EncodeToString(read.sum.Sum(nil)); got != m.SHA256 {
		return Manifest{}, fmt.Errorf("snapshot %s in %s: its file has the sum %s instead of %s: it was damaged where it is stored", snapshot, s, got, m.SHA256)
	}
	return m, nil
}

// Tidy removes what Retain says of the snapshots of one cluster, and what an interrupted Put left there. A listing from
// before will do. Every removal that fails is in the error.
func (s *Store) Tidy(ctx context.Context, listing Listing, keep int, now time.Time) error {
	var errs []error
	for _, m := range Retain(listing.Manifests, keep) {
		errs = append(errs, s.Remove(ctx, m))
	}
	for _, o := range listing.leftovers(now) {
		if err := s.objects.remove(ctx, o.key); err != nil {
			errs = append(errs, fmt.Errorf("removing %s from %s, which an interrupted backup left: %w", o.key, s, err))
		}
	}
	return errors.Join(errs...)
}

// Remove removes a snapshot, its manifest first.
func (s *Store) Remove(ctx context.Context, m Manifest) error {
	for _, key := range []string{m.Name + manifestSuffix, path.Join(path.Dir(m.Name), m.File)} {
		if err := s.objects.remove(ctx, key); err != nil {
			return fmt.Errorf("removing snapshot %s from %s: %w", m.Name, s, err)
		}
	}
	return nil
}

// leftovers are files of snapshots that have no manifest and are too old for one that is still to come.
func (l Listing) leftovers(now time.Time) []object {
	manifests := map[string]bool{}
	for _, o := range l.objects {
		if base, is := strings.CutSuffix(o.key, manifestSuffix); is {
			manifests[base] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(l.objects), func(o object) bool {
		return now.Sub(o.modified) < leftoverAge || !o.isLeftover(manifests)
	})
}

func (o object) isLeftover(manifests map[string]bool) bool {
	if strings.HasPrefix(path.Base(o.key), writingPrefix) {
		return true
	}
	base, is := strings.CutSuffix(o.key, fileSuffix)
	if !is {
		base, is = strings.CutSuffix(o.key, plainSuffix)
	}
	return is && checkName(base) == nil && !manifests[base]
}
