// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/rules"
)

const (
	// propertyPrefix is what properties begin with that a guest can read.
	propertyPrefix = "guestinfo."
	// maxProperty is how much VMware's tools hand to a guest as the value of one property.
	maxProperty = 64<<10 - 1
)

// channelOf returns the first channel that this platform implements.
func channelOf(b platform.Bootstrap) (delivery.Channel, bool) {
	i := slices.IndexFunc(b.Channels, func(c delivery.Channel) bool { return c.Kind == delivery.GuestInfo })
	if i < 0 {
		return delivery.Channel{}, false
	}
	return b.Channels[i], true
}

// checkCarrier refuses bootstrap data that has no way to the guest, and what the guest cannot be told.
func checkCarrier(req platform.Request) error {
	channel, ok := channelOf(req.Bootstrap)
	if !ok && len(req.Bootstrap.Data) > 0 {
		return fmt.Errorf("%w: the OS family reads bootstrap data from %v; vSphere machines deliver it by %s",
			platform.ErrUnsupported, kinds(req.Bootstrap.Channels), delivery.GuestInfo)
	}
	if err := checkTold(req, channel); err != nil {
		return err
	}
	if len(req.Bootstrap.Data) > 0 && !strings.HasPrefix(channel.Key, propertyPrefix) {
		return fmt.Errorf("%w: the channel %s has the key %q, which is no property that a guest can read", platform.ErrInvalid, channel.Kind, channel.Key)
	}
	return nil
}

// propertiesOf returns the properties that carry the bootstrap data of a request that was checked. It refuses what would not reach
// the guest whole: before anything is made.
func propertiesOf(req platform.Request) (map[string]string, error) {
	if len(req.Bootstrap.Data) == 0 {
		return nil, nil
	}
	channel, _ := channelOf(req.Bootstrap)
	properties, err := delivery.GuestInfoProperties(channel, instanceOf(req))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", platform.ErrInvalid, err)
	}
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if size := len(properties[key]); size > maxProperty {
			return nil, fmt.Errorf("%w: %d bytes of bootstrap data take %d in the property %s, where at most %d reach the guest: "+
				"keep files in the image, or let the configuration refer to a server", platform.ErrUnsupported, len(req.Bootstrap.Data), size, key, maxProperty)
		}
	}
	return properties, nil
}

// secretProperties are those that hold the bootstrap data, and say how. What the guest reads of its own name and network is none of
// them: it stays, because Talos reads it at every boot and forgets a static address that it does not find there any more.
func secretProperties(req platform.Request, properties map[string]string) []string {
	channel, _ := channelOf(req.Bootstrap)
	var secret []string
	for _, key := range []string{channel.Key, channel.EncodingKey} {
		if _, carried := properties[key]; carried {
			secret = append(secret, key)
		}
	}
	return secret
}

func kinds(channels []delivery.Channel) []delivery.Kind {
	var all []delivery.Kind
	for _, c := range channels {
		all = append(all, c.Kind)
	}
	return all
}

// checkTold refuses what only the guest can do and is not told: static addresses and the largest packet.
func checkTold(req platform.Request, channel delivery.Channel) error {
	had := map[string]int{}
	for i, nic := range req.Interfaces {
		for _, a := range nic.Addresses {
			address := a.Prefix.Addr().String()
			if other, twice := had[address]; twice {
				return fmt.Errorf("%w: spec.networks[%d] has the address %s, which spec.networks[%d] has too", platform.ErrInvalid, i, address, other)
			}
			had[address] = i
		}
		if channel.MetadataKey == "" && (len(nic.Addresses) > 0 || nic.MTU != 0) {
			return fmt.Errorf("%w: spec.networks[%d]: vSphere can neither reserve an address nor set the largest packet of an interface, "+
				"and the OS family reads no network from %s: let a DHCP server do both", platform.ErrUnsupported, i, delivery.GuestInfo)
		}
	}
	return nil
}

func instanceOf(req platform.Request) delivery.Instance {
	instance := delivery.Instance{UUID: req.UUID, Name: req.Name, Data: req.Bootstrap.Data}
	for i, nic := range req.Interfaces {
		guest := delivery.Interface{MAC: rules.MAC(req.Identity, i), MTU: nic.MTU, DHCP: len(nic.Addresses) == 0}
		for _, a := range nic.Addresses {
			guest.Addresses = append(guest.Addresses, delivery.Address{Prefix: a.Prefix, Gateway: a.Gateway})
		}
		instance.Interfaces = append(instance.Interfaces, guest)
	}
	return instance
}
