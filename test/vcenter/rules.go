// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// Rules are the rules of the cluster by their names, each with the instance UUIDs of the virtual machines that it keeps on
// different hosts, in order. Two rules of one name are an error.
func (v *VCenter) Rules(ctx context.Context) (map[string][]string, error) {
	config, uuids, err := v.clusterConfig(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, rule := range config.Rule {
		name := rule.GetClusterRuleInfo().Name
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("there are two rules %s", name)
		}
		found[name] = []string{}
		if apart, is := rule.(*types.ClusterAntiAffinityRuleSpec); is {
			for _, vm := range apart.Vm {
				found[name] = append(found[name], uuids[vm])
			}
			slices.Sort(found[name])
		}
	}
	return found, nil
}

// AddRule makes a rule that keeps virtual machines on different hosts.
func (v *VCenter) AddRule(ctx context.Context, name string, uuids ...string) error {
	vms, err := v.refs(ctx, uuids)
	if err != nil {
		return err
	}
	return v.addRule(ctx, &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: enabled(name), Vm: vms})
}

// AddOpposite makes a rule that keeps virtual machines on the same host.
func (v *VCenter) AddOpposite(ctx context.Context, name string, uuids ...string) error {
	vms, err := v.refs(ctx, uuids)
	if err != nil {
		return err
	}
	return v.addRule(ctx, &types.ClusterAffinityRuleSpec{ClusterRuleInfo: enabled(name), Vm: vms})
}

func enabled(name string) types.ClusterRuleInfo {
	return types.ClusterRuleInfo{Name: name, Enabled: new(true)}
}

func (v *VCenter) refs(ctx context.Context, uuids []string) ([]types.ManagedObjectReference, error) {
	var vms []types.ManagedObjectReference
	for _, uuid := range uuids {
		vm, err := v.vm(ctx, uuid)
		if err != nil {
			return nil, err
		}
		vms = append(vms, vm.Reference())
	}
	return vms, nil
}

func (v *VCenter) addRule(ctx context.Context, rule types.BaseClusterRuleInfo) error {
	return v.reconfigureCluster(ctx, types.ClusterConfigSpecEx{RulesSpec: []types.ClusterRuleSpec{
		{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: rule},
	}})
}

// DisableRule disables a rule that keeps virtual machines on different hosts.
func (v *VCenter) DisableRule(ctx context.Context, name string) error {
	return v.changeRule(ctx, name, func(apart *types.ClusterAntiAffinityRuleSpec) types.ArrayUpdateSpec {
		apart.Enabled = new(false)
		return types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationEdit}
	})
}

// RemoveRule removes such a rule.
func (v *VCenter) RemoveRule(ctx context.Context, name string) error {
	return v.changeRule(ctx, name, func(apart *types.ClusterAntiAffinityRuleSpec) types.ArrayUpdateSpec {
		return types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: apart.Key}
	})
}

func (v *VCenter) changeRule(ctx context.Context, name string, change func(*types.ClusterAntiAffinityRuleSpec) types.ArrayUpdateSpec) error {
	at, err := v.find(ctx, Datacenter+"/host/"+Cluster)
	if err != nil {
		return err
	}
	config, err := object.NewClusterComputeResource(v.Admin.Client, at).Configuration(ctx)
	if err != nil {
		return err
	}
	var spec types.ClusterConfigSpecEx
	for _, r := range config.Rule {
		if apart, is := r.(*types.ClusterAntiAffinityRuleSpec); is && apart.Name == name {
			spec.RulesSpec = append(spec.RulesSpec, types.ClusterRuleSpec{ArrayUpdateSpec: change(apart), Info: apart})
		}
	}
	return v.reconfigureCluster(ctx, spec)
}

// SetDRS turns DRS of the cluster on or off.
func (v *VCenter) SetDRS(ctx context.Context, enabled bool) error {
	return v.reconfigureCluster(ctx, types.ClusterConfigSpecEx{DrsConfig: &types.ClusterDrsConfigInfo{Enabled: &enabled}})
}

func (v *VCenter) reconfigureCluster(ctx context.Context, spec types.ClusterConfigSpecEx) error {
	v.gate.Lock()
	defer v.gate.Unlock()
	at, err := v.find(ctx, Datacenter+"/host/"+Cluster)
	if err != nil {
		return err
	}
	return wait(ctx)(object.NewClusterComputeResource(v.Admin.Client, at).Reconfigure(ctx, &spec, true))
}
