// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package monitoring checks the alerts and the dashboard of config/monitoring with Prometheus' own parser and engine. It
// is a module of its own because Prometheus is a large dependency that nothing else needs. What the manager exports it
// knows from docs/metrics.md, which a test of internal/metrics keeps equal to it.
package monitoring
