// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import "time"

// Meter is told of everything that endpoints are asked. Its methods are called from many goroutines and must not block.
type Meter interface {
	// Call is told of a call of a session: the name of the method, how it ended and how long it took. What is answered from
	// memory is no call.
	Call(endpoint, verb string, err error, took time.Duration)
	// Exchange is told of an exchange with the endpoint, of which a call may have many, in the words of the adapter.
	Exchange(endpoint, verb string, err error, took time.Duration)
	// Circuit is told that the circuit of an endpoint has opened, or closed again.
	Circuit(endpoint string, open bool)
	// Forget is told that the endpoint is gone.
	Forget(endpoint string)
}
