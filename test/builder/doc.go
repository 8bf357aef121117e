// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package builder makes what the suites of reconcilers share: objects that are valid as they are, which a test changes in
// the one place that its story is about; an API server with all kinds for one test binary; and a client whose writes are
// counted and can be cut off. It holds no story and no assertion, and nothing outside tests imports it.
package builder
