// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// listedDomain is a domain in a list of all.
type listedDomain struct {
	uuid, name string
	power      power
}

// List implements platform.Inventory. It asks once for all domains, once for all pools and once per pool for its
// volumes. A domain whose uuid is in the names of our volumes in exactly one pool needs no question of its own, and that
// is what whole instances look like; the others, which are people's and what is left of ours, are asked for their mark,
// one short call each.
//
// When a domain of somebody else has the uuid of our volumes, its name and power are told with them. It is not ours for
// that: every change looks at its mark first.
func (s *Session) List(ctx context.Context, managementClusterID string) ([]platform.Owned, error) {
	if managementClusterID == "" {
		return nil, fmt.Errorf("%w: the management cluster id is empty", platform.ErrInvalid)
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	domains, err := c.domains(ctx) // before the volumes, as in Release: what is being removed shows at least in part
	if err != nil {
		return nil, err
	}
	pools, err := c.pools(ctx)
	if err != nil {
		return nil, err
	}
	found := findings{owner: managementClusterID, domains: domains, storages: map[string][]string{}}
	for _, pool := range pools {
		names, err := c.volumes(ctx, pool)
		if errors.Is(err, errNotFound) {
			continue // a pool that is gone holds nothing
		}
		if err != nil {
			return nil, err
		}
		found.addVolumes(pool, names)
	}
	if found.marks, err = c.marks(ctx, found.doubtful()); err != nil {
		return nil, err
	}
	return found.owned(), nil
}

// findings are what List gathers, for pure judgement.
type findings struct {
	owner   string
	domains []listedDomain
	// storages are the pools in which there are volumes of ours, by the uuid in their names.
	storages map[string][]string
	// marks are the marks of the doubtful domains that have one, by their uuid.
	marks map[string]mark
}

// addVolumes adds the volumes of a pool.
func (f *findings) addVolumes(pool string, names []string) {
	for _, name := range names {
		id, ok := ownerOf(name, f.owner)
		if ok && !slices.Contains(f.storages[id], pool) {
			f.storages[id] = append(f.storages[id], pool)
		}
	}
}

// doubtful returns the domains whose volumes do not tell whose they are.
func (f *findings) doubtful() []listedDomain {
	return slices.DeleteFunc(slices.Clone(f.domains), func(d listedDomain) bool { return len(f.storages[d.uuid]) == 1 })
}

// owned puts domains and volumes together.
func (f *findings) owned() []platform.Owned {
	type key struct{ uuid, storage string }
	all := map[key]platform.Owned{}
	put := func(uuid, storage, name string, p platform.Power) {
		id := platform.Identity{UUID: uuid, ManagementClusterID: f.owner, Storage: storage}
		all[key{uuid, storage}] = platform.Owned{Identity: id, Name: name, Power: p}
	}
	for uuid, storages := range f.storages {
		for _, storage := range storages {
			put(uuid, storage, "", platform.PowerUnknown)
		}
	}
	for _, d := range f.domains {
		state := platform.PowerOn
		if d.power == powerOff {
			state = platform.PowerOff
		}
		m := f.marks[d.uuid]
		if storages := f.storages[d.uuid]; len(storages) == 1 {
			put(d.uuid, storages[0], d.name, state)
		} else if m.owns(platform.Identity{UUID: d.uuid, ManagementClusterID: f.owner}) {
			put(d.uuid, m.Storage, d.name, state)
		}
	}
	list := make([]platform.Owned, 0, len(all))
	for _, o := range all {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b platform.Owned) int {
		return cmp.Or(cmp.Compare(a.UUID, b.UUID), cmp.Compare(a.Storage, b.Storage))
	})
	return list
}

// Capacity implements platform.CapacityReporter.
func (s *Session) Capacity(ctx context.Context) (platform.Capacity, error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Capacity{}, err
	}
	return c.node(ctx)
}
