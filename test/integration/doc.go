// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package integration runs the whole manager, in all three roles, against Cluster API's own core manager. What is real:
// both API servers, the core manager, the manager with its caches and event streams, the cluster template, the rendered
// bootstrap data. What is played: the platform (a stateful fake) and the guests, which boot from the bootstrap data that
// they were given and join the workload cluster's API server. Nothing here calls a reconciler or reaches into one.
package integration
