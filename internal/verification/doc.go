// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package verification decides whether a Node is what was declared: whether it runs the operating system, the version, the
// kernel and the kubelet that the pinned NodeImage and the Machine name. Its functions are pure: they take what was declared
// and what was observed, and return a verdict. What cannot be told is Unknown and never a mismatch. Nothing here asks a
// cluster or a machine, and nothing here decides what follows from a mismatch.
package verification
