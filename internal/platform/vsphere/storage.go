// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const policyField = "spec.platform.vsphere.storagePolicy"

// fewReasons bounds how many datastores a refusal speaks of.
const fewReasons = 8

// ChooseStorage implements platform.StorageChooser. vCenter says which datastores are compatible; what all working hosts of the
// cluster or host have mounted is asked beside it, because a machine on a datastore that only one host has stays on that host.
func (s *Session) ChooseStorage(ctx context.Context, wish platform.StorageWish) (string, error) {
	if wish.Datacenter == "" || wish.ResourcePool == "" || wish.Policy == "" {
		return "", fmt.Errorf("%w: a datastore is chosen by a datacenter, a resource pool and a storage policy", platform.ErrInvalid)
	}
	unlock, err := s.locks.Lock(ctx, "further")
	if err != nil {
		return "", err
	}
	defer unlock()
	c, err := s.acquire(ctx)
	if err != nil {
		return "", err
	}
	if found, ok := s.known.choice(wish, s.config.Clock.Now()); ok {
		return found.storage, found.refused
	}
	name, err := s.chooseDatastore(ctx, c, wish)
	found := choiceFound{read: s.config.Clock.Now()}
	switch {
	case err == nil:
		found.storage = wish.Datacenter + "/" + name
	case errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrCapacity):
		found.refused = err
	default:
		return "", told(err)
	}
	s.known.putChoice(wish, found)
	return found.storage, found.refused
}

// chooseDatastore returns the name of the datastore for what is wished, or why there is none.
func (s *Session) chooseDatastore(ctx context.Context, c *client, wish platform.StorageWish) (string, error) {
	at := whereIn(wish.Datacenter, "", wish.ResourcePool)
	pool, err := s.locate(ctx, c, "spec.platform.vsphere.resourcePool", at.pool)
	if err == nil {
		pool, err = s.poolOf(ctx, c, pool)
	}
	if err != nil {
		return "", err
	}
	id, offered, err := c.offeredTo(ctx, wish, pool, at.pool)
	if err != nil {
		return "", err
	}
	slices.SortFunc(offered, func(a, b shelf) int { return cmp.Or(cmp.Compare(b.free, a.free), strings.Compare(a.name, b.name)) })
	var reasons []string
	for _, o := range offered {
		reason := o.lacks
		if reason == "" {
			reason, err = s.misplaced(ctx, c, at.on(o.name).datastore, o.ref)
		}
		switch {
		case err != nil:
			return "", err
		case reason == "":
			s.known.putPolicy(fit{wish.Policy, o.ref}, id, s.config.Clock.Now())
			return o.name, nil
		}
		reasons = append(reasons, o.name+": "+reason)
	}
	return "", fmt.Errorf("%w: %s: none of the %d datastores of the hosts of %s can be chosen for %s: %s%s: choose another policy, or name a datastore",
		platform.ErrUnsupported, policyField, len(offered), at.pool, wish.Policy, strings.Join(reasons[:min(len(reasons), fewReasons)], "; "), more(len(reasons)))
}

// offeredTo returns the identifier of a storage policy, and the datastores behind a resource pool with what each lacks of what is
// wished.
func (c *client) offeredTo(ctx context.Context, wish platform.StorageWish, pool ref, path string) (id string, offered []shelf, err error) {
	p, err := c.policies(ctx)
	if err == nil {
		id, err = p.named(ctx, wish.Policy)
	}
	if err != nil {
		return "", nil, policyRefused(wish.Policy, err)
	}
	required := wish.HostGroup.Name
	if !wish.HostGroup.Required {
		required = "" // the machine may run anywhere
	}
	offered, working, err := c.shelves(ctx, pool, required)
	switch {
	case err != nil:
		return "", nil, err
	case working == 0 && required != "":
		return "", nil, fmt.Errorf("%w: %s: the session sees no host of group %s in the cluster of %s that is connected and out of maintenance mode: bring one back, or make the group",
			platform.ErrCapacity, hostGroupField, required, path)
	case working == 0:
		return "", nil, fmt.Errorf("%w: of the hosts of %s none is connected and out of maintenance mode: bring one back", platform.ErrCapacity, path)
	case len(offered) == 0:
		return "", nil, fmt.Errorf("%w: %s: the session sees no datastore of the hosts of %s", platform.ErrUnsupported, policyField, path)
	}
	var refs []ref
	for _, o := range offered {
		refs = append(refs, o.ref)
	}
	unfit, err := p.unfit(ctx, id, refs...)
	if err != nil {
		return "", nil, policyRefused(wish.Policy, err)
	}
	for i := range offered {
		offered[i].judge(working, unfit[offered[i].ref])
	}
	return id, offered, nil
}

func more(reasons int) string {
	if reasons <= fewReasons {
		return ""
	}
	return fmt.Sprintf("; and %d more", reasons-fewReasons)
}

// misplaced says why a datastore is not what its path says, or nothing. Machines name datastores in the datacenter's own folder
// of them; one in another folder, or in a cluster of datastores, has no such path.
func (s *Session) misplaced(ctx context.Context, c *client, path string, datastore ref) (reason string, err error) {
	found, err := s.locate(ctx, c, "the datastore", path)
	if errors.Is(err, platform.ErrInvalid) || err == nil && found != datastore {
		return "it is in a folder or cluster of datastores", nil
	}
	return "", err
}

// shelf is a datastore that hosts have.
type shelf struct {
	ref  ref
	name string
	free int64
	// mounted is how many of the working hosts have it mounted to write to; open is whether vCenter puts something on it.
	mounted int
	open    bool
	// lacks says why nothing is put on it; empty when something is.
	lacks string
}

// judge finds what a datastore lacks, where so many hosts work and vCenter says that it is not compatible, or nothing.
func (o *shelf) judge(working int, unfit error) {
	switch {
	case unfit != nil:
		o.lacks = unfit.Error()
	case !o.open:
		o.lacks = "it is not accessible, or in maintenance mode"
	case o.mounted < working:
		o.lacks = fmt.Sprintf("%d of the %d working hosts have it mounted", o.mounted, working)
	}
}

// policyRefused words why a storage policy cannot be had.
func policyRefused(name string, err error) error {
	switch {
	case errors.Is(err, errAmbiguous):
		return fmt.Errorf("%w: %s: %w: rename all but one", platform.ErrInvalid, policyField, err)
	case errors.Is(err, errNotFound):
		return fmt.Errorf("%w: %s: there is no storage policy %s that the session sees: make it, or give the user StorageProfile.View",
			platform.ErrInvalid, policyField, name)
	}
	return err
}
