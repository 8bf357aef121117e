// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the kinds that fill Cluster API's infrastructure role: IngotCluster (InfraCluster) and
// IngotMachine (InfraMachine) with their templates. It is data: types, their validation markers, and the names of
// conditions and reasons. It never holds behaviour beyond accessors.
//
// +kubebuilder:object:generate=true
// +groupName=infrastructure.cluster.x-k8s.io
package v1alpha1
