// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	kindLease = "HttpNfcLease"
	// anyGuest is the operating system of a template that says nothing of its own.
	anyGuest = "otherGuest64"
	// streamType is how a host is told that what comes is a streamOptimized VMDK.
	streamType = "application/x-vnd.vmware-streamVmdk"
)

// Keys of what an import makes, and of the controller that every virtual machine has.
const (
	importControllerKey int32 = -1
	importDiskKey       int32 = -2
	firstIDEKey         int32 = 200
)

// errUpload means that a host did not take a disk.
var errUpload = errors.New("the host did not take the disk")

// importing is everything that a virtual machine is imported with.
type importing struct {
	name, uuid string
	// datastoreName is the datastore as it is called inside its datacenter.
	datastoreName      string
	folder, pool, host ref
	extra              map[string]string
	blueprint          blueprint
	capacity           int64
}

// lease is vCenter's permission to send a disk to a host, for as long as somebody says that it is still being sent.
type lease struct {
	ref ref
	// ready is whether the disk can be sent; failed is why it never can, or cannot any more.
	ready  bool
	failed error
	// made is the virtual machine that was made for the disk.
	made ref
	// url is where the disk goes, and thumbprint what the certificate there looks like; disks is how many there are.
	url, thumbprint string
	disks           int
	timeout         time.Duration
}

// importVApp begins an import. The lease that it returns is not ready yet.
func (c *client) importVApp(ctx context.Context, i importing) (ref, error) {
	folder, host := i.folder.vim(), i.host.vim()
	return c.task(ctx, "ImportVApp", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.ImportVApp(ctx, c.vim, &types.ImportVApp{
			This: i.pool.vim(), Spec: &types.VirtualMachineImportSpec{ConfigSpec: i.spec()}, Folder: &folder, Host: &host,
		})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// spec writes an import in vCenter's words: the least virtual machine that can hold the disk. Machines that are cloned from
// it get their own hardware.
func (i importing) spec() types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{
		Name: i.name, Uuid: i.uuid, InstanceUuid: i.uuid, GuestId: i.blueprint.guest, Version: i.blueprint.hardware,
		NumCPUs: 1, MemoryMB: 128, ExtraConfig: extraConfig(i.extra),
		Files: &types.VirtualMachineFileInfo{VmPathName: "[" + i.datastoreName + "]"},
	}
	if spec.GuestId == "" {
		spec.GuestId = anyGuest
	}
	at, unit := importControllerKey, int32(0)
	if controller := controllerOf(i.blueprint.controller); controller == nil {
		at = firstIDEKey
	} else {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Device: controller, Operation: types.VirtualDeviceConfigSpecOperationAdd,
		})
	}
	spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
		Device:        emptyDisk(importDiskKey, at, unit, i.capacity),
		Operation:     types.VirtualDeviceConfigSpecOperationAdd,
		FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
	})
	return spec
}

// controllerOf makes a controller of a kind; nil for IDE, which every virtual machine has.
func controllerOf(kind string) types.BaseVirtualDevice {
	base := types.VirtualController{VirtualDevice: types.VirtualDevice{Key: importControllerKey}}
	scsi := types.VirtualSCSIController{VirtualController: base, SharedBus: types.VirtualSCSISharingNoSharing}
	switch kind {
	case ide:
		return nil
	case ahci:
		return &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: base}}
	case nvme:
		return &types.VirtualNVMEController{VirtualController: base}
	case lsiLogic:
		return &types.VirtualLsiLogicController{VirtualSCSIController: scsi}
	case lsiLogicSAS:
		return &types.VirtualLsiLogicSASController{VirtualSCSIController: scsi}
	case busLogic:
		return &types.VirtualBusLogicController{VirtualSCSIController: scsi}
	default:
		return &types.ParaVirtualSCSIController{VirtualSCSIController: scsi}
	}
}

// lease reads a lease.
func (c *client) lease(ctx context.Context, r ref) (lease, error) {
	read := lease{ref: r}
	content, err := c.retrieve(ctx, filter(kindLease, []string{"state", "info", "error"}, r))
	if err != nil {
		return read, err
	}
	if len(content) == 0 {
		return read, fmt.Errorf("%w: the lease", errNotFound)
	}
	values, err := properties(&content[0])
	if err != nil {
		return read, err
	}
	state, _ := values["state"].(types.HttpNfcLeaseState)
	read.ready = state == types.HttpNfcLeaseStateReady
	if failed, is := values["error"].(types.LocalizedMethodFault); is && failed.Fault != nil {
		read.failed = classifyFault(failed.Fault, failed.LocalizedMessage)
	} else if state == types.HttpNfcLeaseStateError || state == types.HttpNfcLeaseStateDone {
		read.failed = fmt.Errorf("%w: the lease is in state %s, and vCenter does not say why", platform.ErrUnreachable, state)
	}
	info, is := values["info"].(types.HttpNfcLeaseInfo)
	if !is {
		return read, nil
	}
	read.made, read.timeout = refOf(info.Entity), time.Duration(info.LeaseTimeout)*time.Second
	for _, device := range info.DeviceUrl {
		if device.Disk != nil && *device.Disk {
			read.disks++
			read.url, read.thumbprint = device.Url, device.SslThumbprint
		}
	}
	return read, nil
}

// leaseProgress says that a disk is still being sent. A lease of which nobody says so ends after its timeout.
func (c *client) leaseProgress(ctx context.Context, r ref, percent int32) error {
	return c.do(ctx, "HttpNfcLeaseProgress", func(ctx context.Context) error {
		_, err := methods.HttpNfcLeaseProgress(ctx, c.vim, &types.HttpNfcLeaseProgress{This: r.vim(), Percent: percent})
		return err
	})
}

// leaseComplete says that a disk was sent and is what it should be. Only then is there a virtual machine for good.
func (c *client) leaseComplete(ctx context.Context, r ref) error {
	return c.do(ctx, "HttpNfcLeaseComplete", func(ctx context.Context) error {
		_, err := methods.HttpNfcLeaseComplete(ctx, c.vim, &types.HttpNfcLeaseComplete{This: r.vim()})
		return err
	})
}

// leaseAbort says that a disk will not be sent, or is not what it should be. vCenter removes what was made for it.
func (c *client) leaseAbort(ctx context.Context, r ref) error {
	return c.do(ctx, "HttpNfcLeaseAbort", func(ctx context.Context) error {
		_, err := methods.HttpNfcLeaseAbort(ctx, c.vim, &types.HttpNfcLeaseAbort{This: r.vim()})
		return err
	})
}

// upload sends a disk to the host that a lease names. The certificate of the host is signed by an authority that is trusted,
// or is the one that vCenter tells.
func (c *client) upload(ctx context.Context, l lease, disk io.Reader, size int64) (err error) {
	defer c.meter.begin("upload")(&err)
	at, err := c.vim.ParseURL(l.url) // which puts vCenter's own name in the place of an asterisk
	if err != nil || at.Scheme != "https" {
		return fmt.Errorf("%w: vCenter names no address with https for it", errUpload)
	}
	if l.thumbprint != "" {
		c.vim.SetThumbprint(at.Host, l.thumbprint)
	}
	err = c.vim.Upload(ctx, disk, at, &soap.Upload{Type: streamType, Method: "POST", ContentLength: size})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUpload, at.Host, err)
	}
	return nil
}

// rename gives a virtual machine another name. A folder has no two objects of the same name.
func (c *client) rename(ctx context.Context, vm ref, name string) (ref, error) {
	return c.task(ctx, "Rename_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.Rename_Task(ctx, c.vim, &types.Rename_Task{This: vm.vim(), NewName: name})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// identify gives a virtual machine another instance UUID and extra configuration, and another name unless that is empty.
func (c *client) identify(ctx context.Context, vm ref, name, uuid string, extra map[string]string) (ref, error) {
	return c.reconfigure(ctx, vm, types.VirtualMachineConfigSpec{Name: name, Uuid: uuid, InstanceUuid: uuid, ExtraConfig: extraConfig(extra)})
}

// freeBytes is how much room is left on a datastore.
func (c *client) freeBytes(ctx context.Context, datastore ref) (int64, error) {
	content, err := c.retrieve(ctx, filter(datastore.kind, []string{"summary"}, datastore))
	if err != nil {
		return 0, err
	}
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return 0, err
		}
		if summary, is := values["summary"].(types.DatastoreSummary); is {
			return summary.FreeSpace, nil
		}
	}
	return 0, fmt.Errorf("%w: the summary of the datastore", errNotFound)
}
