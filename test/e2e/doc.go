// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e runs Ingot as a user does: it starts the command line program, kills it where it hurts, and looks at the
// clusters only through their public APIs and at the machine only from outside. `make e2e` runs it; it needs root. A
// failed run leaves logs, consoles and resources in one folder. It never reaches into internal packages for shortcuts.
package e2e
