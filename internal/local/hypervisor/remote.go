// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"fmt"
	"net/netip"
	"os"
)

// The ports that libvirtd listens on for other machines, unless it is told otherwise.
const (
	tcpPort = 16509
	tlsPort = 16514
)

// Certificates are what libvirtd shows to other machines and wants from them, in PEM format.
type Certificates struct {
	// CA is the authority that signed the certificates of clients and of the server.
	CA []byte
	// Certificate and Key are the server's own.
	Certificate, Key []byte
}

// remoteConf is put behind libvirtdConf.
const remoteConf = `listen_tcp = 1
listen_tls = 1
listen_addr = "%s"
auth_tcp = "none"
auth_tls = "none"
ca_file = "/etc/libvirt/ca.crt"
cert_file = "/etc/libvirt/tls.crt"
key_file = "/etc/libvirt/tls.key"
`

// listen returns the configuration and arguments with which libvirtd listens as the options say. The address is the far
// end of the veth pair, which is there before any network of guests.
func (h *Hypervisor) listen(l layout, o Options) (conf string, args []string, err error) {
	if o.Remote == nil {
		return libvirtdConf, nil, nil
	}
	_, address := transfer(h.Subnet)
	c, err := o.Remote(address)
	if err != nil {
		return "", nil, fmt.Errorf("certificate of libvirtd for %s: %w", address, err)
	}
	for name, content := range map[string][]byte{"ca.crt": c.CA, "tls.crt": c.Certificate, "tls.key": c.Key} {
		if err := os.WriteFile(l.private("etc", name), content, 0o600); err != nil {
			return "", nil, fmt.Errorf("certificate of libvirtd: %w", err)
		}
	}
	h.TCP, h.TLS = netip.AddrPortFrom(address, tcpPort), netip.AddrPortFrom(address, tlsPort)
	return libvirtdConf + fmt.Sprintf(remoteConf, address), []string{"--listen"}, nil
}
