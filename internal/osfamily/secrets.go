// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// Secrets are the values that a config refers to instead of holding them: name of the Secret to key to value. They are
// secret.
type Secrets map[string]map[string][]byte

// Value is what a reference stands for; false where it was not read.
func (s Secrets) Value(ref bootstrapv1.SecretKeyReference) ([]byte, bool) {
	value, ok := s[ref.Name][ref.Key]
	return value, ok
}
