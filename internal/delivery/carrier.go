// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"encoding/base64"
	"net/netip"
	"strconv"
)

// Labels by which guests find the file systems.
const (
	noCloudLabel     = "cidata"
	configDriveLabel = "config-2"
)

// Instance is what a carrier says about an instance.
type Instance struct {
	// UUID is the machine's uuid: the identity that first-boot programs compare to tell a new machine from an old one.
	UUID string
	// Name is the name of the machine, which becomes its host name unless the data says otherwise.
	Name string
	// Data is the bootstrap data in the format that the guest reads.
	Data []byte
	// Interfaces are the network interfaces. When none has a static address, nothing is said about any and the guest
	// does what it does by default.
	Interfaces []Interface
}

// Interface is a network interface as the guest is to configure it.
type Interface struct {
	// MAC is the address by which the guest finds the interface.
	MAC string
	// MTU is the largest packet in bytes; 0 means that nothing is said.
	MTU int32
	// DHCP is whether the guest asks for an IPv4 address.
	DHCP bool
	// Addresses are the static addresses.
	Addresses []Address
}

// Address is a static address.
type Address struct {
	// Prefix is the address with the length of its network's prefix.
	Prefix netip.Prefix
	// Gateway is the default gateway; the zero value means none.
	Gateway netip.Addr
}

// FileSystem is what lies on a small file system.
type FileSystem struct {
	// Label is the name by which the guest finds it.
	Label string
	// Files are the contents by path, with / between folders.
	Files map[string][]byte
}

// OEMString is what an SMBIOS channel carries: the key, and the data in base64.
func OEMString(key string, data []byte) string {
	return key + "=" + base64.StdEncoding.EncodeToString(data)
}

// static tells whether any interface has a static address.
func (i Instance) static() bool {
	for _, nic := range i.Interfaces {
		if len(nic.Addresses) > 0 {
			return true
		}
	}
	return false
}

// linkID names an interface inside a document. Guests find the interface by its MAC address; some look only at names that
// begin like this.
func linkID(index int) string { return "eth" + strconv.Itoa(index) }

// everywhere is the destination of a default route in the family of a gateway. Not every reader knows the word default.
func everywhere(gateway netip.Addr) netip.Prefix {
	if gateway.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// netmask writes the length of a prefix as an address.
func netmask(p netip.Prefix) string {
	mask := make([]byte, p.Addr().BitLen()/8)
	for bit := range p.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(mask)
	return a.String()
}
