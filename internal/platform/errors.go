// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platform

import "errors"

// Errors that adapters wrap. Callers judge with errors.Is and never by text.
var (
	// ErrForeign means that what stands there does not carry our owner token. Nothing was touched.
	ErrForeign = errors.New("not ours")
	// ErrInvalid means that the request can never succeed as it is; the text names the field.
	ErrInvalid = errors.New("invalid request")
	// ErrUnsupported means that this endpoint cannot do what is asked; the text says what and the remedy.
	ErrUnsupported = errors.New("not supported by the endpoint")
	// ErrCapacity means that the endpoint has no room now. Retrying later can help.
	ErrCapacity = errors.New("no capacity")
	// ErrImageNotReady means that the image is not on the storage, complete and verified.
	ErrImageNotReady = errors.New("image not ready")
	// ErrDigestMismatch means that the source holds other bytes than declared. Nothing of it was kept.
	ErrDigestMismatch = errors.New("digest mismatch")
	// ErrSource means that the source of an artefact could not be read.
	ErrSource = errors.New("source not readable")
	// ErrInUse means that something else still depends on what is to be removed.
	ErrInUse = errors.New("in use")
	// ErrUnreachable means that it could not be told: no connection, a deadline passed, or an answer was lost.
	ErrUnreachable = errors.New("endpoint unreachable")
	// ErrNoAnswer is an ErrUnreachable whose cause is the endpoint itself: it could not be connected to, the connection
	// broke, or a deadline passed. One in a row of many opens the circuit.
	ErrNoAnswer error = kind{"endpoint unreachable", ErrUnreachable}
	// ErrNotAsked is an ErrUnreachable whose cause is on this side: nothing was sent, and it says nothing about the endpoint.
	ErrNotAsked error = kind{"endpoint not asked", ErrUnreachable}
	// ErrNoTurn is an ErrNotAsked: the budget of the endpoint left no turn in time.
	ErrNoTurn error = kind{"no turn in time", ErrNotAsked}
	// ErrCircuitOpen is an ErrNotAsked: the endpoint has left too much unanswered.
	ErrCircuitOpen error = kind{"endpoint left alone", ErrNotAsked}
)

// kind is an error that is a special case of another one.
type kind struct {
	text string
	of   error
}

// Error implements error.
func (k kind) Error() string { return k.text }

// Unwrap returns what it is a special case of.
func (k kind) Unwrap() error { return k.of }
