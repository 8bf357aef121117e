// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25/types"
)

// binding is how a rule of DRS binds the virtual machines of a group to the hosts of another one: they must run there, or should.
type binding struct {
	vms, hosts string
	must       bool
}

func bindingOf(info *types.ClusterVmHostRuleInfo) binding {
	return binding{vms: info.VmGroupName, hosts: info.AffineHostGroupName, must: info.Mandatory != nil && *info.Mandatory}
}

// rule is a new rule that binds.
func (b binding) rule(name string) *types.ClusterVmHostRuleInfo {
	return &types.ClusterVmHostRuleInfo{
		ClusterRuleInfo: types.ClusterRuleInfo{Name: name, Enabled: new(true), Mandatory: &b.must, UserCreated: new(true)},
		VmGroupName:     b.vms, AffineHostGroupName: b.hosts,
	}
}

// vmGroup is a group of virtual machines.
type vmGroup struct {
	name string
	vms  []ref
	info types.ClusterVmGroup
	// made is whether it exists, and removed whether it is to be removed.
	made, removed bool
}

func (g vmGroup) change() types.ClusterGroupSpec {
	if g.removed {
		return types.ClusterGroupSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: g.name}}
	}
	info, operation := g.info, types.ArrayUpdateOperationEdit
	if !g.made {
		info.Name, info.UserCreated, operation = g.name, new(true), types.ArrayUpdateOperationAdd
	}
	info.Vm = nil
	for _, vm := range g.vms {
		info.Vm = append(info.Vm, vm.vim())
	}
	return types.ClusterGroupSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation}, Info: &info}
}

// groupsOf returns the groups of a cluster.
func groupsOf(all []types.BaseClusterGroupInfo) (vms []vmGroup, hosts map[string][]ref) {
	hosts = map[string][]ref{}
	for _, g := range all {
		switch info := g.(type) {
		case *types.ClusterVmGroup:
			vms = append(vms, vmGroup{name: info.Name, vms: refsOf(info.Vm), info: *info, made: true})
		case *types.ClusterHostGroup:
			hosts[info.Name] = refsOf(info.Host)
		}
	}
	return vms, hosts
}

// hostView is the cluster of a resource pool with the hosts that work, each with whether it has a datastore mounted to write to.
type hostView struct {
	cluster
	working map[ref]bool
}

// hostView reads the cluster of a resource pool and its hosts, in one round trip.
func (c *client) hostView(ctx context.Context, pool, datastore ref) (hostView, error) {
	spec := filter(pool.kind, []string{ownerPath}, pool)
	spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{
		Type: pool.kind, Path: ownerPath, SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ComputeResource", Path: "host"}},
	}}
	spec.PropSet = append(spec.PropSet,
		types.PropertySpec{Type: kindCluster, PathSet: []string{"name", "configurationEx"}},
		types.PropertySpec{Type: kindHost, PathSet: []string{connectedPath, maintainedPath}})
	content, err := c.retrieve(ctx, spec, filter(kindDatastore, []string{"host"}, datastore))
	if err != nil {
		return hostView{}, err
	}
	found := hostView{working: map[ref]bool{}}
	var mounts []types.DatastoreHostMount
	for i := range content {
		at := refOf(content[i].Obj)
		values, err := properties(&content[i])
		switch {
		case err != nil:
			return hostView{}, err
		case at.kind == kindCluster:
			found.cluster = parseCluster(at, values)
		case at.kind == kindHost && hostWorks(values):
			found.working[at] = false
		case at.kind == kindDatastore:
			all, _ := values["host"].(types.ArrayOfDatastoreHostMount)
			mounts = all.DatastoreHostMount
		}
	}
	if found.ref.zero() {
		return hostView{}, fmt.Errorf("%w: the cluster of the resource pool", errNotFound)
	}
	for _, m := range mounts {
		if _, works := found.working[refOf(m.Key)]; works && canWrite(m.MountInfo) {
			found.working[refOf(m.Key)] = true
		}
	}
	return found, nil
}
