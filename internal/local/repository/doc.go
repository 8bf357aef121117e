// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repository makes the assets that Ingot releases (one components file per provider role, cluster templates,
// metadata), lays them out as a clusterctl repository on the local disk, and drives clusterctl's own library over it, so
// that a local cluster takes the road that users take: init, then generate.
//
// It needs no network and reads no environment variable: what clusterctl sees is the configuration file that Build
// wrote and the variables that the caller passes. What is applied to which cluster, and when, is the caller's story.
package repository
