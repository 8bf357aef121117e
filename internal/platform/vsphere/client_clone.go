// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"cmp"
	"context"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// sectorUnit is what vCenter counts the size of disks in.
const sectorUnit = 1 << 10

// What is read of a source beside what is read of every virtual machine.
const (
	parentPath   = "parent"
	snapshotPath = "snapshot"
	cpuPath      = "config.cpuAllocation"
	memoryPath   = "config.memoryAllocation"
	lockedPath   = "config.memoryReservationLockedToMax"
)

// source is a virtual machine or template that others are cloned from.
type source struct {
	vm

	parent   ref // its folder
	snapshot ref // zero without one
	devices  object.VirtualDeviceList

	// cpu and memory are what the host keeps for it and gives it at most. A clone takes them over.
	cpu, memory types.ResourceAllocationInfo
	// locked is whether all its memory is reserved, however much it has.
	locked bool
}

// order is everything that a clone is made with.
type order struct {
	from source
	name string
	uuid string

	folder, pool, host, datastore ref
	// policy is the identifier of a storage policy; empty for the datastore's own.
	policy string
	// linked makes the disks layers over the snapshot of the source.
	linked bool
	extra  map[string]string
	// unfinished leaves a machine off, because more than the clone is to be done before its first start.
	unfinished bool

	// machine is nil for a copy of an image, which is as its source is.
	machine *hardware
}

// hardware is what a machine has beside the disk that it is cloned with.
type hardware struct {
	cpus       int32
	memoryMB   int64
	reserved   reservation
	firmware   string
	secureBoot bool
	tpm        bool
	rootBytes  int64 // 0 means as the source
	disks      []int64
	nics       []nic
	devices    []deviceKind // of the host; the host then keeps all memory for the machine
}

// reservation is what the host keeps for a machine alone.
type reservation struct{ cpuMHz, memoryMB int64 }

// nic is one network interface.
type nic struct {
	backing backing
	mac     string
}

// source reads what is cloned from; nil when it is not there any more.
func (c *client) source(ctx context.Context, r ref) (*source, error) {
	content, err := c.retrieve(ctx, filter(kindVM, append(vmPaths(), parentPath, snapshotPath, devicePath, cpuPath, memoryPath, lockedPath), r))
	if err != nil || len(content) == 0 {
		return nil, err
	}
	values, err := properties(&content[0])
	if err != nil {
		return nil, err
	}
	s := &source{}
	if s.vm, err = parseVM(&content[0]); err != nil {
		return nil, err
	}
	if parent, is := values[parentPath].(types.ManagedObjectReference); is {
		s.parent = refOf(parent)
	}
	if snapshots, is := values[snapshotPath].(types.VirtualMachineSnapshotInfo); is && snapshots.CurrentSnapshot != nil {
		s.snapshot = refOf(*snapshots.CurrentSnapshot)
	}
	if devices, is := values[devicePath].(types.ArrayOfVirtualDevice); is {
		s.devices = devices.VirtualDevice
	}
	s.cpu, _ = values[cpuPath].(types.ResourceAllocationInfo)
	s.memory, _ = values[memoryPath].(types.ResourceAllocationInfo)
	s.locked, _ = values[lockedPath].(bool)
	return s, nil
}

// rootBytes is the size of the first disk; 0 without one.
func (s *source) rootBytes() int64 {
	root := s.root()
	if root == nil {
		return 0
	}
	return max(root.CapacityInBytes, root.CapacityInKB*sectorUnit)
}

func (s *source) root() *types.VirtualDisk {
	for _, d := range s.devices {
		if disk, is := d.(*types.VirtualDisk); is {
			return disk
		}
	}
	return nil
}

// clone begins to make a virtual machine. What it is made of, its identity and, for a machine, its first start are one task.
func (c *client) clone(ctx context.Context, o order) (ref, error) {
	spec, err := o.spec()
	if err != nil {
		return ref{}, err
	}
	return c.task(ctx, "CloneVM_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.CloneVM_Task(ctx, c.vim, &types.CloneVM_Task{This: o.from.ref.vim(), Folder: o.folder.vim(), Name: o.name, Spec: spec})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// spec writes an order in vCenter's words.
func (o order) spec() (types.VirtualMachineCloneSpec, error) {
	reference := func(r ref) *types.ManagedObjectReference {
		if r.zero() {
			return nil
		}
		vim := r.vim()
		return &vim
	}
	spec := types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Datastore: reference(o.datastore), Pool: reference(o.pool), Host: reference(o.host)},
		Config:   &types.VirtualMachineConfigSpec{Uuid: o.uuid, InstanceUuid: o.uuid, ExtraConfig: extraConfig(o.extra)},
	}
	spec.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsMoveAllDiskBackingsAndDisallowSharing)
	if o.linked {
		spec.Location.DiskMoveType = string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
		spec.Snapshot = reference(o.from.snapshot)
	}
	o.keepTo(&spec.Location)
	if o.machine == nil {
		return spec, nil
	}
	spec.PowerOn = !o.unfinished
	config, m := spec.Config, o.machine
	config.NumCPUs, config.NumCoresPerSocket, config.MemoryMB = m.cpus, new(int32(1)), m.memoryMB
	config.CpuAllocation, config.MemoryAllocation = allocation(o.from.cpu, m.reserved.cpuMHz), allocation(o.from.memory, m.reserved.memoryMB)
	if locked := len(m.devices) > 0; locked != o.from.locked {
		config.MemoryReservationLockedToMax = &locked
	}
	config.Firmware = m.firmware
	config.Flags = &types.VirtualMachineFlagInfo{DiskUuidEnabled: new(true)}
	config.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: new(m.secureBoot)}
	var err error
	config.DeviceChange, err = o.devices()
	return spec, err
}

// allocation has the host keep something for a virtual machine alone, or nothing, and set no limit. It is nil where the source
// has it so: whoever reserves nothing needs no privilege for it.
func allocation(source types.ResourceAllocationInfo, reserved int64) *types.ResourceAllocationInfo {
	const unlimited = -1
	if *cmp.Or(source.Reservation, new(int64(0))) == reserved && *cmp.Or(source.Limit, new(int64(unlimited))) == unlimited {
		return nil
	}
	return &types.ResourceAllocationInfo{Reservation: &reserved, Limit: new(int64(unlimited))}
}

// devices are the changes to the devices of the source. Of the source only the root disk and what it hangs on stay.
func (o order) devices() ([]types.BaseVirtualDeviceConfigSpec, error) {
	var changes []types.BaseVirtualDeviceConfigSpec
	add := func(device types.BaseVirtualDevice, operation types.VirtualDeviceConfigSpecOperation) {
		changes = append(changes, &types.VirtualDeviceConfigSpec{Device: device, Operation: operation})
	}
	for _, device := range o.from.devices {
		if _, is := device.(types.BaseVirtualEthernetCard); is {
			add(device, types.VirtualDeviceConfigSpecOperationRemove)
		}
	}
	if o.machine.rootBytes > o.from.rootBytes() {
		root := *o.from.root()
		root.CapacityInBytes, root.CapacityInKB = o.machine.rootBytes, inUnits(o.machine.rootBytes)
		add(&root, types.VirtualDeviceConfigSpecOperationEdit)
	}
	places, controllers, err := o.from.diskPlaces(len(o.machine.disks))
	if err != nil {
		return nil, err
	}
	for _, controller := range controllers {
		add(controller, types.VirtualDeviceConfigSpecOperationAdd)
	}
	for i, size := range o.machine.disks {
		changes = append(changes, &types.VirtualDeviceConfigSpec{
			Device: emptyDisk(firstDiskKey-int32(i), places[i].controller, places[i].unit, size), Profile: profile(o.policy),
			Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
		})
	}
	for i, nic := range o.machine.nics {
		add(card(firstNICKey-int32(i), nic), types.VirtualDeviceConfigSpecOperationAdd)
	}
	for i, kind := range o.machine.devices {
		add(kind.device(firstPCIKey-int32(i)), types.VirtualDeviceConfigSpecOperationAdd)
	}
	if o.machine.tpm {
		add(&types.VirtualTPM{VirtualDevice: types.VirtualDevice{Key: tpmKey}}, types.VirtualDeviceConfigSpecOperationAdd)
	}
	return changes, nil
}

func inUnits(size int64) int64 { return (size + sectorUnit - 1) / sectorUnit }

func emptyDisk(key, controller, unit int32, size int64) types.BaseVirtualDevice {
	return &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{Key: key, ControllerKey: controller, UnitNumber: &unit, Backing: &types.VirtualDiskFlatVer2BackingInfo{
			DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: new(true),
		}},
		CapacityInBytes: inUnits(size) * sectorUnit, CapacityInKB: inUnits(size),
	}
}

func card(key int32, n nic) types.BaseVirtualDevice {
	return &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
		VirtualDevice: types.VirtualDevice{
			Key: key, Backing: n.backing.info,
			Connectable: &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Connected: true},
		},
		AddressType: string(types.VirtualEthernetCardMacTypeManual), MacAddress: n.mac,
	}}}
}

// takeSnapshot takes the snapshot that linked clones are layers over.
func (c *client) takeSnapshot(ctx context.Context, vm ref) (ref, error) {
	return c.task(ctx, "CreateSnapshot_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.CreateSnapshot_Task(ctx, c.vim, &types.CreateSnapshot_Task{This: vm.vim(), Name: "ingot", Description: "Machines are layers over this snapshot."})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// markAsTemplate makes a virtual machine a template.
func (c *client) markAsTemplate(ctx context.Context, vm ref) error {
	return c.do(ctx, "MarkAsTemplate", func(ctx context.Context) error {
		_, err := methods.MarkAsTemplate(ctx, c.vim, &types.MarkAsTemplate{This: vm.vim()})
		return err
	})
}

// markAsVirtualMachine makes a template a virtual machine, which is off.
func (c *client) markAsVirtualMachine(ctx context.Context, vm, pool, host ref) error {
	return c.do(ctx, "MarkAsVirtualMachine", func(ctx context.Context) error {
		on := host.vim()
		_, err := methods.MarkAsVirtualMachine(ctx, c.vim, &types.MarkAsVirtualMachine{This: vm.vim(), Pool: pool.vim(), Host: &on})
		return err
	})
}

// removeSnapshots removes all snapshots of a virtual machine. Its disks stay as they are: others may be layers over them.
func (c *client) removeSnapshots(ctx context.Context, vm ref) (ref, error) {
	return c.task(ctx, "RemoveAllSnapshots_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.RemoveAllSnapshots_Task(ctx, c.vim, &types.RemoveAllSnapshots_Task{This: vm.vim(), Consolidate: new(false)})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}
