// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic

import (
	"slices"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

const (
	// fetchPatience is how long a machine tries to reach what it restores from. Ignition alone would try for ever, and an
	// authority that it does not know looks like a network that is down.
	fetchPatience = 10 * time.Minute
	// slowestFetch is the bandwidth, in bytes per second, below which a machine gives up.
	slowestFetch = 1 << 20
)

// addRestore makes Ignition fetch etcd's data before anything else runs. Folders are named one by one, because those that
// Ignition makes on its own can be read by everybody.
func addRestore(config *ignition.Config, restore osfamily.Restore) {
	var folders []string
	for _, file := range restore.Files {
		folders = append(folders, file.Folders()...)
		config.Files = append(config.Files, ignition.File{
			Path: file.Path, Mode: 0o600, Remote: ignition.Remote{URL: file.URL, SHA512: file.SHA512},
		})
		patience := fetchPatience + time.Duration(file.SizeBytes/slowestFetch)*time.Second
		config.FetchTimeout = max(config.FetchTimeout, patience)
	}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		config.Folders = append(config.Folders, ignition.Folder{Path: folder, Mode: 0o700})
	}
	if restore.Authority != "" {
		config.Authorities = append(config.Authorities, restore.Authority)
	}
}
