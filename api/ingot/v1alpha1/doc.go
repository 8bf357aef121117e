// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds Ingot's own catalogue and inventory kinds: NodeImage, ImageReplica and PlatformEndpoint.
// It is data: types, their validation markers, and the names of conditions and reasons. No behaviour beyond
// accessors lives here, and it imports nothing but the Kubernetes and Cluster API types.
//
// +kubebuilder:object:generate=true
// +groupName=ingot.dev
package v1alpha1
