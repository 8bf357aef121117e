// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package survive proves what must hold whatever fails: one instance per machine or none, nothing left behind, nothing
// destroyed that is not ours, and a condition that says what is wrong. Everything in it is real: the API server, libvirtd
// with QEMU, the adapter, and the reconcilers, one after the other or in a whole manager. What is played is Cluster API,
// the provider of addresses and the guests, which have no operating system. Managers are killed at each of their writes
// and calls in turn: by a client that stops writing, and by a wire that is cut.
package survive
