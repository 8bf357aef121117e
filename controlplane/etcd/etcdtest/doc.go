// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package etcdtest is what every way to the members of etcd can do, as tests: through the API server, and through the API of
// Talos. Both pass the same suite against real members; what only one of them can do is tested beside it. What real members ask of
// whoever changes them is here too. It runs no members, and production code never imports it.
package etcdtest
