// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// made is in the name of everything that a person makes here.
const made = "by-hand"

// Spec is what a person makes.
type Spec struct {
	// Name is shown after a prefix that tells that a person made it; UUID is the instance UUID and the BIOS UUID.
	Name, UUID string
	// Extra is extra configuration.
	Extra map[string]string
	// DiskBytes is the size of its disk.
	DiskBytes int64
	// Template makes it a template; otherwise it runs.
	Template bool
	// ReservedCPUMHz and CPULimitMHz are what the host keeps for it, and the most it gets; 0 means nothing, and no limit.
	ReservedCPUMHz, CPULimitMHz int64
	// HardwareVersion is the version of its hardware; empty means the newest that the hosts have.
	HardwareVersion string
	// FurtherControllers is how many SCSI controllers it has beside that of its disk, on which nothing hangs.
	FurtherControllers int
}

// Make makes a virtual machine or template.
func (v *VCenter) Make(ctx context.Context, s Spec) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	folder, err := v.find(ctx, Datacenter+"/vm")
	if err != nil {
		return err
	}
	pool, err := v.find(ctx, Datacenter+"/host/"+Cluster+"/Resources")
	if err != nil {
		return err
	}
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return err
	}
	devices = append(devices, scsi)
	controller, err := devices.FindDiskController(devices.Name(scsi))
	if err != nil {
		return err
	}
	disk := &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{Key: devices.NewKey(), Backing: &types.VirtualDiskFlatVer2BackingInfo{
			DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: new(true),
		}},
		CapacityInKB: s.DiskBytes >> 10, CapacityInBytes: s.DiskBytes,
	}
	devices.AssignController(disk, controller)
	card, err := devices.CreateEthernetCard("vmxnet3", &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"},
	})
	if err != nil {
		return err
	}
	changes, err := withControllers(append(devices, disk, card), s.FurtherControllers).ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return err
	}
	spec := types.VirtualMachineConfigSpec{
		Name: made + "-" + s.Name, Uuid: s.UUID, InstanceUuid: s.UUID, NumCPUs: 1, MemoryMB: 64, GuestId: "otherLinux64Guest", Version: s.HardwareVersion,
		Files: &types.VirtualMachineFileInfo{VmPathName: "[" + Datastore + "]"}, DeviceChange: changes,
	}
	if s.ReservedCPUMHz != 0 || s.CPULimitMHz != 0 {
		spec.CpuAllocation = &types.ResourceAllocationInfo{Reservation: &s.ReservedCPUMHz, Limit: new(cmp.Or(s.CPULimitMHz, -1))}
	}
	for key, value := range s.Extra {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	task, err := object.NewFolder(v.Admin.Client, folder).CreateVM(ctx, spec, object.NewResourcePool(v.Admin.Client, pool), nil)
	if err != nil {
		return err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return err
	}
	reference, is := info.Result.(types.ManagedObjectReference)
	if !is {
		return fmt.Errorf("the task has made %v", info.Result)
	}
	vm := object.NewVirtualMachine(v.Admin.Client, reference)
	if s.Template {
		return vm.MarkAsTemplate(ctx)
	}
	return wait(ctx)(vm.PowerOn(ctx))
}

// withControllers are devices with further SCSI controllers.
func withControllers(devices object.VirtualDeviceList, further int) object.VirtualDeviceList {
	for bus := range further {
		devices = append(devices, &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
			SharedBus: types.VirtualSCSISharingNoSharing, ScsiCtlrUnitNumber: 7,
			VirtualController: types.VirtualController{BusNumber: int32(bus + 1), VirtualDevice: types.VirtualDevice{Key: devices.NewKey() - int32(bus)}},
		}})
	}
	return devices
}

func wait(ctx context.Context) func(*object.Task, error) error {
	return func(task *object.Task, err error) error {
		if err != nil {
			return err
		}
		return task.Wait(ctx)
	}
}

func (v *VCenter) find(ctx context.Context, path string) (types.ManagedObjectReference, error) {
	found, err := object.NewSearchIndex(v.Admin.Client).FindByInventoryPath(ctx, path)
	switch {
	case err != nil:
		return types.ManagedObjectReference{}, err
	case found == nil:
		return types.ManagedObjectReference{}, fmt.Errorf("there is no %s", path)
	}
	return found.Reference(), nil
}

// MakeFolder makes a folder for virtual machines.
func (v *VCenter) MakeFolder(ctx context.Context, name string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	folder, err := v.find(ctx, Datacenter+"/vm")
	if err != nil {
		return err
	}
	_, err = object.NewFolder(v.Admin.Client, folder).CreateFolder(ctx, name)
	return err
}

// MakeCluster makes a compute cluster without hosts.
func (v *VCenter) MakeCluster(ctx context.Context, name string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	folder, err := v.find(ctx, Datacenter+"/host")
	if err != nil {
		return err
	}
	_, err = object.NewFolder(v.Admin.Client, folder).CreateCluster(ctx, name, types.ClusterConfigSpecEx{})
	return err
}

// Maintain puts all hosts into maintenance mode until end is called.
func (v *VCenter) Maintain(ctx context.Context) (end func() error, err error) {
	end = func() error {
		return v.hosts(func(host *object.HostSystem) error { return wait(ctx)(host.ExitMaintenanceMode(ctx, 0)) })
	}
	return end, v.hosts(func(host *object.HostSystem) error { return wait(ctx)(host.EnterMaintenanceMode(ctx, 0, false, nil)) })
}

func (v *VCenter) hosts(change func(*object.HostSystem) error) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	for _, e := range v.model.Map().All("HostSystem") {
		if err := change(object.NewHostSystem(v.Admin.Client, e.Reference())); err != nil {
			return err
		}
	}
	return nil
}

// vm returns the virtual machine or template with an instance UUID.
func (v *VCenter) vm(ctx context.Context, uuid string) (*object.VirtualMachine, error) {
	found, err := object.NewSearchIndex(v.Admin.Client).FindAllByUuid(ctx, nil, uuid, true, new(true))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d virtual machines have the instance UUID %s", len(found), uuid)
	}
	return object.NewVirtualMachine(v.Admin.Client, found[0].Reference()), nil
}

// PowerOff switches a virtual machine off.
func (v *VCenter) PowerOff(ctx context.Context, uuid string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return err
	}
	return wait(ctx)(vm.PowerOff(ctx))
}

// Destroy removes a virtual machine or template, whether it runs or not.
func (v *VCenter) Destroy(ctx context.Context, uuid string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return err
	}
	if state, err := vm.PowerState(ctx); err == nil && state == types.VirtualMachinePowerStatePoweredOn {
		if err := wait(ctx)(vm.PowerOff(ctx)); err != nil {
			return err
		}
	}
	return wait(ctx)(vm.Destroy(ctx))
}

// Rename gives a virtual machine another name.
func (v *VCenter) Rename(ctx context.Context, uuid, name string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return err
	}
	return wait(ctx)(vm.Rename(ctx, name))
}

// SetExtra changes one element of the extra configuration.
func (v *VCenter) SetExtra(ctx context.Context, uuid, key, value string) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return err
	}
	return wait(ctx)(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}}}))
}

// GiveAddress has the guest of a virtual machine tell an address.
func (v *VCenter) GiveAddress(ctx context.Context, uuid, address string) error {
	return v.SetExtra(ctx, uuid, "SET.guest.ipAddress", address)
}

// Attach attaches a new disk to a virtual machine that lies in a folder of its own, as a storage driver's volume does, and
// returns its file.
func (v *VCenter) Attach(ctx context.Context, uuid string) (file string, err error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	vm, err := v.vm(ctx, uuid)
	if err != nil {
		return "", err
	}
	store, err := v.find(ctx, Datacenter+"/datastore/"+Datastore)
	if err != nil {
		return "", err
	}
	var found mo.Datastore
	if err := v.Admin.RetrieveOne(ctx, store, []string{"info"}, &found); err != nil {
		return "", err
	}
	dir := filepath.Join(found.Info.GetDatastoreInfo().Url, made+"-volumes")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	devices, err := vm.Device(ctx)
	if err != nil {
		return "", err
	}
	controller, err := devices.FindDiskController("")
	if err != nil {
		return "", err
	}
	disk := devices.CreateDisk(controller, store, "["+Datastore+"] "+made+"-volumes/"+uuid+".vmdk")
	disk.CapacityInKB = 1 << 10
	return filepath.Join(dir, uuid+".vmdk"), vm.AddDevice(ctx, disk)
}

// Machine is a virtual machine as vCenter shows it.
type Machine struct {
	Name     string
	Template bool
	Running  bool
	// Extra is its extra configuration.
	Extra map[string]string
	// Folder is the folder that it is in. Datastore is where its files are, and Pool and Host are the resource pool and the host that
	// it runs in.
	Folder, Datastore, Pool, Host string
	// Disks are the sizes of its disks, and Places where they hang: the kind of the controller, its bus number and the unit. Networks
	// are the port groups of its interfaces, and MACs their addresses.
	Disks    []int64
	Places   []string
	Networks []string
	MACs     []string
	// HardwareVersion is the version of its hardware as vCenter writes it.
	HardwareVersion string
	// Firmware and SecureBoot are how it boots; TPM is whether it has one.
	Firmware        string
	SecureBoot, TPM bool
	// ReservedCPUMHz and ReservedMemoryMB are what the host keeps for it, and CPULimitMHz is the most it gets: -1 means all.
	ReservedCPUMHz, ReservedMemoryMB, CPULimitMHz int64
	// Devices are the devices of the host that it was given, VENDOR:MODEL or the profile of a virtual GPU, and MemoryLocked is
	// whether all its memory is reserved.
	Devices      []string
	MemoryLocked bool
}

// Machines are all virtual machines and templates by their instance UUID.
func (v *VCenter) Machines(ctx context.Context) (map[string]Machine, error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	all, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]Machine{}
	for i := range all {
		m := describe(&all[i])
		if in := all[i].Parent; in != nil {
			if folder, is := v.model.Map().Get(*in).(mo.Entity); is {
				m.Folder = folder.Entity().Name
			}
		}
		if pool := all[i].ResourcePool; pool != nil {
			if runs, is := v.model.Map().Get(*pool).(mo.Entity); is {
				m.Pool = runs.Entity().Name
			}
		}
		if host := all[i].Runtime.Host; host != nil {
			if on, is := v.model.Map().Get(*host).(mo.Entity); is {
				m.Host = on.Entity().Name
			}
		}
		found[all[i].Config.InstanceUuid] = m
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return found, v.broken
}

// Count is how many virtual machines have each value of an element of the extra configuration.
func (v *VCenter) Count(ctx context.Context, key string) (map[string]int, error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	all, err := v.all(ctx)
	count := map[string]int{}
	for i := range all {
		if value := describe(&all[i]).Extra[key]; value != "" {
			count[value]++
		}
	}
	return count, err
}

func (v *VCenter) all(ctx context.Context) ([]mo.VirtualMachine, error) {
	var refs []types.ManagedObjectReference
	for _, e := range v.model.Map().All("VirtualMachine") {
		refs = append(refs, e.Reference())
	}
	if len(refs) == 0 {
		return nil, nil
	}
	var all []mo.VirtualMachine
	err := v.Admin.Retrieve(ctx, refs, []string{"name", "parent", "config", "runtime", "snapshot", "resourcePool"}, &all)
	return all, err
}

func describe(vm *mo.VirtualMachine) Machine {
	m := Machine{Name: vm.Name, Template: vm.Config.Template, Running: vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn, Extra: map[string]string{}}
	m.HardwareVersion = vm.Config.Version
	m.MemoryLocked = isTrue(vm.Config.MemoryReservationLockedToMax)
	m.Firmware = vm.Config.Firmware
	m.SecureBoot = vm.Config.BootOptions != nil && isTrue(vm.Config.BootOptions.EfiSecureBootEnabled)
	m.ReservedCPUMHz, m.CPULimitMHz = allocated(vm.Config.CpuAllocation)
	m.ReservedMemoryMB, _ = allocated(vm.Config.MemoryAllocation)
	for _, option := range vm.Config.ExtraConfig {
		value := option.GetOptionValue()
		m.Extra[value.Key] = fmt.Sprint(value.Value)
	}
	m.Datastore, _, _ = strings.Cut(strings.TrimPrefix(vm.Config.Files.VmPathName, "["), "]")
	for _, device := range vm.Config.Hardware.Device {
		switch d := device.(type) {
		case *types.VirtualTPM:
			m.TPM = true
		case *types.VirtualPCIPassthrough:
			m.Devices = append(m.Devices, passedThrough(d))
		case *types.VirtualDisk:
			m.Disks = append(m.Disks, max(d.CapacityInBytes, d.CapacityInKB<<10))
			m.Places = append(m.Places, placeOf(vm.Config.Hardware.Device, d))
		case types.BaseVirtualEthernetCard:
			card := d.GetVirtualEthernetCard()
			m.MACs = append(m.MACs, card.MacAddress)
			network := ""
			switch b := card.Backing.(type) {
			case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
				network = b.Port.PortgroupKey
			case *types.VirtualEthernetCardNetworkBackingInfo:
				network = b.DeviceName
			}
			m.Networks = append(m.Networks, network)
		}
	}
	return m
}

func placeOf(devices object.VirtualDeviceList, disk *types.VirtualDisk) string {
	at := devices.FindByKey(disk.ControllerKey)
	controller, is := at.(types.BaseVirtualController)
	if !is || disk.UnitNumber == nil {
		return "nowhere"
	}
	return fmt.Sprintf("%s %d:%d", devices.Type(at), controller.GetVirtualController().BusNumber, *disk.UnitNumber)
}

func passedThrough(d *types.VirtualPCIPassthrough) string {
	switch b := d.Backing.(type) {
	case *types.VirtualPCIPassthroughVmiopBackingInfo:
		return b.Vgpu
	case *types.VirtualPCIPassthroughDynamicBackingInfo:
		var kinds []string
		for _, a := range b.AllowedDevice {
			kinds = append(kinds, fmt.Sprintf("%04x:%04x", a.VendorId, a.DeviceId))
		}
		return strings.Join(kinds, " ")
	default:
		return fmt.Sprintf("%T", b)
	}
}

// Offer has the hosts of the cluster offer a device, and a profile of a virtual GPU. The simulator's have none.
func (v *VCenter) Offer(vendor, model int32, profile string) {
	v.gate.Lock()
	defer v.gate.Unlock()
	for _, e := range v.model.Map().All("ClusterComputeResource") {
		cluster, is := e.(*simulator.ClusterComputeResource)
		if !is {
			continue
		}
		if browser, is := v.model.Map().Get(*cluster.EnvironmentBrowser).(*simulator.EnvironmentBrowser); is {
			browser.QueryConfigTargetResponse.Returnval = &types.ConfigTarget{
				DynamicPassthrough:        []types.VirtualMachineDynamicPassthroughInfo{{VendorId: vendor, DeviceId: model}},
				SharedGpuPassthroughTypes: []types.VirtualMachinePciSharedGpuPassthroughInfo{{Vgpu: profile}},
			}
		}
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

func allocated(a *types.ResourceAllocationInfo) (reserved, limit int64) {
	limit = -1
	if a == nil {
		return 0, limit
	}
	if a.Reservation != nil {
		reserved = *a.Reservation
	}
	if a.Limit != nil {
		limit = *a.Limit
	}
	return reserved, limit
}

// Inventory lists everything that there is, apart from what a person has made, one line each: virtual machines with their
// state and definition, and the files on the datastores.
func (v *VCenter) Inventory(ctx context.Context) ([]string, error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	v.settle()
	all, err := v.all(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for i := range all {
		if vm := &all[i]; !strings.HasPrefix(vm.Name, made) {
			lines = append(lines, fmt.Sprintf("%s %s %s %+v snapshot %t", vm.Config.InstanceUuid, vm.Config.Uuid, vm.Self.Value, describe(vm), vm.Snapshot != nil))
		}
	}
	var stores []mo.Datastore
	var refs []types.ManagedObjectReference
	for _, e := range v.model.Map().All("Datastore") {
		refs = append(refs, e.Reference())
	}
	if err := v.Admin.Retrieve(ctx, refs, []string{"info"}, &stores); err != nil {
		return nil, err
	}
	for i := range stores {
		dir := stores[i].Info.GetDatastoreInfo().Url
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil && !strings.Contains(path, made) {
				lines = append(lines, path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(lines)
	return lines, nil
}
