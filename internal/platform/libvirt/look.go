// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// view is everything that is there of one instance. It is gathered by look and judged by pure functions.
type view struct {
	id platform.Identity
	// pool is where the instance's volumes are; nil when there is no such pool, which then holds nothing.
	pool *pool
	// domain is nil when there is none.
	domain *domainInfo
	mark   mark
	// definition is the parsed definition of domain.
	definition *libvirtxml.Domain
	// volumes are all volumes that carry the owner token in their names.
	volumes map[string]bool
}

// look gathers the view of an instance. A domain with the machine's uuid that does not carry the owner token is
// platform.ErrForeign.
func look(ctx context.Context, c *client, id platform.Identity) (view, error) {
	v, err := view{id: id}.again(ctx, c)
	if err != nil {
		return v, err
	}
	p, err := c.pool(ctx, id.Storage)
	switch {
	case errors.Is(err, errNotFound):
		return v, nil
	case err != nil:
		return v, err
	}
	v.pool = &p
	v.volumes, err = c.ownVolumes(ctx, id.Storage, namesOf(id))
	return v, err
}

// again returns the view with the domain as it is now, and the volumes as they were: nothing that is done to a defined
// domain changes them.
func (v view) again(ctx context.Context, c *client) (view, error) {
	v.domain, v.definition, v.mark = nil, nil, mark{}
	domain, err := c.domain(ctx, v.id.UUID)
	if errors.Is(err, errNotFound) {
		return v, nil
	}
	if err != nil {
		return v, err
	}
	if v.definition, v.mark, err = readDefinition(domain.xml); err != nil {
		return v, fmt.Errorf("domain %s: %w", v.id.UUID, err)
	}
	if !v.mark.owns(v.id) {
		return v, fmt.Errorf("%w: domain %s has the uuid %s of this machine and no owner token of this management cluster; "+
			"nothing was changed", platform.ErrForeign, v.definition.Name, v.id.UUID)
	}
	v.domain = &domain
	return v, nil
}

// readDefinition parses the definition of a domain and finds our mark in it.
func readDefinition(text string) (*libvirtxml.Domain, mark, error) {
	definition := &libvirtxml.Domain{}
	if err := definition.Unmarshal(text); err != nil {
		return nil, mark{}, fmt.Errorf("definition: %w", err)
	}
	m, err := readMark(definition.Metadata)
	return definition, m, err
}

func (v view) poolPath() string {
	if v.pool == nil {
		return ""
	}
	return v.pool.path
}

// observation is what the port tells about a view.
func (v view) observation() platform.Observation {
	names := namesOf(v.id)
	o := platform.Observation{Existence: platform.Absent}
	if v.anyVolume() {
		o.Existence, o.Detail = platform.Exists, "only volumes are there"
	}
	if v.volumes[names.console] {
		o.ConsoleLog = v.poolPath() + "/" + names.console
	}
	o.BootstrapPresent = v.volumes[names.bootstrap] || v.refersToBootstrap()
	if v.domain == nil {
		return o
	}
	o.Existence = platform.Exists
	o.Started = v.mark.Stage != stageNone
	if v.domain.power == powerOn {
		o.Addresses = addresses(v.id, v.mark.Addresses, v.domain.leases)
	}
	o.Power, o.Detail = v.power()
	return o
}

func (v view) power() (platform.Power, string) {
	switch {
	case v.domain.power != powerOff:
		return platform.PowerOn, v.domain.detail
	case v.mark.Stage == stageNone:
		return platform.PowerOff, "defined, not started yet"
	default:
		return platform.PowerOff, v.domain.detail
	}
}

func (v view) anyVolume() bool {
	for _, there := range v.volumes {
		if there {
			return true
		}
	}
	return false
}

// Observe implements platform.Platform.
func (s *Session) Observe(ctx context.Context, id platform.Identity) (platform.Observation, error) {
	if err := rules.CheckIdentity(id); err != nil {
		return platform.Observation{}, err
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return platform.Observation{}, err
	}
	v, err := look(ctx, c, id)
	if err != nil {
		return platform.Observation{}, err
	}
	return v.observation(), nil
}
