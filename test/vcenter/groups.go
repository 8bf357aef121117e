// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Hosts are the names of the hosts of the cluster.
func (v *VCenter) Hosts() (names []string) {
	v.gate.Lock()
	defer v.gate.Unlock()
	for _, e := range v.model.Map().All("HostSystem") {
		if host, is := e.(*simulator.HostSystem); is {
			names = append(names, host.Name)
		}
	}
	slices.Sort(names)
	return names
}

// HostName is the name of a host.
func (v *VCenter) HostName(host types.ManagedObjectReference) string {
	v.gate.Lock()
	defer v.gate.Unlock()
	if found, is := v.model.Map().Get(host).(*simulator.HostSystem); is {
		return found.Name
	}
	return ""
}

// GroupHosts makes a group of hosts of the cluster.
func (v *VCenter) GroupHosts(ctx context.Context, name string, hosts ...string) error {
	group := &types.ClusterHostGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: name}}
	v.gate.Lock()
	for _, e := range v.model.Map().All("HostSystem") {
		if host, is := e.(*simulator.HostSystem); is && slices.Contains(hosts, host.Name) {
			group.Host = append(group.Host, host.Self)
		}
	}
	v.gate.Unlock()
	return v.changeGroup(ctx, types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, group)
}

// RemoveGroup removes a group of hosts or of virtual machines.
func (v *VCenter) RemoveGroup(ctx context.Context, name string) error {
	return v.changeGroup(ctx, types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: name}, nil)
}

// SetGroup makes a group of virtual machines hold these, and no others. A group that is not there is made.
func (v *VCenter) SetGroup(ctx context.Context, name string, uuids ...string) error {
	vms, err := v.refs(ctx, uuids)
	if err != nil {
		return err
	}
	all, err := v.Groups(ctx)
	if err != nil {
		return err
	}
	operation := types.ArrayUpdateOperationAdd
	if _, there := all[name]; there {
		operation = types.ArrayUpdateOperationEdit
	}
	return v.changeGroup(ctx, types.ArrayUpdateSpec{Operation: operation}, &types.ClusterVmGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: name}, Vm: vms})
}

func (v *VCenter) changeGroup(ctx context.Context, update types.ArrayUpdateSpec, info types.BaseClusterGroupInfo) error {
	return v.reconfigureCluster(ctx, types.ClusterConfigSpecEx{GroupSpec: []types.ClusterGroupSpec{{ArrayUpdateSpec: update, Info: info}}})
}

// Groups are the groups of virtual machines of the cluster by their names, each with instance UUIDs in order. A virtual machine
// that is not there any more is in none.
func (v *VCenter) Groups(ctx context.Context) (map[string][]string, error) {
	config, uuids, err := v.clusterConfig(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, g := range config.Group {
		if group, is := g.(*types.ClusterVmGroup); is {
			found[group.Name] = []string{}
			for _, vm := range group.Vm {
				if uuid := uuids[vm]; uuid != "" {
					found[group.Name] = append(found[group.Name], uuid)
				}
			}
			slices.Sort(found[group.Name])
		}
	}
	return found, nil
}

// Bindings are the rules of the cluster that bind virtual machines to hosts: by their names, how.
func (v *VCenter) Bindings(ctx context.Context) (map[string]string, error) {
	config, _, err := v.clusterConfig(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, r := range config.Rule {
		if rule, is := r.(*types.ClusterVmHostRuleInfo); is {
			found[rule.Name] = fmt.Sprintf("%s on %s, must: %t, enabled: %t", rule.VmGroupName, rule.AffineHostGroupName, isTrue(rule.Mandatory), isTrue(rule.Enabled))
		}
	}
	return found, nil
}

// Bind makes a rule that binds the virtual machines of a group to the hosts of one, enabled or not.
func (v *VCenter) Bind(ctx context.Context, name, vms, hosts string, on bool) error {
	rule := &types.ClusterVmHostRuleInfo{ClusterRuleInfo: enabled(name), VmGroupName: vms, AffineHostGroupName: hosts}
	rule.Enabled, rule.Mandatory = &on, new(true)
	return v.addRule(ctx, rule)
}

// Unbind removes such a rule.
func (v *VCenter) Unbind(ctx context.Context, name string) error {
	config, _, err := v.clusterConfig(ctx)
	if err != nil {
		return err
	}
	var spec types.ClusterConfigSpecEx
	for _, r := range config.Rule {
		if info := r.GetClusterRuleInfo(); info.Name == name {
			spec.RulesSpec = append(spec.RulesSpec, types.ClusterRuleSpec{
				ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: info.Key}, Info: r,
			})
		}
	}
	return v.reconfigureCluster(ctx, spec)
}

// clusterConfig is the configuration of the cluster, with the instance UUIDs of the virtual machines that it names.
func (v *VCenter) clusterConfig(ctx context.Context) (*types.ClusterConfigInfoEx, map[types.ManagedObjectReference]string, error) {
	v.gate.Lock()
	defer v.gate.Unlock()
	at, err := v.find(ctx, Datacenter+"/host/"+Cluster)
	if err != nil {
		return nil, nil, err
	}
	config, err := object.NewClusterComputeResource(v.Admin.Client, at).Configuration(ctx)
	if err != nil {
		return nil, nil, err
	}
	all, err := v.all(ctx)
	uuids := map[types.ManagedObjectReference]string{}
	for i := range all {
		uuids[all[i].Self] = all[i].Config.InstanceUuid
	}
	return config, uuids, err
}
