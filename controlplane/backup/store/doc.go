// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package store keeps snapshots of etcd: in a folder of the manager, or in a bucket of S3 or what is compatible with it, of
// Google Cloud Storage, or of Azure. A snapshot is two objects, <namespace>/<cluster>/<time>-<hash>.db.zst and the same name
// with .json, which is its manifest. The manifest is written last and removed first: what has none does not exist, and is
// removed when it is a day old. Nobody needs this program to use one: zstd -d and etcdutl snapshot restore do.
//
// What lives here: where snapshots are (Location), what is known of each (Manifest), which are kept (Retain), and one adapter
// per kind of place. What never will: taking or trying snapshots, and any object whose name is not that of a snapshot.
package store
