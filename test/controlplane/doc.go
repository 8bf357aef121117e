// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplane proves what must hold while control planes are replaced, whatever fails: etcd never loses its quorum
// by what we do, what was written is still there, nothing belongs to nobody, and everything comes to rest. The API servers,
// Cluster API's own manager, the reconciler in its own manager, and every member of etcd are real processes. What is played
// is the instances, and in them kubeadm and the kubelet, which do to etcd what the real ones do. An observer with clients of
// its own judges all the time.
//
// The short form is part of make test; make test-controlplane-long replaces Machines by the hundred.
package controlplane
