// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcd speaks to the members of a workload cluster's etcd: it lists them with their health, promotes, removes, has
// another lead, and takes snapshots. It reaches a member through a connection that its caller opens, in clusters through the API server
// (PortForward). It decides nothing: what is done to which member, and whether etcd survives it, is the planner's
// (controlplane/plan). What becomes of a snapshot is controlplane/backup's. It neither starts nor configures members.
package etcd
