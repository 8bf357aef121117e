// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	_ "github.com/vmware/govmomi/pbm/simulator" // whose policies fit every datastore
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Orders are what clones were asked for, by the instance UUID of what was to be made: what vCenter was told, also where the
// simulator cannot show that it did it.
func (v *VCenter) Orders() map[string]types.VirtualMachineCloneSpec {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.orders)
}

// fulfil does what a clone was asked for and the simulator leaves out: it takes nothing from the configuration of a clone but
// its identity, extra configuration, devices, CPUs and memory, and from its source no reservations and limits. The gate is held by the caller.
func (v *VCenter) fulfil(ctx context.Context, body []byte, made any) error {
	method, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		return err
	}
	clone, is := method.Body.(*types.CloneVM_Task)
	if !is || clone.Spec.Config == nil {
		return fmt.Errorf("not a clone that is understood: %T", method.Body)
	}
	config := clone.Spec.Config
	v.mu.Lock()
	v.orders[config.InstanceUuid] = clone.Spec
	v.mu.Unlock()
	reference, is := made.(types.ManagedObjectReference)
	source, known := v.model.Map().Get(clone.This).(*simulator.VirtualMachine)
	if !is || !known {
		return nil // it has failed
	}
	v.layer(clone.This, clone.Spec, reference)
	rest := types.VirtualMachineConfigSpec{
		CpuAllocation:                cmp.Or(config.CpuAllocation, source.Config.CpuAllocation),
		MemoryAllocation:             cmp.Or(config.MemoryAllocation, source.Config.MemoryAllocation),
		MemoryReservationLockedToMax: config.MemoryReservationLockedToMax,
		Firmware:                     config.Firmware, BootOptions: config.BootOptions, Flags: config.Flags,
	}
	return wait(ctx)(object.NewVirtualMachine(v.Admin.Client, reference).Reconfigure(ctx, rest))
}

// Policy makes a storage policy, and returns its identifier.
func (v *VCenter) Policy(ctx context.Context, name string) (id string, err error) {
	service, err := pbm.NewClient(ctx, v.Admin.Client)
	if err != nil {
		return "", err
	}
	made, err := service.CreateProfile(ctx, pbmtypes.PbmCapabilityProfileCreateSpec{
		Name: name, Category: string(pbmtypes.PbmProfileCategoryEnumREQUIREMENT),
		ResourceType: pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)},
		Constraints:  &pbmtypes.PbmCapabilitySubProfileConstraints{},
	})
	if err != nil {
		return "", err
	}
	return made.UniqueId, nil
}

// Full has every call of a method refused because there is no room, until room is called.
func (v *VCenter) Full(method string) (room func()) {
	injector := v.model.Service.FaultInjector()
	injector.AddRule(&simulator.FaultInjectionRule{
		MethodName: method, ObjectType: "*", ObjectName: "*", Probability: 1, FaultType: simulator.FaultTypeInsufficientResourcesFault, Enabled: true,
	})
	return injector.ClearRules
}

// unfulfilled notes that something a clone was asked for was not done. Whoever looks at machines is told.
func (v *VCenter) unfulfilled(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = errors.Join(v.broken, err)
}
