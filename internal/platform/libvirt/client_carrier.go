// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"
)

// liveDefinition returns what a running domain consists of now, or errNotFound. It may hold secrets.
func (c *client) liveDefinition(ctx context.Context, id string) (string, error) {
	var text string
	err := c.withDomain(ctx, "read running", id, func(l *libvirt.Libvirt, d libvirt.Domain) (err error) {
		text, err = l.DomainGetXMLDesc(d, 0)
		return err
	})
	return text, err
}

// changeMedium changes what is in a drive of a running domain, also when the guest has locked it. It returns errState when
// the domain does not run.
func (c *client) changeMedium(ctx context.Context, id, drive string) error {
	return c.withDomain(ctx, "change medium of", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainUpdateDeviceFlags(d, drive, libvirt.DomainDeviceModifyLive|libvirt.DomainDeviceModifyForce)
	})
}

// forbidReboot makes a running domain go off where its guest would reboot. It returns errState when the domain does not run.
func (c *client) forbidReboot(ctx context.Context, id string) error {
	return c.withDomain(ctx, "forbid reboot of", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainSetLifecycleAction(d, uint32(libvirt.DomainLifecycleReboot), uint32(libvirt.DomainLifecycleActionDestroy), libvirt.DomainAffectLive)
	})
}

// askToShutDown presses the power button of a running domain. It returns errState when the domain does not run.
func (c *client) askToShutDown(ctx context.Context, id string) error {
	return c.withDomain(ctx, "press power button of", id, func(l *libvirt.Libvirt, d libvirt.Domain) error {
		return l.DomainShutdownFlags(d, libvirt.DomainShutdownAcpiPowerBtn)
	})
}
