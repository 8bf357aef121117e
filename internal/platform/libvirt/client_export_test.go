// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"io"
	"net"

	"golang.org/x/crypto/ssh"
)

// What the tests of the way to libvirtd need to see.

// Dial connects to libvirtd as a session does.
func Dial(ctx context.Context, uri string, credentials map[string][]byte) (net.Conn, error) {
	d, err := newDialer(uri, credentials)
	if err != nil {
		return nil, err
	}
	return dialWithin(ctx, d)
}

// Way names how a URI is understood: the transport and where it goes to.
func Way(uri string, credentials map[string][]byte) (string, error) {
	d, err := newDialer(uri, credentials)
	switch d := d.(type) {
	case unixDialer:
		return "unix " + d.socket, err
	case tcpDialer:
		return "tcp " + d.address, err
	case tlsDialer:
		return "tls " + d.tcp.address + " " + d.config.ServerName, err
	case sshDialer:
		return "ssh " + d.config.User + " " + d.tcp.address + " " + d.socket, err
	default:
		return "", err
	}
}

// CheckHostKey tells whether a host at an address may show a key.
func CheckHostKey(file []byte, address string, shown ssh.PublicKey) (algorithms []string, err error) {
	keys, err := readKnownHosts(file, address)
	if err != nil {
		return nil, err
	}
	return keys.algorithms(), keys.check(address, nil, shown)
}

// ReadKnownHosts reads the kinds of keys that a host at an address has.
func ReadKnownHosts(file []byte, address string) ([]string, error) {
	keys, err := readKnownHosts(file, address)
	return keys.algorithms(), err
}

// Frames feeds bytes as they come from libvirtd, in pieces.
func Frames(pieces ...[]byte) error {
	var f frames
	for _, p := range pieces {
		if err := f.follow(p); err != nil {
			return err
		}
	}
	return nil
}

// ReadMessage reads a message from libvirtd and returns its payload.
func ReadMessage(from io.Reader) ([]byte, error) {
	m, err := readMessage(from)
	return m.payload, err
}

// ParseMark reads a mark that stands alone.
func ParseMark(element string) (machine, storage string, ok bool) {
	m, ok := parseMark(element)
	return m.Machine, m.Storage, ok
}

// OwnerOf is a function on foreign bytes that tests call as it is.
var OwnerOf = ownerOf
