// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// askAgain is how long a guest has before it is asked to shut down again.
const askAgain = 10 * time.Second

// channelOf returns the first channel that the endpoint has: all that have a name here. It is zero when there is none.
func channelOf(b platform.Bootstrap) delivery.Channel {
	has := []delivery.Kind{delivery.FWCfg, delivery.NoCloud, delivery.ConfigDrive, delivery.SMBIOS}
	for _, c := range b.Channels {
		if slices.Contains(has, c.Kind) {
			return c
		}
	}
	return delivery.Channel{}
}

// staticAddresses returns the static addresses of a request, the first interface's first.
func staticAddresses(req platform.Request) []netip.Addr {
	var all []netip.Addr
	for _, nic := range req.Interfaces {
		for _, a := range nic.Addresses {
			all = append(all, a.Prefix.Addr())
		}
	}
	return all
}

// admitAddresses refuses addresses that their network does not have, and those of others. The caller holds the lock.
func (p *Platform) admitAddresses(req platform.Request) error {
	seen := map[netip.Addr]bool{}
	for _, nic := range req.Interfaces {
		subnet, limited := p.options.Subnets[nic.Network]
		for _, a := range nic.Addresses {
			ip := a.Prefix.Addr()
			switch {
			case !a.Prefix.IsValid() || seen[ip]:
				return fmt.Errorf("%w: address %s", platform.ErrInvalid, a.Prefix)
			case limited && !subnet.Contains(ip):
				return fmt.Errorf("%w: address %s is not in %s, which network %s has", platform.ErrInvalid, ip, subnet, nic.Network)
			}
			seen[ip] = true
			if owner, taken := p.reserved[ip]; taken && owner != req.UUID {
				return fmt.Errorf("%w: address %s is reserved for %q", platform.ErrCapacity, ip, owner)
			}
		}
	}
	return nil
}

// reserve takes the addresses of a request. The caller holds the lock.
func (p *Platform) reserve(req platform.Request) {
	for _, ip := range staticAddresses(req) {
		p.reserved[ip] = req.UUID
	}
}

func (p *Platform) hasAddresses(uuid string) bool {
	for _, owner := range p.reserved {
		if owner == uuid {
			return true
		}
	}
	return false
}

func (p *Platform) freeAddresses(uuid string) {
	for ip, owner := range p.reserved {
		if owner == uuid {
			delete(p.reserved, ip)
		}
	}
}

// allAddresses returns the addresses of a running instance: those that were reserved, then those that it got.
func (i *instance) allAddresses() []string {
	var all []string
	for _, ip := range staticAddresses(i.req) {
		all = append(all, ip.String())
	}
	for _, a := range i.addresses {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// askToShutDown asks the guest of an instance once in a while, and lets it obey. The caller holds the lock.
func (p *Platform) askToShutDown(i *instance, now time.Time) error {
	if i.asked > 0 && now.Sub(i.lastAsked) < askAgain {
		return nil
	}
	return p.effect(AskToShutDown, func() {
		i.asked, i.lastAsked = i.asked+1, now
		if i.obeys {
			i.running = false
		}
	})
}
