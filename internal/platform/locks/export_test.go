// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package locks

// Held is how many keys are held or waited for.
func (k *Keyed) Held() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.held)
}
