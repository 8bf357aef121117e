// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"path"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	filesPath  = "config.files.vmPathName"
	devicePath = "config.hardware.device"
)

// diskPaths are what must be read of a virtual machine to tell its own disks.
func diskPaths() []string { return []string{filesPath, devicePath} }

// readDisks finds the disks of a virtual machine that are not its own: volumes that vCenter looks after by themselves, as
// storage drivers attach them, and disks that lie in another folder than the virtual machine.
func (m *vm) readDisks(content *types.ObjectContent) error {
	values, err := properties(content)
	if err != nil {
		return err
	}
	own, _ := values[filesPath].(string)
	devices, _ := values[devicePath].(types.ArrayOfVirtualDevice)
	for _, device := range devices.VirtualDevice {
		if disk, is := device.(*types.VirtualDisk); is && stranger(disk, own) {
			m.strangers = append(m.strangers, disk.Key)
		}
	}
	m.disksRead = true
	return nil
}

func stranger(disk *types.VirtualDisk, own string) bool {
	if disk.VDiskId != nil {
		return true
	}
	backing, is := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo)
	return is && folder(backing.GetVirtualDeviceFileBackingInfo().FileName) != folder(own)
}

// folder is the folder of a file on a datastore, "[DATASTORE] FOLDER/FILE". A disk that was moved to another datastore lies
// in a folder of the same name there.
func folder(file string) string {
	_, name, _ := strings.Cut(file, "] ")
	return path.Dir(name)
}

// detach takes the disks out of a virtual machine that are not its own. Their files stay.
func (c *client) detach(ctx context.Context, m vm) (ref, error) {
	var spec types.VirtualMachineConfigSpec
	for _, key := range m.strangers {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationRemove,
			Device:    &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: key}},
		})
	}
	return c.reconfigure(ctx, m.ref, spec)
}
