// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"context"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Leaver removes members in one way only: they leave. Remove goes on through another where one cannot, so that it does not show
// whether they can.
type Leaver struct{ Cluster }

// Remove has a member leave.
func (l Leaver) Remove(ctx context.Context, member plan.Member) error { return l.leave(ctx, member) }
