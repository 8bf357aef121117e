// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"errors"
	"time"
)

// ErrUnusable means that the snapshot is what is wrong, and that trying again with the same one cannot help.
var ErrUnusable = errors.New("this snapshot cannot be restored")

// Request says what to rehearse.
type Request struct {
	// Snapshot is the path of the file, as etcd sent it: a database, and etcd's sum of it.
	Snapshot string `json:"snapshot"`
	// Dir is a folder, which must exist and be empty. The restored data directory is Data in it afterwards.
	Dir string `json:"dir"`
	// Canary is a key that must be in it, empty for none.
	Canary string `json:"canary,omitempty"`
	// Keep has the data directory be fit for the first member of a cluster that goes on: every watch begins anew there, because
	// its revisions are higher than any that somebody may remember, and its only member is etcd.Misplaced.
	Keep bool `json:"keep,omitempty"`
}

// Data is the name of the restored data directory.
const Data = "data"

// Inspection is what the file says of itself.
type Inspection struct {
	// Revision is the newest revision in it.
	Revision int64 `json:"revision"`
	// TotalKeys is how many keys it holds.
	TotalKeys int `json:"totalKeys"`
	// StorageVersion is etcd's version of the format, empty before 3.6.
	StorageVersion string `json:"storageVersion,omitempty"`
}

// Report is what a rehearsal has found. What the file says of itself and what etcd says agree, or there is no report.
type Report struct {
	Inspection

	// HashKV is etcd's hash of all keys and values at Revision, after everything before CompactRevision was compacted.
	HashKV          uint32 `json:"hashKV"`
	CompactRevision int64  `json:"compactRevision"`
	// RehearsedWith is the version of the etcd that was started on it.
	RehearsedWith string `json:"rehearsedWith"`
	// Took is how long it took.
	Took time.Duration `json:"took"`
}

// message is a line from the child.
type message struct {
	// Started is the first thing that a child says.
	Started    bool        `json:"started,omitempty"`
	Inspection *Inspection `json:"inspection,omitempty"`
	Report     *Report     `json:"report,omitempty"`
	Failure    *failure    `json:"failure,omitempty"`
}

type failure struct {
	Text string `json:"text"`
	// Unusable is whether the snapshot is what is wrong.
	Unusable bool `json:"unusable,omitempty"`
}
