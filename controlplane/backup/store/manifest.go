// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Cluster is whose snapshot it is.
type Cluster struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
}

// String is namespace/name.
func (c Cluster) String() string { return c.Namespace + "/" + c.Name }

// Manifest is what is known of a snapshot.
type Manifest struct {
	// Name is namespace/cluster/time-hash.
	Name string `json:"name"`

	Cluster      Cluster `json:"cluster"`
	ControlPlane string  `json:"controlPlane,omitempty"`
	// For is what it was made for: a snapshot that was made for something is not made again for it.
	For string `json:"for,omitempty"`
	// KubernetesVersion is that of the cluster, EtcdVersion that of the member on Node, which it came from.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	EtcdVersion       string `json:"etcdVersion,omitempty"`
	Node              string `json:"node,omitempty"`

	// Time is when taking it began: everything that etcd had acknowledged then is in it.
	Time time.Time `json:"time"`
	// Revision is the newest revision in it, TotalKeys how many keys there are.
	Revision  int64 `json:"revision"`
	TotalKeys int   `json:"totalKeys"`

	// File is the stored file beside the manifest, SizeBytes and SHA256 what it is checked with.
	File      string `json:"file"`
	SizeBytes int64  `json:"sizeBytes"`
	SHA256    string `json:"sha256"`
	// SnapshotBytes is its size once it is decompressed.
	SnapshotBytes int64 `json:"snapshotBytes"`

	// HashKV is etcd's hash of all keys and values in it after everything before CompactRevision was compacted.
	HashKV          uint32 `json:"hashKV"`
	CompactRevision int64  `json:"compactRevision"`
	// ComparedWith is the node whose living member has the same hash; Uncompared is why no member was compared.
	ComparedWith string `json:"comparedWith,omitempty"`
	Uncompared   string `json:"uncompared,omitempty"`
	// Rehearsed is when it was restored to try it, RehearsedWith the version of the etcd that was started on it. Zero means
	// that nobody has tried.
	Rehearsed     time.Time `json:"rehearsed,omitzero"`
	RehearsedWith string    `json:"rehearsedWith,omitempty"`
}

const (
	manifestSuffix = ".json"
	fileSuffix     = ".db.zst"
	plainSuffix    = ".db"
	timeFormat     = "20060102T150405Z"
)

// snapshotName is what snapshots are called, without their suffix. Everything else in a place is somebody else's.
var snapshotName = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{8}$`)

// name names a snapshot by its time and the beginning of the sum that etcd has added to it.
func name(c Cluster, at time.Time, sum string) string {
	return path.Join(c.Namespace, c.Name, at.UTC().Format(timeFormat)+"-"+sum[:8])
}

// check refuses what could name anything but a folder of its own in a place.
func (c Cluster) check() error {
	for _, part := range []string{c.Namespace, c.Name} {
		if part == "" || part != path.Base(part) || strings.HasPrefix(part, ".") || strings.ContainsAny(part, `\`+"\x00") {
			return fmt.Errorf("%q is no name of a cluster: it must be namespace/name", c)
		}
	}
	return nil
}

// checkName refuses what is no name of a snapshot.
func checkName(snapshot string) error {
	parts := strings.Split(snapshot, "/")
	if len(parts) != 3 || !snapshotName.MatchString(parts[2]) {
		return fmt.Errorf("%q is no name of a snapshot: it must be namespace/cluster/time-hash, as a list of snapshots shows it", snapshot)
	}
	return Cluster{Namespace: parts[0], Name: parts[1]}.check()
}

// Retain returns which of the snapshots of a cluster to remove, oldest first: all but the newest of them, of which there are
// keep, at least one, and never the newest that was rehearsed.
func Retain(all []Manifest, keep int) []Manifest {
	sorted := slices.Clone(all)
	newestFirst(sorted)
	var removed []Manifest
	safe := false // whether one that was rehearsed is kept
	for i, m := range sorted {
		precious := !safe && !m.Rehearsed.IsZero()
		if i >= max(keep, 1) && !precious {
			removed = append(removed, m)
			continue
		}
		safe = safe || precious
	}
	slices.Reverse(removed)
	return removed
}

func newestFirst(all []Manifest) {
	slices.SortFunc(all, func(a, b Manifest) int { return cmp.Or(b.Time.Compare(a.Time), strings.Compare(b.Name, a.Name)) })
}
