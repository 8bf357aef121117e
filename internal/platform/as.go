// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platform

// Wrapper is a platform around another one. A wrapper that must know of a capability implements it; all others are found
// behind it by As.
type Wrapper interface {
	// Unwrap returns the platform inside.
	Unwrap() Platform
}

// As returns the optional capability T of a platform, looking through wrappers, as errors.As does with errors.
func As[T any](p Platform) (capability T, can bool) {
	for p != nil {
		if capability, can = p.(T); can {
			return capability, true
		}
		w, wraps := p.(Wrapper)
		if !wraps {
			break
		}
		p = w.Unwrap()
	}
	return capability, false
}
