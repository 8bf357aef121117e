// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator makes every clone a whole one, and takes any snapshot for one to make it from. Here disks of linked clones are
// layers over the disks that their snapshot shows, as vCenter is documented to make them, and a snapshot that is not there is refused.

// linked tells whether a clone is to be a layer over its source.
func linked(spec types.VirtualMachineCloneSpec) bool {
	return spec.Snapshot != nil && spec.Location.DiskMoveType == string(types.VirtualMachineRelocateDiskMoveOptionsCreateNewChildDiskBacking)
}

// lostSnapshot returns the snapshot that a clone names and that is not there; empty for any other call.
func (v *VCenter) lostSnapshot(method string, body []byte) string {
	if method != "CloneVM_Task" {
		return ""
	}
	call, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		return ""
	}
	clone, is := call.Body.(*types.CloneVM_Task)
	if !is || clone.Spec.Snapshot == nil || v.model.Map().Get(*clone.Spec.Snapshot) != nil {
		return ""
	}
	return clone.Spec.Snapshot.Value
}

// notFound answers that an object is not there.
func notFound(w http.ResponseWriter, kind, value string) {
	answerSOAP(w, http.StatusInternalServerError, `<Fault xmlns="http://schemas.xmlsoap.org/soap/envelope/"><faultcode xmlns="">ServerFaultCode</faultcode>`+
		`<faultstring xmlns="">The object has already been deleted or has not been completely created</faultstring><detail xmlns="">`+
		`<ManagedObjectNotFoundFault xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ManagedObjectNotFound">`+
		`<obj type="`+kind+`">`+value+`</obj></ManagedObjectNotFoundFault></detail></Fault>`)
}

// layer has the root disk of a linked clone lie over the root disk that the snapshot shows. The gate is held by the caller.
func (v *VCenter) layer(source types.ManagedObjectReference, spec types.VirtualMachineCloneSpec, made types.ManagedObjectReference) {
	if !linked(spec) {
		return
	}
	v.under[made] = source
	snapshot, is := v.model.Map().Get(*spec.Snapshot).(*simulator.VirtualMachineSnapshot)
	clone, cloned := v.model.Map().Get(made).(*simulator.VirtualMachine)
	if !is || !cloned {
		return
	}
	under, over := rootFile(snapshot.Config.Hardware.Device), rootFile(clone.Config.Hardware.Device)
	if under == nil || over == nil {
		return
	}
	v.model.Service.Context.WithLock(clone, func() {
		over.Parent = &types.VirtualDiskFlatVer2BackingInfo{
			VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: under.FileName}, DiskMode: under.DiskMode,
		}
	})
}

func rootFile(devices []types.BaseVirtualDevice) *types.VirtualDiskFlatVer2BackingInfo {
	for _, device := range devices {
		if disk, is := device.(*types.VirtualDisk); is {
			file, _ := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
			return file
		}
	}
	return nil
}

// Layers are the files that root disks are layers over, by the instance UUID of the virtual machine, and whether each is still there.
func (v *VCenter) Layers() map[string]Layer {
	v.gate.Lock()
	defer v.gate.Unlock()
	found := map[string]Layer{}
	for _, e := range v.model.Map().All("VirtualMachine") {
		vm, is := e.(*simulator.VirtualMachine)
		if !is || vm.Config == nil {
			continue
		}
		if file := rootFile(vm.Config.Hardware.Device); file != nil && file.Parent != nil {
			found[vm.Config.InstanceUuid] = Layer{
				Over: file.Parent.FileName, Whole: v.exists(file.Parent.FileName) && v.model.Map().Get(v.under[vm.Self]) != nil,
			}
		}
	}
	return found
}

// Layer is what a disk is a layer over: a file as vCenter names it.
type Layer struct {
	Over string
	// Whole is whether the file is there, and has not gone with the virtual machine that it was of and come again with another one:
	// without it the layer is worth nothing.
	Whole bool
}

// exists tells whether a file is on its datastore.
func (v *VCenter) exists(file string) bool {
	store, path, _ := strings.Cut(strings.TrimPrefix(file, "["), "] ")
	return slices.ContainsFunc(v.model.Map().All("Datastore"), func(e mo.Entity) bool {
		datastore, is := e.(*simulator.Datastore)
		if !is || datastore.Name != store {
			return false
		}
		_, err := os.Stat(filepath.Join(datastore.Info.GetDatastoreInfo().Url, path))
		return err == nil
	})
}
