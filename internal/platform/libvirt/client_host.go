// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"fmt"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"
)

// domainCapabilities returns what a domain of a type (kvm, qemu) can have on this host.
func (c *client) domainCapabilities(ctx context.Context, domainType string) (*libvirtxml.DomainCaps, error) {
	var doc string
	err := c.do(ctx, "read domain capabilities", "", func(l *libvirt.Libvirt) (err error) {
		doc, err = l.ConnectGetDomainCapabilities(nil, libvirt.OptString{architecture}, libvirt.OptString{machineType},
			libvirt.OptString{domainType}, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	caps := &libvirtxml.DomainCaps{}
	if err := caps.Unmarshal(doc); err != nil {
		return nil, fmt.Errorf("domain capabilities: %w", err)
	}
	return caps, nil
}

// capabilities returns what the host is made of.
func (c *client) capabilities(ctx context.Context) (*libvirtxml.Caps, error) {
	var doc string
	err := c.do(ctx, "read capabilities", "", func(l *libvirt.Libvirt) (err error) {
		doc, err = l.ConnectGetCapabilities()
		return err
	})
	if err != nil {
		return nil, err
	}
	caps := &libvirtxml.Caps{}
	if err := caps.Unmarshal(doc); err != nil {
		return nil, fmt.Errorf("capabilities of the host: %w", err)
	}
	return caps, nil
}

// freeMemory returns the free bytes of the NUMA nodes with ids from 0 to last.
func (c *client) freeMemory(ctx context.Context, last int) ([]uint64, error) {
	var free []uint64
	err := c.do(ctx, "read free memory", "", func(l *libvirt.Libvirt) (err error) {
		free, err = l.NodeGetCellsFreeMemory(0, int32(last)+1)
		return err
	})
	return free, err
}

// freePages returns how many huge pages of a size are free on a NUMA node.
func (c *client) freePages(ctx context.Context, node int, pageBytes int64) (uint64, error) {
	var free uint64
	err := c.do(ctx, "read free pages", fmt.Sprintf("of NUMA node %d", node), func(l *libvirt.Libvirt) error {
		counts, err := l.NodeGetFreePages([]uint32{uint32(pageBytes >> 10)}, int32(node), 1, 0)
		if len(counts) == 1 {
			free = counts[0]
		}
		return err
	})
	return free, err
}

// definitions returns the definitions of all domains of the host: what the next start would use, and what runs now.
func (c *client) definitions(ctx context.Context) ([]string, error) {
	var docs []string
	err := c.do(ctx, "read the definitions of all domains", "", func(l *libvirt.Libvirt) error {
		domains, _, err := l.ConnectListAllDomains(1, 0)
		if err != nil {
			return err
		}
		for _, d := range domains {
			kinds := []libvirt.DomainXMLFlags{libvirt.DomainXMLInactive}
			if d.ID >= 0 { // it runs
				kinds = append(kinds, 0)
			}
			for _, flags := range kinds {
				doc, err := l.DomainGetXMLDesc(d, flags)
				if isCode(err, libvirt.ErrNoDomain) {
					continue
				}
				if err != nil {
					return err
				}
				docs = append(docs, doc)
			}
		}
		return nil
	})
	return docs, err
}

// nodeDevices returns all devices of the host.
func (c *client) nodeDevices(ctx context.Context) ([]*libvirtxml.NodeDevice, error) {
	var docs []string
	err := c.do(ctx, "list devices", "", func(l *libvirt.Libvirt) error {
		all, _, err := l.ConnectListAllNodeDevices(1, 0)
		if err != nil {
			return err
		}
		for _, d := range all {
			doc, err := l.NodeDeviceGetXMLDesc(d.Name, 0)
			if isCode(err, libvirt.ErrNoNodeDevice) {
				continue
			}
			if err != nil {
				return err
			}
			docs = append(docs, doc)
		}
		return nil
	})
	devices := make([]*libvirtxml.NodeDevice, len(docs))
	for i, doc := range docs {
		devices[i] = &libvirtxml.NodeDevice{}
		if err := devices[i].Unmarshal(doc); err != nil {
			return nil, fmt.Errorf("devices of the host: %w", err)
		}
	}
	return devices, err
}
