// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"libvirt.org/go/libvirtxml"
)

// conn is a connection to the private libvirtd.
type conn struct{ *libvirt.Libvirt }

// withConnection connects, runs use unless it is nil, and disconnects. The library knows no deadlines: when ctx ends,
// the connection is dropped, which ends a call that hangs.
func withConnection(ctx context.Context, socket string, use func(conn) error) error {
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(socket), dialers.WithLocalTimeout(5*time.Second)))
	defer context.AfterFunc(ctx, func() { _ = l.Disconnect() })()
	if err := l.ConnectToURI(libvirt.QEMUSystem); err != nil {
		return fmt.Errorf("connecting to libvirtd: %w", err)
	}
	defer func() { _ = l.Disconnect() }()
	if use == nil {
		return nil
	}
	if err := use(conn{l}); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return err
	}
	return nil
}

// ensureNetworkAndPool defines and starts the network and the pool where they are missing.
func ensureNetworkAndPool(c conn, h *Hypervisor) error {
	network, err := c.NetworkLookupByName(h.Network)
	if isCode(err, libvirt.ErrNoNetwork) {
		network, err = c.defineNetwork(h)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", h.Network, err)
	}
	if active, err := c.NetworkIsActive(network); err != nil || active == 0 {
		if err := errors.Join(err, c.NetworkCreate(network)); err != nil {
			return fmt.Errorf("starting network %s: %w", h.Network, err)
		}
	}
	pool, err := c.StoragePoolLookupByName(h.Pool)
	if isCode(err, libvirt.ErrNoStoragePool) {
		pool, err = c.definePool(h)
	}
	if err != nil {
		return fmt.Errorf("pool %s: %w", h.Pool, err)
	}
	if active, err := c.StoragePoolIsActive(pool); err != nil || active == 0 {
		if err := errors.Join(err, c.StoragePoolCreate(pool, 0)); err != nil {
			return fmt.Errorf("starting pool %s: %w", h.Pool, err)
		}
	}
	return nil
}

// defineNetwork uses forward mode "open": libvirt then routes and adds no firewall rule.
func (c conn) defineNetwork(h *Hypervisor) (libvirt.Network, error) {
	doc := libvirtxml.Network{
		Name:    h.Network,
		Forward: &libvirtxml.NetworkForward{Mode: "open"},
		Bridge:  &libvirtxml.NetworkBridge{Name: bridgeName, STP: "off", Delay: "0"},
		IPs: []libvirtxml.NetworkIP{{
			Address: h.Gateway.String(),
			Prefix:  uint(h.Subnet.Bits()),
			DHCP: &libvirtxml.NetworkDHCP{Ranges: []libvirtxml.NetworkDHCPRange{{
				Start: h.DHCPFirst.String(), End: h.DHCPLast.String(),
			}}},
		}},
	}
	text, err := doc.Marshal()
	if err != nil {
		return libvirt.Network{}, err
	}
	network, err := c.NetworkDefineXML(text)
	if err != nil {
		return network, err
	}
	return network, c.NetworkSetAutostart(network, 1)
}

func (c conn) definePool(h *Hypervisor) (libvirt.StoragePool, error) {
	doc := libvirtxml.StoragePool{
		Type: "dir", Name: h.Pool,
		Target: &libvirtxml.StoragePoolTarget{Path: h.PoolPath},
	}
	text, err := doc.Marshal()
	if err != nil {
		return libvirt.StoragePool{}, err
	}
	pool, err := c.StoragePoolDefineXML(text, 0)
	if err != nil {
		return pool, err
	}
	return pool, c.StoragePoolSetAutostart(pool, 1)
}

// destroyDomains turns every guest off. All of them are on this private libvirtd, hence all are ours.
func destroyDomains(c conn) error {
	domains, _, err := c.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
	if err != nil {
		return fmt.Errorf("listing guests: %w", err)
	}
	var errs []error
	for _, d := range domains {
		err := c.DomainDestroy(d)
		if err != nil && !isCode(err, libvirt.ErrOperationInvalid) && !isCode(err, libvirt.ErrNoDomain) {
			errs = append(errs, fmt.Errorf("turning guest %s off: %w", d.Name, err))
		}
	}
	return errors.Join(errs...)
}

func isCode(err error, code libvirt.ErrorNumber) bool {
	var e libvirt.Error
	return errors.As(err, &e) && int64(e.Code) == int64(code)
}
