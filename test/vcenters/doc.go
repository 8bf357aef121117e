// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vcenters proves what several vCenters behind one manager do to each other. The manager, its queues and the API server
// are real, the vCenters are simulated. What is played is Cluster API and the guests, which have no operating system.
package vcenters
