// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// Static addresses reach a guest in one of two ways. A libvirt network that gives out IPv4 addresses reserves the address
// for the interface, and the guest asks for it as for any other. Everything else is written on the carrier of the
// bootstrap data, for channels that have a place for it: libvirt cannot reserve IPv6 addresses by MAC address, and knows
// nothing of what is behind a bridge.

// reservation is an address that a network keeps for an interface.
type reservation struct {
	network, mac string
	address      netip.Addr
}

// addressPlan says how the static addresses of an instance reach its guest.
type addressPlan struct {
	reservations []reservation
	// carried are the interfaces as the carrier describes them; nil when it need not.
	carried []delivery.Interface
}

// subnet is a network's address on the host with what it gives out around it.
type subnet struct {
	prefix netip.Prefix // of the host itself
	dhcp   *libvirtxml.NetworkDHCP
}

// planAddresses decides from what the networks say. An address that cannot be given as it stands is refused.
func planAddresses(req platform.Request, books map[string]addressBook) (addressPlan, error) {
	var plan addressPlan
	interfaces := make([]delivery.Interface, 0, len(req.Interfaces))
	taken := map[netip.Addr]bool{}
	carries := false
	for i, nic := range req.Interfaces {
		guest := delivery.Interface{MAC: rules.MAC(req.Identity, i), MTU: nic.MTU, DHCP: len(nic.Addresses) == 0}
		reserved := false
		for _, a := range nic.Addresses {
			network := books[nic.Network].live
			by, err := deliverBy(network, a)
			ip := a.Prefix.Addr()
			switch {
			case err != nil:
			case taken[ip]:
				err = fmt.Errorf("%w: it is asked for twice", platform.ErrInvalid)
			case by == byReservation && reserved:
				err = fmt.Errorf("%w: network %s reserves one IPv4 address per interface: use one pool of IPv4 addresses for it", platform.ErrUnsupported, nic.Network)
			case by == byCarrier && !canCarry(req.Bootstrap):
				err = cannotCarry(req.Bootstrap, nic.Network, ip)
			}
			if err != nil {
				return addressPlan{}, fmt.Errorf("spec.networks[%d].addressesFromPools: address %s: %w", i, a.Prefix, err)
			}
			taken[ip] = true
			if by == byReservation {
				reserved, guest.DHCP = true, true
				plan.reservations = append(plan.reservations, reservation{network: nic.Network, mac: guest.MAC, address: ip})
				continue
			}
			carries = true
			guest.Addresses = append(guest.Addresses, delivery.Address{Prefix: a.Prefix, Gateway: a.Gateway})
		}
		interfaces = append(interfaces, guest)
	}
	if carries {
		plan.carried = interfaces
	}
	return plan, nil
}

// delivered is the way in which an address reaches the guest.
type delivered int

const (
	byReservation delivered = iota
	byCarrier
)

// deliverBy decides for one address, and refuses one that the network contradicts.
func deliverBy(network *libvirtxml.Network, a platform.Address) (delivered, error) {
	if err := checkAddress(a); err != nil {
		return byCarrier, fmt.Errorf("%w: %w", platform.ErrInvalid, err)
	}
	ip := a.Prefix.Addr()
	all, err := subnets(network)
	all = slices.DeleteFunc(all, func(s subnet) bool { return s.prefix.Addr().Is4() != ip.Is4() })
	if err != nil || len(all) == 0 {
		return byCarrier, err
	}
	i := slices.IndexFunc(all, func(s subnet) bool { return s.prefix.Contains(ip) })
	if i < 0 {
		return byCarrier, fmt.Errorf("%w: it lies in no subnet of network %s, which has %s", platform.ErrInvalid, network.Name, list(all))
	}
	s := all[i]
	switch {
	case a.Prefix.Bits() != s.prefix.Bits():
		return byCarrier, fmt.Errorf("%w: network %s has %s: give the pool the prefix %d",
			platform.ErrInvalid, network.Name, s.prefix.Masked(), s.prefix.Bits())
	case ip == s.prefix.Addr():
		return byCarrier, fmt.Errorf("%w: it is the host's own in network %s: keep it out of the pool", platform.ErrInvalid, network.Name)
	case s.dhcp == nil:
		return byCarrier, nil
	case ip.Is4():
		return byReservation, checkGateway(network, s, a.Gateway)
	}
	for _, r := range s.dhcp.Ranges {
		if within(r, ip) {
			return byCarrier, fmt.Errorf("%w: network %s gives out %s-%s to whoever asks, and cannot reserve IPv6 addresses: keep them out of the pool",
				platform.ErrInvalid, network.Name, r.Start, r.End)
		}
	}
	return byCarrier, nil
}

// checkAddress refuses what no interface can have.
func checkAddress(a platform.Address) error {
	ip := a.Prefix.Addr()
	switch {
	case !a.Prefix.IsValid() || ip.Zone() != "" || ip.Is4In6():
		return fmt.Errorf("%s is not an address with the length of a prefix", a.Prefix)
	case !ip.IsGlobalUnicast():
		return errors.New("it is not the address of one machine")
	case ip.Is4() && a.Prefix.Bits() < 31 && (ip == a.Prefix.Masked().Addr() || !a.Prefix.Contains(ip.Next())):
		return fmt.Errorf("it stands for the whole network %s", a.Prefix.Masked())
	case !a.Gateway.IsValid():
		return nil
	case a.Gateway == ip || !a.Prefix.Contains(a.Gateway):
		return fmt.Errorf("the gateway %s is not another machine in the same network", a.Gateway)
	default:
		return nil
	}
}

// checkGateway refuses a gateway that the network does not hand out. One that is not asked for comes along.
func checkGateway(network *libvirtxml.Network, s subnet, gateway netip.Addr) error {
	switch {
	case !gateway.IsValid():
		return nil
	case network.Forward == nil:
		return fmt.Errorf("%w: network %s is isolated and hands out no gateway: leave %s out of the pool", platform.ErrInvalid, network.Name, gateway)
	case gateway != s.prefix.Addr():
		return fmt.Errorf("%w: network %s hands out the gateway %s: give the pool that one instead of %s",
			platform.ErrInvalid, network.Name, s.prefix.Addr(), gateway)
	default:
		return nil
	}
}

// subnets returns the subnets of a network. A network of the host's own bridge has none.
func subnets(network *libvirtxml.Network) ([]subnet, error) {
	var all []subnet
	if network == nil {
		return nil, nil
	}
	for _, ip := range network.IPs {
		s, err := subnetOf(ip)
		if err != nil {
			return nil, fmt.Errorf("definition of network %s: %w", network.Name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func subnetOf(ip libvirtxml.NetworkIP) (subnet, error) {
	address, err := netip.ParseAddr(ip.Address)
	if err != nil {
		return subnet{}, err
	}
	bits, err := prefixLength(ip, address)
	return subnet{prefix: netip.PrefixFrom(address, bits), dhcp: ip.DHCP}, err
}

// prefixLength reads the prefix, the netmask, or what libvirt takes when both are missing.
func prefixLength(ip libvirtxml.NetworkIP, address netip.Addr) (int, error) {
	switch {
	case ip.Prefix != 0:
		return int(ip.Prefix), nil
	case ip.Netmask != "":
		mask, err := netip.ParseAddr(ip.Netmask)
		bits := 0
		for _, b := range mask.AsSlice() {
			for ; b&0x80 != 0; b <<= 1 {
				bits++
			}
		}
		return bits, err
	case address.Is6():
		return 64, nil
	}
	switch first := address.As4()[0]; {
	case first < 128:
		return 8, nil
	case first < 192:
		return 16, nil
	default:
		return 24, nil
	}
}

func list(all []subnet) string {
	texts := make([]string, 0, len(all))
	for _, s := range all {
		texts = append(texts, s.prefix.Masked().String())
	}
	return strings.Join(texts, " and ")
}

func within(r libvirtxml.NetworkDHCPRange, ip netip.Addr) bool {
	start, errStart := netip.ParseAddr(r.Start)
	end, errEnd := netip.ParseAddr(r.End)
	return errStart == nil && errEnd == nil && start.Compare(ip) <= 0 && ip.Compare(end) <= 0
}

// canCarry tells whether the channel of the bootstrap data has a place for addresses.
func canCarry(b platform.Bootstrap) bool {
	channel, ok := channelOf(b)
	return ok && len(b.Data) > 0 && (channel.Kind == delivery.NoCloud || channel.Kind == delivery.ConfigDrive)
}

func cannotCarry(b platform.Bootstrap, network string, ip netip.Addr) error {
	why := "network " + network + " gives out no addresses"
	if ip.Is6() {
		why = "libvirt cannot reserve IPv6 addresses by MAC address"
	}
	channel, _ := channelOf(b)
	return fmt.Errorf("%w: %s, and the channel %s of the bootstrap data has no place for it: use a libvirt network with DHCP and a pool of IPv4 addresses, "+
		"or an image whose OS reads NoCloud or ConfigDrive", platform.ErrUnsupported, why, channel.Kind)
}
