// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"
)

// addressBook is what a network says about addresses: now, and after its next start. Each of the two is nil when the network
// does not run, or is gone when it stops.
type addressBook struct {
	live, config *libvirtxml.Network
}

// lease is an address that a network gave out.
type lease struct {
	mac, address string
	until        time.Time
}

// addressBook reads the definitions of a network, or returns errNotFound.
func (c *client) addressBook(ctx context.Context, name string) (addressBook, error) {
	var book addressBook
	var live, config string
	err := c.withNetwork(ctx, "read definitions", name, func(l *libvirt.Libvirt, n libvirt.Network) error {
		active, err := l.NetworkIsActive(n)
		if err == nil && active == 1 {
			live, err = l.NetworkGetXMLDesc(n, 0)
		}
		if err != nil {
			return err
		}
		persistent, err := l.NetworkIsPersistent(n)
		if err == nil && persistent == 1 {
			config, err = l.NetworkGetXMLDesc(n, uint32(libvirt.NetworkXMLInactive))
		}
		return err
	})
	if err != nil {
		return book, err
	}
	for doc, parsed := range map[*string]**libvirtxml.Network{&live: &book.live, &config: &book.config} {
		if *doc == "" {
			continue
		}
		*parsed = &libvirtxml.Network{}
		if err := (*parsed).Unmarshal(*doc); err != nil {
			return book, fmt.Errorf("definition of network %s: %w", name, err)
		}
	}
	return book, nil
}

// networks returns the names of all networks of the host.
func (c *client) networks(ctx context.Context) ([]string, error) {
	var names []string
	err := c.do(ctx, "list networks", "", func(l *libvirt.Libvirt) error {
		all, _, err := l.ConnectListAllNetworks(1, 0)
		for _, n := range all {
			names = append(names, n.Name)
		}
		return err
	})
	return names, err
}

// leases returns the addresses that a network gave out and that are still held.
func (c *client) leases(ctx context.Context, name string) ([]lease, error) {
	var leases []lease
	err := c.withNetwork(ctx, "read leases", name, func(l *libvirt.Libvirt, n libvirt.Network) error {
		all, _, err := l.NetworkGetDhcpLeases(n, nil, 1, 0)
		for _, a := range all {
			if len(a.Mac) == 1 {
				leases = append(leases, lease{mac: a.Mac[0], address: a.Ipaddr, until: time.Unix(a.Expirytime, 0).UTC()})
			}
		}
		return err
	})
	return leases, err
}

// spot is a place for reservations: one subnet in one of a network's two definitions.
type spot struct {
	// live is whether it is in the definition that is in force now.
	live bool
	// subnet counts the subnets of both families from 0.
	subnet int
}

// addReservation adds a reservation, or returns errState when something like it is there.
func (c *client) addReservation(ctx context.Context, network string, at spot, host libvirtxml.NetworkDHCPHost) error {
	return c.updateReservation(ctx, "add to reservations", network, libvirt.NetworkUpdateCommandAddLast, at, host)
}

// removeReservation removes the reservation of a MAC address, or returns errState when there is none.
func (c *client) removeReservation(ctx context.Context, network string, at spot, mac string) error {
	return c.updateReservation(ctx, "remove from reservations", network, libvirt.NetworkUpdateCommandDelete, at, libvirtxml.NetworkDHCPHost{MAC: mac})
}

// updateReservation changes the reservations of a network. The helper of go-libvirt knows that old servers take command
// and section the other way round, and asks.
func (c *client) updateReservation(ctx context.Context, verb, network string, command libvirt.NetworkUpdateCommand,
	at spot, host libvirtxml.NetworkDHCPHost,
) error {
	doc, err := host.Marshal()
	if err != nil {
		return fmt.Errorf("reservation for %s: %w", host.MAC, err)
	}
	flags := libvirt.NetworkUpdateAffectConfig
	if at.live {
		flags = libvirt.NetworkUpdateAffectLive
	}
	return c.withNetwork(ctx, verb, network, func(l *libvirt.Libvirt, n libvirt.Network) error {
		return l.NetworkUpdateCompat(n, command, libvirt.NetworkSectionIPDhcpHost, int32(at.subnet), doc, flags)
	})
}

// withNetwork looks a network up and runs fn on it.
func (c *client) withNetwork(ctx context.Context, verb, name string, fn func(*libvirt.Libvirt, libvirt.Network) error) error {
	return c.do(ctx, verb, "of network "+name, func(l *libvirt.Libvirt) error {
		n, err := l.NetworkLookupByName(name)
		if err != nil {
			return err
		}
		return fn(l, n)
	})
}
