// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package talos speaks to the machines of a control plane that runs Talos, through the API that Talos has instead of a shell: it
// has the first machine make etcd, lists the members of etcd with their health, has them leave or removes them, and takes
// snapshots. What the planner knows of etcd is the same as for nodes that kubeadm makes (controlplane/etcd); this is another way
// to it.
//
// The types of Talos stay here. It decides nothing: what is done to which machine is the planner's (controlplane/plan), and
// what was done is written down by the reconciler. What machines are configured with is the renderer's
// (internal/osfamily/talos), and it never configures, upgrades or reboots one.
package talos
