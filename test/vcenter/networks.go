// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// networks is where the networks of the datacenter are.
const networks = Datacenter + "/network/"

// MakeNetworkFolder makes a folder for networks in another one, "" for the datacenter's own.
func (v *VCenter) MakeNetworkFolder(ctx context.Context, in, name string) error {
	return v.inNetworks(ctx, in, func(folder *object.Folder) error {
		_, err := folder.CreateFolder(ctx, name)
		return err
	})
}

// MakeSwitch makes a distributed switch in a folder, of which all hosts are members.
func (v *VCenter) MakeSwitch(ctx context.Context, in, name string) error {
	return v.inNetworks(ctx, in, func(folder *object.Folder) error {
		spec := types.DVSCreateSpec{ConfigSpec: &types.VMwareDVSConfigSpec{DVSConfigSpec: types.DVSConfigSpec{Name: name}}}
		task, err := folder.CreateDVS(ctx, spec)
		if err != nil {
			return err
		}
		made, err := task.WaitForResult(ctx)
		if err != nil {
			return err
		}
		reference, is := made.Result.(types.ManagedObjectReference)
		if !is {
			return fmt.Errorf("the task has made %v", made.Result)
		}
		members := &types.DVSConfigSpec{}
		for _, host := range v.model.Map().All("HostSystem") {
			members.Host = append(members.Host, types.DistributedVirtualSwitchHostMemberConfigSpec{
				Operation: string(types.ConfigSpecOperationAdd), Host: host.Reference(),
			})
		}
		return wait(ctx)(object.NewDistributedVirtualSwitch(v.Admin.Client, reference).Reconfigure(ctx, members))
	})
}

func (v *VCenter) inNetworks(ctx context.Context, path string, do func(*object.Folder) error) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	folder, err := v.find(ctx, networks+path)
	if err != nil {
		return err
	}
	return do(object.NewFolder(v.Admin.Client, folder))
}

// MakePortGroup makes a port group on a distributed switch, and returns its reference. It may have the name of another, as those
// of NSX may.
func (v *VCenter) MakePortGroup(ctx context.Context, on, name string) (reference string, err error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	found, err := v.find(ctx, networks+on)
	if err != nil {
		return "", err
	}
	before := v.portGroups()
	spec := types.DVPortgroupConfigSpec{
		Name: name, NumPorts: 8, Type: string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding),
		BackingType: string(types.DistributedVirtualPortgroupBackingTypeNsx),
	}
	dvs := object.NewDistributedVirtualSwitch(v.Admin.Client, found)
	if err := wait(ctx)(dvs.AddPortgroup(ctx, []types.DVPortgroupConfigSpec{spec})); err != nil {
		return "", err
	}
	for reference := range v.portGroups() {
		if !before[reference] {
			return reference, nil
		}
	}
	return "", fmt.Errorf("no port group was made on %s", on)
}

func (v *VCenter) portGroups() map[string]bool {
	all := map[string]bool{}
	for _, e := range v.model.Map().All("DistributedVirtualPortgroup") {
		all[e.Reference().Value] = true
	}
	return all
}
