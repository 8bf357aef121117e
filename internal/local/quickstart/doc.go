// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package quickstart tells Ingot's main story on one machine: from nothing to a Kubernetes cluster on real VMs, whose
// worker is then replaced by one from the next version of its image. Each stage looks at what is there before it acts,
// so that a run that was interrupted anywhere is continued by the next one. It walks the road that users walk:
// clusterctl init, clusterctl generate cluster, apply, change the image, apply again. It holds no logic that a cluster
// outside of the quickstart needs.
package quickstart
