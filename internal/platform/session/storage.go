// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// storageGate stands before a platform that chooses storage by a policy.
type storageGate struct {
	wrapped
	chooser platform.StorageChooser
	call    call
}

// ChooseStorage implements platform.StorageChooser.
func (m *storageGate) ChooseStorage(ctx context.Context, wish platform.StorageWish) (storage string, err error) {
	ctx, end, err := m.call(ctx, "ChooseStorage")
	if err != nil {
		return storage, err
	}
	defer end(&err)
	return m.chooser.ChooseStorage(ctx, wish)
}
