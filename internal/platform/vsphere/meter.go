// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"errors"
	"time"

	"k8s.io/utils/clock"
)

// meter tells Config.Calls of every round trip to vCenter.
type meter struct {
	clock clock.PassiveClock
	calls func(verb string, err error, took time.Duration)
}

// begin starts to measure a round trip and returns the function that ends it with the error that it then has. It is made
// for a defer. An expected no (not there, not in this state) is an answer and no error.
func (m meter) begin(verb string) (end func(err *error)) {
	if m.calls == nil {
		return func(*error) {}
	}
	start := m.clock.Now()
	return func(err *error) {
		told := *err
		if errors.Is(told, errNotFound) || errors.Is(told, errState) {
			told = nil
		}
		m.calls(verb, told, m.clock.Since(start))
	}
}
