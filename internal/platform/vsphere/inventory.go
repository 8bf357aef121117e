// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// List implements platform.Inventory. It asks for all virtual machines at once.
func (s *Session) List(ctx context.Context, managementClusterID string) ([]platform.Owned, error) {
	if managementClusterID == "" {
		return nil, fmt.Errorf("%w: the management cluster id is empty", platform.ErrInvalid)
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.list(ctx)
	if err != nil {
		return nil, told(err)
	}
	var owned []platform.Owned
	for _, m := range all {
		// A copy that a person made of a machine has its mark, and an instance UUID of its own.
		if m.mark.cluster != managementClusterID || m.mark.machine != m.instanceUUID || m.instanceUUID == "" {
			continue
		}
		o := platform.Owned{
			Identity: platform.Identity{UUID: m.instanceUUID, ManagementClusterID: managementClusterID, Storage: m.mark.storage},
			Name:     m.name, Power: platform.PowerOff,
		}
		if m.power == poweredOn {
			o.Power = platform.PowerOn
		}
		owned = append(owned, o)
	}
	slices.SortFunc(owned, func(a, b platform.Owned) int { return compare(a.UUID, b.UUID) })
	return slices.CompactFunc(owned, func(a, b platform.Owned) bool { return a.Identity == b.Identity }), nil
}

// Capacity implements platform.CapacityReporter.
func (s *Session) Capacity(ctx context.Context) (platform.Capacity, error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Capacity{}, err
	}
	capacity, err := c.capacity(ctx)
	return capacity, told(err)
}
