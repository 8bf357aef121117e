// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// maxControllers is how many SCSI controllers a virtual machine has at most, and unitsEach how many disks hang on each.
	maxControllers = 4
	unitsEach      = 15
	// scsiUnits are the units of a SCSI controller, of which it takes one itself: ownUnit where nothing says otherwise.
	scsiUnits = unitsEach + 1
	ownUnit   = 7
)

// Keys of devices that are to be made are negative; vCenter gives them others.
const (
	firstDiskKey       int32 = -100
	firstNICKey        int32 = -200
	tpmKey             int32 = -300
	firstPCIKey        int32 = -400
	firstControllerKey int32 = -500
)

// diskPlace is where a disk hangs.
type diskPlace struct{ controller, unit int32 }

// diskPlaces are the places of a number of further disks, in order: first those that are free on the controller of the root disk,
// then those of further paravirtual SCSI controllers, which are made for them, by their bus numbers.
func (s *source) diskPlaces(disks int) (places []diskPlace, made []types.BaseVirtualDevice, err error) {
	units, controller, err := s.freeUnits()
	if err != nil {
		return nil, nil, err
	}
	for _, unit := range units {
		places = append(places, diskPlace{controller, unit})
	}
	taken := s.scsiBuses()
	for bus := int32(0); bus < maxControllers && len(places) < disks; bus++ {
		if slices.Contains(taken, bus) {
			continue
		}
		key := firstControllerKey - bus
		made = append(made, &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
			SharedBus:         types.VirtualSCSISharingNoSharing,
			VirtualController: types.VirtualController{BusNumber: bus, VirtualDevice: types.VirtualDevice{Key: key}},
		}})
		for unit := range int32(scsiUnits) {
			if unit != ownUnit {
				places = append(places, diskPlace{key, unit})
			}
		}
	}
	if disks > len(places) {
		return nil, nil, fmt.Errorf("%w: spec.disks has %d disks, and beside what template %s has there is room for %d: remove disks, or controllers and disks of the template",
			platform.ErrUnsupported, disks, s.name, len(places))
	}
	return places[:disks], made, nil
}

// scsiBuses are the bus numbers of the SCSI controllers.
func (s *source) scsiBuses() (taken []int32) {
	for _, device := range s.devices {
		if scsi, is := device.(types.BaseVirtualSCSIController); is {
			taken = append(taken, scsi.GetVirtualSCSIController().BusNumber)
		}
	}
	return taken
}

// freeUnits are the places on the controller that the root disk hangs on.
func (s *source) freeUnits() (units []int32, controller int32, err error) {
	root := s.root()
	if root == nil {
		return nil, 0, fmt.Errorf("%w: template %s has no disk", platform.ErrInvalid, s.name)
	}
	controller = root.ControllerKey
	taken := []int32{}
	for _, device := range s.devices {
		if d := device.GetVirtualDevice(); d.ControllerKey == controller && d.UnitNumber != nil {
			taken = append(taken, *d.UnitNumber)
		}
	}
	most := int32(unitsEach)
	switch at := s.devices.FindByKey(controller).(type) {
	case types.BaseVirtualSCSIController:
		most = scsiUnits
		taken = append(taken, at.GetVirtualSCSIController().ScsiCtlrUnitNumber)
	case types.BaseVirtualSATAController:
		most = 30
	case *types.VirtualIDEController:
		most = 2
	default:
	}
	for unit := range most {
		if !slices.Contains(taken, unit) {
			units = append(units, unit)
		}
	}
	return units, controller, nil
}
