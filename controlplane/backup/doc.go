// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package backup is the gate that a rollout of a control plane passes: a snapshot of etcd that was taken, restored to try it,
// and stored. A Keeper does that beside reconcilers, which ask it for the state and are woken when it changes. A backup that
// nobody has restored is a hope; here nothing is stored before etcd was started on it (rehearsal).
//
// What lives here: the order of a job, what is compared with what, when a failed one is tried again, and the scratch folder.
// What never will: when a snapshot is needed, which is the planner's (controlplane/plan); restoring a living cluster; and any
// client of Kubernetes.
package backup
