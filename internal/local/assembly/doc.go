// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package assembly makes the parts of a disk image with programs of the host and without mounts or loop devices, always
// the same bytes from the same inputs: a FAT file system, an initramfs, and a disk that they are placed on.
//
// What lives here: formats, running a program of the host, and the cache for the stages of a build. What never will:
// what is in an image.
package assembly

import "time"

// Epoch is the time that every file of an image carries, in seconds since 1970 (2026-01-01), so that the same inputs
// give the same bytes.
const Epoch = 1767225600

// EpochTime is Epoch as a time.
func EpochTime() time.Time { return time.Unix(Epoch, 0).UTC() }
