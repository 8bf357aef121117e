// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Call counts a call of the platform port.
func (m *Metrics) Call(endpoint, verb string, err error, took time.Duration) {
	m.calls.WithLabelValues(endpoint, verb, result(err)).Inc()
	m.callDuration.WithLabelValues(endpoint, verb).Observe(took.Seconds())
}

// Exchange counts one exchange with an endpoint, as its adapter calls it.
func (m *Metrics) Exchange(endpoint, verb string, err error, took time.Duration) {
	m.rpcs.WithLabelValues(endpoint, verb, result(err)).Inc()
	m.rpcDuration.WithLabelValues(endpoint).Observe(took.Seconds())
}

// Circuit takes whether the circuit of an endpoint is open.
func (m *Metrics) Circuit(endpoint string, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.circuits[endpoint] = open
}

// Orphans takes how many orphans an endpoint has.
func (m *Metrics) Orphans(endpoint string, orphans int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orphans[endpoint] = orphans
}

// Forget drops what was counted for an endpoint that is gone.
func (m *Metrics) Forget(endpoint string) {
	gone := prometheus.Labels{labelEndpoint: endpoint}
	for _, vec := range []*prometheus.MetricVec{
		m.waits.MetricVec, m.calls.MetricVec, m.callDuration.MetricVec, m.rpcs.MetricVec, m.rpcDuration.MetricVec,
	} {
		vec.DeletePartialMatch(gone)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.orphans, endpoint)
	delete(m.circuits, endpoint)
}

// resultOK is the result of a call without an error, and resultError that of one whose error is none of the port's.
const (
	resultOK    = "ok"
	resultError = "error"
)

// outcome is an error of the port and what a call that ended with it is counted as.
type outcome struct {
	err    error
	result string
}

func outcomes() []outcome {
	return []outcome{
		{platform.ErrForeign, "foreign"},
		{platform.ErrInvalid, "invalid"},
		{platform.ErrUnsupported, "unsupported"},
		{platform.ErrCapacity, "capacity"},
		{platform.ErrImageNotReady, "image_not_ready"},
		{platform.ErrDigestMismatch, "digest"},
		{platform.ErrSource, "source"},
		{platform.ErrInUse, "in_use"},
		{platform.ErrUnreachable, "unreachable"},
	}
}

// Results are the values of the label result.
func Results() []string {
	results := []string{resultOK}
	for _, o := range outcomes() {
		results = append(results, o.result)
	}
	return append(results, resultError)
}

func result(err error) string {
	if err == nil {
		return resultOK
	}
	for _, o := range outcomes() {
		if errors.Is(err, o.err) {
			return o.result
		}
	}
	return resultError
}
