// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

// SweepAge is how long an instance's observation is believed.
var SweepAge = sweepAge
