// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdtest holds what tests of every way to the members of etcd share: what real members ask of whoever changes them. It
// runs no members, and production code never imports it.
package etcdtest
