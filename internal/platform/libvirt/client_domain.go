// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

// power is what a domain does.
type power int

const (
	powerOff power = iota
	powerPaused
	powerOn
)

// domainInfo is what libvirtd knows about a domain.
type domainInfo struct {
	// xml is the definition that the next start would use.
	xml   string
	power power
	// detail says in a few words what the domain does and why.
	detail string
	// leases are the addresses that libvirt's own networks lent to a running domain.
	leases []lease
}

// undefineFlags remove everything that libvirtd keeps beside a definition.
const undefineFlags = libvirt.DomainUndefineManagedSave | libvirt.DomainUndefineSnapshotsMetadata |
	libvirt.DomainUndefineNvram | libvirt.DomainUndefineCheckpointsMetadata

// domain reads a domain, or returns errNotFound.
func (c *client) domain(ctx context.Context, id string) (domainInfo, error) {
	var info domainInfo
	err := c.withDomain(ctx, "read", id, func(l *libvirt.Libvirt, d libvirt.Domain) (err error) {
		if info.xml, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive); err != nil {
			return err
		}
		state, reason, err := l.DomainGetState(d, 0)
		if err != nil {
			return err
		}
		info.power = powerOf(libvirt.DomainState(state))
		info.detail = detailOf(info.power, reason)
		if info.power == powerOn {
			info.leases = leases(l, d)
		}
		return nil
	})
	return info, err
}

// powerOf sorts the states of a domain. A domain that shuts down still runs; a crashed one that is kept does not.
func powerOf(state libvirt.DomainState) power {
	switch state {
	case libvirt.DomainShutoff, libvirt.DomainCrashed, libvirt.DomainNostate:
		return powerOff
	case libvirt.DomainPaused:
		return powerPaused
	default:
		return powerOn
	}
}

// detailOf words the state of a domain. Reasons are numbered per state.
func detailOf(p power, reason int32) string {
	switch {
	case p == powerOn:
		return "running"
	case p == powerPaused && libvirt.DomainPausedReason(reason) == libvirt.DomainPausedIoerror:
		return "held by QEMU since the host cannot read or write its disk (is the storage pool full?)"
	case p == powerPaused && libvirt.DomainPausedReason(reason) == libvirt.DomainPausedUser:
		return "held by a person or another program (virsh resume lets it go on)"
	case p == powerPaused:
		return fmt.Sprintf("held by libvirt (reason %d)", reason)
	}
	switch libvirt.DomainShutoffReason(reason) {
	case libvirt.DomainShutoffShutdown:
		return "shut off by its guest"
	case libvirt.DomainShutoffDestroyed:
		return "shut off by a person or another program"
	case libvirt.DomainShutoffCrashed, libvirt.DomainShutoffFailed:
		return "shut off since QEMU failed (see its log on the host)"
	default:
		return "shut off"
	}
}

// leases returns the addresses that libvirt's own networks gave out. No source of addresses is ever required: without
// an answer there are none.
func leases(l *libvirt.Libvirt, d libvirt.Domain) []lease {
	interfaces, err := l.DomainInterfaceAddresses(d, uint32(libvirt.DomainInterfaceAddressesSrcLease), 0)
	if err != nil {
		return nil
	}
	var leases []lease
	for _, i := range interfaces {
		for _, a := range i.Addrs {
			leases = append(leases, lease{mac: strings.Join(i.Hwaddr, ""), address: a.Addr})
		}
	}
	return leases
}

// domainNamed returns the UUID of the domain of that name, or errNotFound.
func (c *client) domainNamed(ctx context.Context, name string) (string, error) {
	var id string
	err := c.do(ctx, "look up domain", name, func(l *libvirt.Libvirt) error {
		d, err := l.DomainLookupByName(name)
		id = uuidString(d.UUID)
		return err
	})
	return id, err
}

// define writes a definition; a domain of the same UUID is replaced.
func (c *client) define(ctx context.Context, xml string) error {
	return c.do(ctx, "define domain", "", func(l *libvirt.Libvirt) error {
		_, err := l.DomainDefineXMLFlags(xml, libvirt.DomainDefineValidate)
		return err
	})
}

// startPaused starts QEMU without letting the guest run.
func (c *client) startPaused(ctx context.Context, id string) error {
	return c.withDomain(ctx, "start", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := l.DomainCreateWithFlags(d, uint32(libvirt.DomainStartPaused))
		return err
	})
}

// startAgain starts QEMU and lets the guest run.
func (c *client) startAgain(ctx context.Context, id string) error {
	return c.withDomain(ctx, "start", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := l.DomainCreateWithFlags(d, 0)
		return err
	})
}

// resume lets the guest of a paused domain run.
func (c *client) resume(ctx context.Context, id string) error {
	return c.withDomain(ctx, "resume", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainResume(d)
	})
}

// setMark replaces our element in the metadata of the definition.
func (c *client) setMark(ctx context.Context, id, element string) error {
	return c.withDomain(ctx, "mark", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainSetMetadata(d, int32(libvirt.DomainMetadataElement), libvirt.OptString{element},
			libvirt.OptString{markPrefix}, libvirt.OptString{markNamespace}, libvirt.DomainAffectConfig)
	})
}

// destroy ends QEMU. It is no error when there is none.
func (c *client) destroy(ctx context.Context, id string) error {
	err := c.withDomain(ctx, "destroy", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainDestroyFlags(d, libvirt.DomainDestroyDefault)
	})
	if errors.Is(err, errState) || errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// undefine removes the definition with firmware state, saved memory and snapshots. It is no error when there is none.
func (c *client) undefine(ctx context.Context, id string) error {
	err := c.withDomain(ctx, "undefine", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainUndefineFlags(d, undefineFlags)
	})
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}

// withDomain looks the domain up by its UUID, the only key that this package ever uses, and runs fn on it.
func (c *client) withDomain(ctx context.Context, verb, id string, fn func(*libvirt.Libvirt, libvirt.Domain) error) error {
	key, err := uuid.Parse(id)
	if err != nil {
		return fmt.Errorf("%s domain %s: %w", verb, id, err)
	}
	return c.do(ctx, verb+" domain", id, func(l *libvirt.Libvirt) error {
		d, err := l.DomainLookupByUUID(libvirt.UUID(key))
		if err != nil {
			return err
		}
		return fn(l, d)
	})
}

// network is a network of the host.
type network struct {
	active     bool
	definition *libvirtxml.Network
}

// network reads a network, or returns errNotFound.
func (c *client) network(ctx context.Context, name string) (network, error) {
	var found network
	var doc string
	err := c.do(ctx, "look up network", name, func(l *libvirt.Libvirt) error {
		n, err := l.NetworkLookupByName(name)
		if err != nil {
			return err
		}
		is, err := l.NetworkIsActive(n)
		if err != nil {
			return err
		}
		found.active = is == 1
		doc, err = l.NetworkGetXMLDesc(n, 0)
		return err
	})
	if err != nil {
		return network{}, err
	}
	found.definition = &libvirtxml.Network{}
	if err := found.definition.Unmarshal(doc); err != nil {
		return network{}, fmt.Errorf("definition of network %s: %w", name, err)
	}
	return found, nil
}

func uuidString(id libvirt.UUID) string { return uuid.UUID(id).String() }
