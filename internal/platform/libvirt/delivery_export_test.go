// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"fmt"

	"libvirt.org/go/libvirtxml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// What the tests of delivery need to see.

// PlanAddresses decides how static addresses reach a guest, from the definitions of the networks.
func PlanAddresses(req platform.Request, networks map[string]string) (reserved []string, carried []delivery.Interface, err error) {
	books := map[string]addressBook{}
	for name, text := range networks {
		network := &libvirtxml.Network{}
		if err := network.Unmarshal(text); err != nil {
			return nil, nil, err
		}
		books[name] = addressBook{live: network, config: network}
	}
	plan, err := planAddresses(req, books)
	for _, r := range plan.reservations {
		reserved = append(reserved, fmt.Sprintf("%s %s %s", r.network, r.mac, r.address))
	}
	return reserved, plan.carried, err
}

// Addresses are the addresses of a running instance with static addresses and leases, each of which is MAC address and IP
// address.
func Addresses(req platform.Request, lent ...[2]string) []string {
	var leases []lease
	for _, l := range lent {
		leases = append(leases, lease{mac: l[0], address: l[1]})
	}
	return addresses(req.Identity, staticAddresses(req), leases)
}

// CheckBootstrap is what refuses data that cannot be delivered.
func CheckBootstrap(req platform.Request) error { return checkBootstrap(req) }
