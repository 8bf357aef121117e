// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// The part of DHCP (RFC 2131) that gets a first lease; no lease is renewed, since no probe guest lives that long.

// lease is what a server gave.
type lease struct {
	address net.IP
	mask    net.IPMask
	server  net.IP
}

// Types of messages.
const (
	dhcpDiscover = 1
	dhcpOffer    = 2
	dhcpRequest  = 3
	dhcpAck      = 5
)

// Options.
const (
	optionMask      = 1
	optionAddress   = 50
	optionType      = 53
	optionServer    = 54
	optionParameter = 55
	optionEnd       = 255
)

// Places in a message.
const (
	dhcpTransaction = 4
	dhcpFlags       = 10
	dhcpYourAddress = 16
	dhcpHardware    = 28
	dhcpCookie      = 236
	dhcpOptions     = 240
)

const dhcpMagic = 0x63825363

// dhcpMessage is a message of a client.
func dhcpMessage(kind byte, mac net.HardwareAddr, offer lease) []byte {
	m := make([]byte, dhcpOptions, 300)
	m[0], m[1], m[2] = 1, 1, 6 // a request, over Ethernet, whose addresses have 6 bytes
	copy(m[dhcpTransaction:], transaction(mac))
	m[dhcpFlags] = 0x80 // answer by broadcast: an interface without address hears nothing else
	copy(m[dhcpHardware:], mac)
	binary.BigEndian.PutUint32(m[dhcpCookie:], dhcpMagic)
	m = append(m, optionType, 1, kind, optionParameter, 1, optionMask)
	if kind == dhcpRequest {
		m = append(append(m, optionAddress, 4), offer.address.To4()...)
		m = append(append(m, optionServer, 4), offer.server.To4()...)
	}
	m = append(m, optionEnd)
	return append(m, make([]byte, 300-len(m))...) // old servers drop shorter messages
}

// transaction tells the interfaces of one network apart, and that is all that it must do here.
func transaction(mac net.HardwareAddr) []byte { return mac[2:6] }

// readDHCP takes apart a server's message to the interface with this address.
func readDHCP(m []byte, mac net.HardwareAddr) (kind byte, l lease, ok bool) {
	if len(m) < dhcpOptions || m[0] != 2 || binary.BigEndian.Uint32(m[dhcpCookie:]) != dhcpMagic ||
		!bytes.Equal(m[dhcpTransaction:dhcpTransaction+4], transaction(mac)) || !bytes.Equal(m[dhcpHardware:dhcpHardware+6], mac) {
		return 0, lease{}, false
	}
	l.address = net.IP(bytes.Clone(m[dhcpYourAddress : dhcpYourAddress+4]))
	l.mask = l.address.DefaultMask()
	for options := m[dhcpOptions:]; len(options) > 0 && options[0] != optionEnd; {
		if options[0] == 0 { // padding
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return 0, lease{}, false
		}
		value := bytes.Clone(options[2 : 2+options[1]])
		switch {
		case options[0] == optionType && len(value) == 1:
			kind = value[0]
		case options[0] == optionMask && len(value) == 4:
			l.mask = value
		case options[0] == optionServer && len(value) == 4:
			l.server = value
		}
		options = options[2+len(value):]
	}
	return kind, l, kind != 0 && l.server != nil
}

// dhcpClient is a socket that can send from an interface without an address.
type dhcpClient struct {
	socket int
	mac    net.HardwareAddr
}

func newDHCPClient(nic net.Interface) (*dhcpClient, error) {
	if len(nic.HardwareAddr) != 6 {
		return nil, errors.New("it is no Ethernet interface")
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	client := &dhcpClient{socket: socket, mac: nic.HardwareAddr}
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_BROADCAST} {
		err = errors.Join(err, unix.SetsockoptInt(socket, unix.SOL_SOCKET, option, 1))
	}
	err = errors.Join(err, unix.BindToDevice(socket, nic.Name), unix.Bind(socket, &unix.SockaddrInet4{Port: 68}))
	if err != nil {
		client.close()
		return nil, fmt.Errorf("DHCP: %w", err)
	}
	return client, nil
}

func (c *dhcpClient) close() { _ = unix.Close(c.socket) }

// ask goes once through discovery and request, and waits so long for each answer.
func (c *dhcpClient) ask(wait time.Duration) (lease, error) {
	offer, err := c.exchange(dhcpMessage(dhcpDiscover, c.mac, lease{}), dhcpOffer, wait)
	if err != nil {
		return lease{}, err
	}
	return c.exchange(dhcpMessage(dhcpRequest, c.mac, offer), dhcpAck, wait)
}

func (c *dhcpClient) exchange(message []byte, want byte, wait time.Duration) (lease, error) {
	to := &unix.SockaddrInet4{Port: 67, Addr: [4]byte{255, 255, 255, 255}}
	if err := unix.Sendto(c.socket, message, 0, to); err != nil {
		return lease{}, err
	}
	answer := make([]byte, 1500)
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return lease{}, errors.New("no answer")
		}
		limit := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(c.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			return lease{}, err
		}
		n, _, err := unix.Recvfrom(c.socket, answer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return lease{}, err
		}
		if kind, l, ok := readDHCP(answer[:n], c.mac); ok && kind == want {
			return l, nil
		}
	}
}

// setUp switches an interface on.
func setUp(nic string) error {
	return withInterface(nic, func(socket int, request *unix.Ifreq) error {
		if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
			return fmt.Errorf("reading flags: %w", err)
		}
		request.SetUint16(request.Uint16() | unix.IFF_UP)
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
			return fmt.Errorf("switching on: %w", err)
		}
		return nil
	})
}

// setAddress gives an interface its address.
func setAddress(nic string, address net.IP, mask net.IPMask) error {
	return withInterface(nic, func(socket int, request *unix.Ifreq) error {
		for _, set := range []struct {
			command uint
			value   []byte
		}{{unix.SIOCSIFADDR, address.To4()}, {unix.SIOCSIFNETMASK, mask}} {
			if err := request.SetInet4Addr(set.value); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(socket, set.command, request); err != nil {
				return fmt.Errorf("setting the address: %w", err)
			}
		}
		return nil
	})
}

func withInterface(nic string, do func(socket int, request *unix.Ifreq) error) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq(nic)
	if err != nil {
		return err
	}
	return do(socket, request)
}
