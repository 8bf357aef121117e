// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// separatorGate stands before a platform that keeps instances apart.
type separatorGate struct {
	wrapped
	separator platform.Separator
	call      call
}

// KeepApart implements platform.Separator.
func (m *separatorGate) KeepApart(ctx context.Context, id platform.Identity, others []platform.Identity) (err error) {
	ctx, end, err := m.call(ctx, "KeepApart")
	if err != nil {
		return err
	}
	defer end(&err)
	return m.separator.KeepApart(ctx, id, others)
}
