// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/etcd"
)

const (
	// KubeadmCanary is a key that is in the etcd of every cluster that kubeadm has made.
	KubeadmCanary = "/registry/configmaps/kube-system/kubeadm-config"
	// DefaultKeep is how many snapshots of a cluster are kept unless it says otherwise.
	DefaultKeep = 5
)

// Source is what is backed up; etcd.Cluster is one.
type Source interface {
	// Snapshot writes a snapshot to the sink, in which everything is that was acknowledged before.
	Snapshot(ctx context.Context, sink etcd.Sink) (etcd.Snapshot, error)
	// HashKV hashes everything up to a revision by a living member, if possible not by the one on the node from.
	HashKV(ctx context.Context, revision int64, from string) (etcd.Hash, error)
}

// Rehearser restores a snapshot to try it; rehearsal.Child is one.
type Rehearser interface {
	// Rehearse tells what the file says of itself before it starts etcd on it.
	Rehearse(ctx context.Context, r rehearsal.Request, inspected func(rehearsal.Inspection)) (rehearsal.Report, error)
}

// Request is what to back up, and where to. Cluster, For and Source are required.
type Request struct {
	Cluster store.Cluster
	// ControlPlane and KubernetesVersion are written down with it.
	ControlPlane, KubernetesVersion string
	// For is what it is made for, for example the hash of what a rollout leads to. A snapshot that was made for the same and
	// is not older than Since is not made again, also by a manager that knows nothing of the one that made it.
	For   string
	Since time.Time
	// Location is where it is stored.
	Location store.Location
	// Keep is how many snapshots of the cluster are kept; 0 is DefaultKeep.
	Keep int
	// Canary is a key that must be in it, empty for none.
	Canary string
	// Source is the etcd.
	Source Source
}

func (r Request) check() error {
	if r.Cluster.Namespace == "" || r.Cluster.Name == "" || r.For == "" {
		return errors.New("a backup needs a cluster, and what it is made for")
	}
	return r.Location.Validate()
}

// mark is equal for requests that the same snapshot answers, and that fail in the same way.
func (r Request) mark() [sha256.Size]byte {
	content, err := json.Marshal(struct {
		Cluster     store.Cluster
		For, Canary string
		Since       int64
		Location    store.Location
	}{r.Cluster, r.For, r.Canary, r.Since.UnixNano(), r.Location})
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(content)
}

// Phase is how far a job has come.
type Phase string

const (
	// Waiting is for other jobs to end.
	Waiting Phase = "Waiting"
	// Looking is whether there is a snapshot already.
	Looking Phase = "Looking"
	// Snapshotting is taking the snapshot from a member.
	Snapshotting Phase = "Snapshotting"
	// Verifying is reading the file.
	Verifying Phase = "Verifying"
	// Rehearsing is restoring it and reading through etcd.
	Rehearsing Phase = "Rehearsing"
	// Storing is storing it, and removing the old ones.
	Storing Phase = "Storing"
	// Fetching is fetching a snapshot from where it is stored, and restoring it to try it.
	Fetching Phase = "Fetching"
	// LayingOut is laying out what was restored, for the first Machine.
	LayingOut Phase = "LayingOut"
)

// State is how it is with a backup or a restore: Running, Done or Restored, or Failed.
type State interface{ state() }

// Running is what is being made.
type Running struct {
	Phase Phase
	// Bytes is how much of the snapshot was taken or stored in this phase.
	Bytes int64
}

// Done is a backup that is stored and was rehearsed.
type Done struct {
	Manifest store.Manifest
	// Warnings are what went wrong without harm to it, such as an old one that could not be removed.
	Warnings []error
}

// Failed is what failed. It is tried again when it is asked for at RetryAt or later, and at once when it is asked
// for otherwise: for something else, or with another location.
type Failed struct {
	// Phase is how far it had come. It stays the same from try to try, where Err may name a request or a time.
	Phase   Phase
	Err     error
	RetryAt time.Time
}

func (Running) state() {}
func (Done) state()    {}
func (Failed) state()  {}
