// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

// A reservation is known by its MAC address, which is derived from the machine's uuid. It is made while the root disk is
// there and removed before the last volume goes, so that whatever is killed, something is left that leads back to it.

const (
	// reservedLease is how long a guest holds its reserved address without asking again, in minutes. A guest that is
	// switched off gives nothing back, libvirt has no call to end a lease, and until it has run out dnsmasq gives the
	// address to nobody else: an address of a pool that moves to another machine has to wait for it. The usual hour would
	// hold up a rollout.
	reservedLease = 10
	// maxInterfaces is how many interfaces of an instance are looked for when its definition is gone.
	maxInterfaces = 64
	// maxRounds bounds how often a reservation is tried that somebody else changes at the same moment.
	maxRounds = 3
)

// planAddresses reads the networks of a request that has static addresses and decides how the addresses reach the guest. It
// refuses addresses that somebody else has, and changes nothing.
func (c *client) planAddresses(ctx context.Context, req platform.Request) (addressPlan, error) {
	books := map[string]addressBook{}
	for i, nic := range req.Interfaces {
		if _, read := books[nic.Network]; read || len(nic.Addresses) == 0 {
			continue
		}
		book, err := c.addressBook(ctx, nic.Network)
		if errors.Is(err, errNotFound) {
			return addressPlan{}, fmt.Errorf("%w: spec.networks[%d]: there is no network %s on the host", platform.ErrInvalid, i, nic.Network)
		}
		if err != nil {
			return addressPlan{}, err
		}
		books[nic.Network] = book
	}
	plan, err := planAddresses(req, books)
	if err != nil {
		return addressPlan{}, err
	}
	for _, r := range plan.reservations {
		if _, err := r.missing(books[r.network]); err != nil {
			return addressPlan{}, err
		}
		leases, err := c.leases(ctx, r.network)
		if err != nil {
			return addressPlan{}, err
		}
		if err := r.leasedTo(leases); err != nil {
			return addressPlan{}, err
		}
	}
	return plan, nil
}

// missing returns where the reservation is missing, or who has its address.
func (r reservation) missing(book addressBook) ([]spot, error) {
	var missing []spot
	for _, d := range book.definitions() {
		stands, err := r.standsIn(d.network)
		if err != nil {
			return nil, err
		}
		subnet := slices.IndexFunc(d.network.IPs, func(ip libvirtxml.NetworkIP) bool { return r.fits(ip) })
		switch {
		case stands:
		case subnet < 0:
			return nil, fmt.Errorf("%w: network %s will not give out %s any more after its next start (virsh net-dumpxml --inactive): restart it, or edit it back",
				platform.ErrInvalid, r.network, r.address)
		default:
			missing = append(missing, spot{live: d.live, subnet: subnet})
		}
	}
	return missing, nil
}

// fits tells whether a subnet gives out the address.
func (r reservation) fits(ip libvirtxml.NetworkIP) bool {
	s, err := subnetOf(ip)
	return err == nil && s.dhcp != nil && s.prefix.Contains(r.address)
}

// definition is one of a network's two.
type definition struct {
	live    bool
	network *libvirtxml.Network
}

// definitions are those that there are.
func (b addressBook) definitions() []definition {
	all := []definition{{true, b.live}, {false, b.config}}
	return slices.DeleteFunc(all, func(d definition) bool { return d.network == nil })
}

// standsIn tells whether a definition has the reservation. It is refused when the definition says something else.
func (r reservation) standsIn(network *libvirtxml.Network) (bool, error) {
	for _, ip := range network.IPs {
		for _, h := range hosts(ip) {
			sameMAC := strings.EqualFold(h.MAC, r.mac)
			sameAddress := h.IP == r.address.String()
			switch {
			case sameMAC && sameAddress:
				return true, nil
			case sameMAC:
				return false, fmt.Errorf("%w: network %s has %s reserved for %s, the interface that is to have %s: remove it (virsh net-update %s delete ip-dhcp-host)",
					platform.ErrForeign, r.network, h.IP, r.mac, r.address, r.network)
			case sameAddress:
				return false, fmt.Errorf("%w: address %s is for the interface %s and network %s has it reserved for %s: keep it out of the pool, or remove the reservation",
					platform.ErrCapacity, r.address, r.mac, r.network, cmp.Or(h.MAC, h.Name))
			}
		}
	}
	return false, nil
}

// leasedTo refuses an address that another machine uses. dnsmasq would silently give ours another one.
func (r reservation) leasedTo(leases []lease) error {
	for _, l := range leases {
		if l.address == r.address.String() && !strings.EqualFold(l.mac, r.mac) {
			return fmt.Errorf("%w: address %s is for the interface %s and network %s has lent it to %s until %s, unless that gives it back before",
				platform.ErrCapacity, r.address, r.mac, r.network, l.mac, l.until.Format(time.RFC3339))
		}
	}
	return nil
}

// reserve makes a reservation in both definitions of its network, that in force first.
func (c *client) reserve(ctx context.Context, r reservation) error {
	host := libvirtxml.NetworkDHCPHost{
		MAC: r.mac, IP: r.address.String(), Lease: &libvirtxml.NetworkDHCPLease{Expiry: reservedLease, Unit: "minutes"},
	}
	for range maxRounds {
		book, err := c.addressBook(ctx, r.network)
		if err != nil {
			return err
		}
		missing, err := r.missing(book)
		if err != nil || len(missing) == 0 {
			return err
		}
		for _, at := range missing {
			// Another manager may have made it in this moment, or somebody taken the address: the next look tells.
			if err := ignoreState(c.addReservation(ctx, r.network, at, host)); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("reserving %s for %s: network %s is changed by somebody else at the same time", r.address, r.mac, r.network)
}

// makeReservations makes the reservations of an instance. When its root disk is gone meanwhile, somebody has released it
// and found no reservation: then they are taken back.
func makeReservations(ctx context.Context, c *client, id platform.Identity, wanted []reservation) error {
	for _, r := range wanted {
		if err := c.reserve(ctx, r); err != nil {
			return err
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	root := namesOf(id).root
	still, err := c.present(ctx, id.Storage, root)
	if err != nil || still[root] {
		return err
	}
	return errors.Join(fmt.Errorf("volume %s was removed while the machine was made", root), removeReservations(ctx, c, id))
}

// removeReservations removes everything that any network reserves for the interfaces of an instance. All networks are
// looked at, since nothing says any more which ones it had. A network that is gone reserves nothing.
func removeReservations(ctx context.Context, c *client, id platform.Identity) error {
	macs := map[string]bool{}
	for i := range maxInterfaces {
		macs[rules.MAC(id, i)] = true
	}
	names, err := c.networks(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		book, err := c.addressBook(ctx, name)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, d := range book.definitions() {
			if err := removeFrom(ctx, c, name, d, macs); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeFrom removes what one definition of a network reserves for interfaces.
func removeFrom(ctx context.Context, c *client, network string, d definition, macs map[string]bool) error {
	for subnet, ip := range d.network.IPs {
		for _, h := range hosts(ip) {
			if !macs[strings.ToLower(h.MAC)] {
				continue
			}
			err := c.removeReservation(ctx, network, spot{live: d.live, subnet: subnet}, h.MAC)
			if err := ignoreNotFound(ignoreState(err)); err != nil {
				return err
			}
		}
	}
	return nil
}

// hosts returns the reservations of a subnet.
func hosts(ip libvirtxml.NetworkIP) []libvirtxml.NetworkDHCPHost {
	if ip.DHCP == nil {
		return nil
	}
	return ip.DHCP.Hosts
}

// staticAddresses writes down the static addresses of a request, each with the number of its interface, so that they can be
// told without asking anybody.
func staticAddresses(req platform.Request) string {
	var all []string
	for i, nic := range req.Interfaces {
		for _, a := range nic.Addresses {
			all = append(all, fmt.Sprintf("%d=%s", i, a.Prefix.Addr()))
		}
	}
	return strings.Join(all, " ")
}

// addresses returns the addresses of a running instance, interface by interface: first what is static, then what was lent.
// Addresses of interfaces that are not ours come last.
func addresses(id platform.Identity, static string, leases []lease) []string {
	var all []string
	add := func(text string) {
		if ip, err := netip.ParseAddr(text); err == nil && ip.IsGlobalUnicast() && !slices.Contains(all, ip.String()) {
			all = append(all, ip.String())
		}
	}
	for i := range maxInterfaces {
		for field := range strings.FieldsSeq(static) {
			if number, address, ok := strings.Cut(field, "="); ok && number == strconv.Itoa(i) {
				add(address)
			}
		}
		for _, l := range leases {
			if strings.EqualFold(l.mac, rules.MAC(id, i)) {
				add(l.address)
			}
		}
	}
	for _, l := range leases {
		add(l.address)
	}
	return all
}
