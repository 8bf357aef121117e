// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	pciDevicesField  = "spec.platform.vsphere.pciDevices"
	virtualGPUsField = "spec.platform.vsphere.virtualGPUs"
	// dynamicHardware is the least version of the hardware that takes a device which is chosen at the start.
	dynamicHardware = 17
)

// devicesOf are the devices of the host that a request asks for, one by one. Their numbers were checked.
func devicesOf(req platform.Request) []deviceKind {
	var all []deviceKind
	for _, wanted := range req.PCIDevices {
		vendor, _ := strconv.ParseInt(wanted.VendorID, 16, 32)
		model, _ := strconv.ParseInt(wanted.DeviceID, 16, 32)
		for range wanted.Count {
			all = append(all, deviceKind{vendor: int32(vendor), model: int32(model)})
		}
	}
	for _, profile := range req.VirtualGPUs {
		all = append(all, deviceKind{profile: profile})
	}
	return all
}

// checkDevices refuses devices that no host behind a resource pool has, or that hardware of the image's version does not take.
// How many are free is found out by the start alone.
func (s *Session) checkDevices(ctx context.Context, c *client, wanted []deviceKind, pool ref, version int32) error {
	asked := false
	for _, kind := range wanted {
		if kind.profile == "" && version < dynamicHardware {
			return fmt.Errorf("%w: %s needs an image with hardware version %d or later, and this one has %d: upgrade the template that it is made of",
				platform.ErrUnsupported, pciDevicesField, dynamicHardware, version)
		}
		if !asked && !s.known.has(pool, kind) {
			browser, err := c.browser(ctx, pool)
			if err != nil {
				return err
			}
			offered, err := c.devicesOffered(ctx, browser)
			if err != nil {
				return err
			}
			s.known.putDevices(pool, offered)
			asked = true
		}
		if !s.known.has(pool, kind) {
			field := pciDevicesField
			if kind.profile != "" {
				field = virtualGPUsField
			}
			return fmt.Errorf("%w: %s: no host of spec.platform.vsphere.resourcePool offers %s: make it available for passthrough there, or choose another cluster",
				platform.ErrUnsupported, field, kind)
		}
	}
	return nil
}
