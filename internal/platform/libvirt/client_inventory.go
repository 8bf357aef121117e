// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// domains lists all domains with what they do, in one call.
func (c *client) domains(ctx context.Context) ([]listedDomain, error) {
	var list []listedDomain
	err := c.do(ctx, "list domains", "", func(l *libvirt.Libvirt) error {
		all, err := l.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsState), 0)
		for _, d := range all {
			list = append(list, listedDomain{uuid: uuidString(d.Dom.UUID), name: d.Dom.Name, power: powerIn(d.Params)})
		}
		return err
	})
	return list, err
}

// powerIn reads the power out of a domain's statistics.
func powerIn(stats []libvirt.TypedParam) power {
	for _, p := range stats {
		if state, ok := p.Value.I.(int32); ok && p.Field == "state.state" {
			return powerOf(libvirt.DomainState(state))
		}
	}
	return powerOff
}

// pools lists all storage pools. An inactive one is ErrUnreachable, as what is in it cannot be told.
func (c *client) pools(ctx context.Context) ([]string, error) {
	var names []string
	err := c.do(ctx, "list storage pools", "", func(l *libvirt.Libvirt) error {
		inactive, _, err := l.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsInactive)
		if err != nil {
			return err
		}
		if len(inactive) > 0 {
			return fmt.Errorf("%s: %w", inactive[0].Name, errPoolInactive)
		}
		active, _, err := l.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive)
		for _, p := range active {
			names = append(names, p.Name)
		}
		return err
	})
	return names, err
}

// marks reads the marks of domains, by their uuid. Those that have none, or are gone, are left out.
func (c *client) marks(ctx context.Context, domains []listedDomain) (map[string]mark, error) {
	found := map[string]mark{}
	if len(domains) == 0 {
		return found, nil
	}
	err := c.do(ctx, "read marks", "", func(l *libvirt.Libvirt) error {
		for _, d := range domains {
			key, err := uuid.Parse(d.uuid)
			if err != nil {
				return err
			}
			element, err := l.DomainGetMetadata(libvirt.Domain{Name: d.name, UUID: libvirt.UUID(key), ID: -1},
				int32(libvirt.DomainMetadataElement), libvirt.OptString{markNamespace}, libvirt.DomainAffectCurrent)
			if isCode(err, libvirt.ErrNoDomainMetadata) || isCode(err, libvirt.ErrNoDomain) {
				continue
			}
			if err != nil {
				return err
			}
			if m, ok := parseMark(element); ok {
				found[d.uuid] = m
			}
		}
		return nil
	})
	return found, err
}

// parseMark reads a mark as libvirt gives it out alone, without its namespace. Any other element in the namespace is none.
func parseMark(element string) (m mark, ok bool) {
	err := xml.Unmarshal([]byte(element), &m)
	return m, err == nil
}

// node tells what the host has.
func (c *client) node(ctx context.Context) (platform.Capacity, error) {
	var capacity platform.Capacity
	err := c.do(ctx, "read node", "", func(l *libvirt.Libvirt) error {
		_, memoryKiB, cpus, _, _, _, _, _, err := l.NodeGetInfo()
		capacity = platform.Capacity{CPUs: cpus, MemoryBytes: int64(memoryKiB) << 10}
		return err
	})
	if err != nil {
		return platform.Capacity{}, err
	}
	return capacity, nil
}
