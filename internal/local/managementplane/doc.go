// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package managementplane runs a management cluster without containers: etcd, kube-apiserver, kube-controller-manager
// and the Cluster API core manager as processes of this machine, on loopback. It has no Nodes and runs no Pods; managers
// run beside it and use its kubeconfig. (The core manager has no setting for the address of its webhooks; that one port
// listens on all addresses. It answers admission questions and holds no secret.)
//
// Everything is in one state directory: data, certificates, ports, logs, pidfiles. Starting there again continues.
//
// What lives here: starting and stopping those processes, and putting Cluster API's CRDs and webhooks in place. What
// never will: anything of Ingot itself, and anything that only a real cluster has.
package managementplane
