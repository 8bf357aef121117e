// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package talos plays a machine of Talos for tests: it serves the API that the machine would serve, with Talos' own service
// definitions, over mutual TLS, with the roles that Talos asks for. What it says of etcd is asked of a real member, which the
// test runs behind it (Host) or has run for it (Lab): membership is never made up.
//
// It behaves as Talos 1.13 and 1.14 do where the driver depends on it: etcd waits until it is told to make a cluster or finds one to
// join; whoever has data refuses to be told; who is told to recover makes its data from the snapshot that was brought last, and fails
// where that is none; a member that leaves ends and loses its data. What no driver calls is not served.
package talos
