// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// checkNetworks refuses networks that the host does not have, or that cannot carry what is asked.
func checkNetworks(ctx context.Context, c *client, req platform.Request) error {
	for i, nic := range req.Interfaces {
		there, err := c.network(ctx, nic.Network)
		switch {
		case errors.Is(err, errNotFound):
			return fmt.Errorf("%w: spec.networks[%d]: there is no network %s on the host", platform.ErrInvalid, i, nic.Network)
		case err != nil:
			return err
		case !there.active:
			return fmt.Errorf("%w: spec.networks[%d]: network %s is not active: start it on the host (virsh net-start, virsh net-autostart)",
				platform.ErrInvalid, i, nic.Network)
		}
		if err := checkMTU(there.definition, nic.MTU); err != nil {
			return fmt.Errorf("%w: spec.networks[%d].mtu: %w", platform.ErrUnsupported, i, err)
		}
	}
	return nil
}

// checkMTU refuses an MTU that the network cannot carry. A network that states none takes the MTU of its interfaces.
func checkMTU(network *libvirtxml.Network, mtu int32) error {
	switch {
	case mtu == 0:
		return nil
	case network.MTU != nil && uint(mtu) > network.MTU.Size:
		return fmt.Errorf("%d is more than network %s carries: set <mtu size='%d'/> in the network (virsh net-edit), or ask for at most %d",
			mtu, network.Name, mtu, network.MTU.Size)
	case network.Forward != nil && !hasBridge(network):
		return fmt.Errorf("libvirt sets none on interfaces of network %s, which has forward mode %s: leave it out, or use a network with a bridge",
			network.Name, network.Forward.Mode)
	default:
		return nil
	}
}

// hasBridge tells whether guests of a network are attached to a bridge, rather than to a device of the host.
func hasBridge(network *libvirtxml.Network) bool {
	switch network.Forward.Mode {
	case "bridge":
		return network.Bridge != nil
	case "private", "vepa", "passthrough", "hostdev":
		return false
	default:
		return true
	}
}
