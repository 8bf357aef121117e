// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"slices"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

const (
	// fetchPatience is how long a machine tries to reach what it restores from. Whoever fetches would try for ever, and an
	// authority that it does not know looks like a network that is down.
	fetchPatience = 10 * time.Minute
	// slowestFetch is the bandwidth, in bytes per second, below which a machine gives up.
	slowestFetch = 1 << 20
)

// fetch brings etcd's data before anything else runs. Folders are named one by one, because those that are made on the
// way can be read by everybody.
func fetch(restore osfamily.Restore) Fetch {
	out := Fetch{Authority: restore.Authority}
	var folders []string
	for _, file := range restore.Files {
		folders = append(folders, file.Folders()...)
		out.Files = append(out.Files, RemoteFile{Path: file.Path, Mode: 0o600, URL: file.URL, SHA512: file.SHA512})
		out.Patience = max(out.Patience, fetchPatience+time.Duration(file.SizeBytes/slowestFetch)*time.Second)
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		out.Folders = append(out.Folders, Folder{Path: folder, Mode: 0o700})
	}
	return out
}
