// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	ownerPath   = "owner"
	browserPath = "environmentBrowser"
	// versionPrefix is what vCenter's name of a hardware version begins with; the number follows.
	versionPrefix = "vmx-"
)

// browser returns what knows what the hosts offer that machines in a resource pool run on.
func (c *client) browser(ctx context.Context, pool ref) (ref, error) {
	spec := filter(pool.kind, []string{ownerPath}, pool)
	spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{Type: pool.kind, Path: ownerPath}}
	spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: "ComputeResource", PathSet: []string{browserPath}})
	content, err := c.retrieve(ctx, spec)
	if err != nil {
		return ref{}, err
	}
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return ref{}, err
		}
		if found, is := values[browserPath].(types.ManagedObjectReference); is {
			return refOf(found), nil
		}
	}
	return ref{}, fmt.Errorf("%w: what the hosts of %s offer; System.Read on their cluster is needed", errNotFound, pool.value)
}

// hardwareVersions are the versions that all hosts offer to machines that are upgraded.
func (c *client) hardwareVersions(ctx context.Context, browser ref) (offered []int32, err error) {
	var descriptors []types.VirtualMachineConfigOptionDescriptor
	err = c.do(ctx, "QueryConfigOptionDescriptor", func(ctx context.Context) error {
		res, err := methods.QueryConfigOptionDescriptor(ctx, c.vim, &types.QueryConfigOptionDescriptor{This: browser.vim()})
		if err == nil {
			descriptors = res.Returnval
		}
		return err
	})
	hosts := map[types.ManagedObjectReference]bool{}
	for _, d := range descriptors {
		for _, host := range d.Host {
			hosts[host] = true
		}
	}
	for _, d := range descriptors {
		if version := versionNumber(d.Key); version > 0 && d.UpgradeSupported && d.RunSupported && len(d.Host) == len(hosts) {
			offered = append(offered, version)
		}
	}
	return offered, unseen(err)
}

// deviceKind is what can be handed to a machine: a device by what it is, or a virtual GPU by its profile.
type deviceKind struct {
	vendor, model int32
	profile       string
}

// String is how people write it.
func (k deviceKind) String() string {
	if k.profile != "" {
		return k.profile
	}
	return fmt.Sprintf("%04x:%04x", k.vendor, k.model)
}

// device is one of a kind as it is added to a machine.
func (k deviceKind) device(key int32) types.BaseVirtualDevice {
	device := &types.VirtualPCIPassthrough{VirtualDevice: types.VirtualDevice{Key: key}}
	if k.profile != "" {
		device.Backing = &types.VirtualPCIPassthroughVmiopBackingInfo{Vgpu: k.profile}
	} else {
		device.Backing = &types.VirtualPCIPassthroughDynamicBackingInfo{
			AllowedDevice: []types.VirtualPCIPassthroughAllowedDevice{{VendorId: k.vendor, DeviceId: k.model}},
		}
	}
	return device
}

// devicesOffered are the kinds of devices that the hosts have for machines, free or not.
func (c *client) devicesOffered(ctx context.Context, browser ref) (map[deviceKind]bool, error) {
	offered := map[deviceKind]bool{}
	err := c.do(ctx, "QueryConfigTarget", func(ctx context.Context) error {
		res, err := methods.QueryConfigTarget(ctx, c.vim, &types.QueryConfigTarget{This: browser.vim()})
		if err != nil || res.Returnval == nil {
			return err
		}
		for _, d := range res.Returnval.DynamicPassthrough {
			offered[deviceKind{vendor: d.VendorId, model: d.DeviceId}] = true
		}
		for _, d := range res.Returnval.SharedGpuPassthroughTypes {
			offered[deviceKind{profile: d.Vgpu}] = true
		}
		return nil
	})
	return offered, unseen(err)
}

// versionNumber is the number of a hardware version; 0 for what is none.
func versionNumber(name string) int32 {
	number, is := strings.CutPrefix(name, versionPrefix)
	version, err := strconv.ParseInt(number, 10, 32)
	if !is || err != nil {
		return 0
	}
	return int32(version)
}

// upgrade gives a virtual machine that is off the hardware of a version.
func (c *client) upgrade(ctx context.Context, vm ref, version int32) (ref, error) {
	return c.task(ctx, "UpgradeVM_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.UpgradeVM_Task(ctx, c.vim, &types.UpgradeVM_Task{This: vm.vim(), Version: fmt.Sprintf("%s%02d", versionPrefix, version)})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}
