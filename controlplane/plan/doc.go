// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plan decides what happens next to a control plane. Make takes a snapshot of what is (World) and returns what
// to do (Plan): an ordered list of typed steps, and the reasons why anything that should happen is held.
//
// It is pure: the same snapshot gives the same plan, and nothing here reads, writes, waits or tells the time. The
// package imports no client and no network; whoever gathers the snapshot and carries out the steps lives elsewhere
// (controlplane/controller). What prints a plan prints exactly what the controller will do.
package plan
