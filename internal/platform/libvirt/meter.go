// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"errors"
	"time"

	"k8s.io/utils/clock"
)

// meter tells Config.Calls of every exchange with libvirtd.
type meter struct {
	clock clock.PassiveClock
	calls func(verb string, err error, took time.Duration)
}

// begin starts to measure an exchange and returns the function that ends it with the error that the exchange then has.
// It is made for a defer. An expected no (not there, there already, not in this state) is an answer and no error.
func (m meter) begin(verb string) (end func(err *error)) {
	if m.calls == nil {
		return func(*error) {}
	}
	start := m.clock.Now()
	return func(err *error) {
		told := *err
		if errors.Is(told, errNotFound) || errors.Is(told, errExists) || errors.Is(told, errState) {
			told = nil
		}
		m.calls(verb, told, m.clock.Since(start))
	}
}
