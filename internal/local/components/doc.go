// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package components builds the upstream programs that Ingot runs beside itself (kube-apiserver, etcd, the Cluster
// API core manager) or bakes into its node image (kubelet, containerd, Ignition), from Go modules at pinned versions,
// into a cache outside the repository.
//
// What lives here: the table of programs and the builder. What never will: starting any of them, and any program that
// is not built from a Go module.
package components
