// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"slices"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	kindPool    = "ResourcePool"
	kindCluster = "ClusterComputeResource"
)

// cluster is what is read of a compute cluster: the hosts that DRS spreads virtual machines over, its rules, and the groups of
// virtual machines and of hosts that rules bind to each other.
type cluster struct {
	ref        ref
	name       string
	drs        bool
	rules      []rule
	vmGroups   []vmGroup
	hostGroups map[string][]ref
}

// ruleChange is what is changed of a cluster in one task.
type ruleChange struct {
	rules  []rule
	groups []vmGroup
	// more is whether something is to be changed after it that needs it.
	more bool
}

func (c ruleChange) none() bool { return len(c.rules) == 0 && len(c.groups) == 0 }

// rule is one rule of DRS.
type rule struct {
	key  int32
	name string
	// apart is whether it keeps virtual machines on different hosts; vms are these. off is whether it is disabled.
	apart bool
	off   bool
	vms   []ref
	info  types.ClusterAntiAffinityRuleSpec
	// bound is how it binds virtual machines to hosts; zero for another rule. removed is whether it is to be removed.
	bound   binding
	removed bool
}

// neighbours are virtual machines with the clusters that they run in.
type neighbours struct {
	vms      []vm
	clusters map[ref]cluster
	// in is the owner of the pool of each virtual machine: a cluster, or a host of its own.
	in map[ref]ref
}

// neighbours reads virtual machines and the clusters that they run in, in one round trip.
func (c *client) neighbours(ctx context.Context, vms ...ref) (neighbours, error) {
	spec := filter(kindVM, append(vmPaths(), "resourcePool"), vms...)
	toOwner := &types.TraversalSpec{Type: kindPool, Path: "owner"}
	toPool := &types.TraversalSpec{Type: kindVM, Path: "resourcePool", SelectSet: []types.BaseSelectionSpec{toOwner}}
	for i := range spec.ObjectSet {
		spec.ObjectSet[i].SelectSet = []types.BaseSelectionSpec{toPool}
	}
	spec.PropSet = append(spec.PropSet,
		types.PropertySpec{Type: kindPool, PathSet: []string{"owner"}},
		types.PropertySpec{Type: kindCluster, PathSet: []string{"name", "configurationEx"}})
	content, err := c.retrieve(ctx, spec)
	if err != nil {
		return neighbours{}, err
	}
	n := neighbours{clusters: map[ref]cluster{}, in: map[ref]ref{}}
	pools, owners := map[ref]ref{}, map[ref]ref{}
	for i := range content {
		at := refOf(content[i].Obj)
		values, err := properties(&content[i])
		if err != nil {
			return neighbours{}, err
		}
		owner, owned := values["owner"].(types.ManagedObjectReference)
		switch {
		case at.kind == kindVM:
			m, err := parseVM(&content[i])
			if err != nil {
				return neighbours{}, err
			}
			n.vms = append(n.vms, m)
			if pool, is := values["resourcePool"].(types.ManagedObjectReference); is {
				pools[at] = refOf(pool)
			}
		case at.kind == kindCluster:
			n.clusters[at] = parseCluster(at, values)
		case owned:
			owners[at] = refOf(owner)
		}
	}
	for _, m := range n.vms {
		n.in[m.ref] = owners[pools[m.ref]]
	}
	return n, nil
}

func parseCluster(at ref, values map[string]any) cluster {
	c := cluster{ref: at}
	c.name, _ = values["name"].(string)
	config, is := values["configurationEx"].(types.ClusterConfigInfoEx)
	if !is {
		return c
	}
	c.drs = config.DrsConfig.Enabled != nil && *config.DrsConfig.Enabled
	for _, r := range config.Rule {
		info := r.GetClusterRuleInfo()
		read := rule{key: info.Key, name: info.Name, off: info.Enabled == nil || !*info.Enabled}
		switch spec := r.(type) {
		case *types.ClusterAntiAffinityRuleSpec:
			read.apart, read.info = true, *spec
			read.vms = refsOf(spec.Vm)
		case *types.ClusterVmHostRuleInfo:
			read.bound = bindingOf(spec)
		}
		c.rules = append(c.rules, read)
	}
	c.vmGroups, c.hostGroups = groupsOf(config.Group)
	return c
}

func refsOf(all []types.ManagedObjectReference) (refs []ref) {
	for _, r := range all {
		refs = append(refs, refOf(r))
	}
	return refs
}

// changeRules changes rules and groups of a cluster in one task: a rule without a key is made, and an anti-affinity rule without
// virtual machines removed.
func (c *client) changeRules(ctx context.Context, at ref, change ruleChange) (ref, error) {
	spec := &types.ClusterConfigSpecEx{}
	for _, r := range change.rules {
		spec.RulesSpec = append(spec.RulesSpec, r.change())
	}
	for _, g := range change.groups {
		spec.GroupSpec = append(spec.GroupSpec, g.change())
	}
	return c.task(ctx, "ReconfigureComputeResource_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.ReconfigureComputeResource_Task(ctx, c.vim, &types.ReconfigureComputeResource_Task{This: at.vim(), Spec: spec, Modify: true})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

func (r rule) change() types.ClusterRuleSpec {
	info := r.info
	info.Vm = nil
	for _, vm := range r.vms {
		info.Vm = append(info.Vm, vm.vim())
	}
	operation := types.ArrayUpdateOperationEdit
	switch {
	case r.bound != binding{} && !r.removed:
		return types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd}, Info: r.bound.rule(r.name)}
	case len(r.vms) == 0:
		return types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationRemove, RemoveKey: r.key}}
	case r.key == 0:
		operation = types.ArrayUpdateOperationAdd
		info.Name, info.Enabled, info.UserCreated = r.name, new(true), new(true)
	}
	return types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation}, Info: &info}
}

// without is the rule without some virtual machines. A rule that has less than two left keeps nothing apart, and vCenter
// takes none like it: it is left with none, which removes it.
func (r rule) without(gone ...ref) rule {
	r.vms = slices.DeleteFunc(slices.Clone(r.vms), func(vm ref) bool { return slices.Contains(gone, vm) })
	if len(r.vms) < leastApart {
		r.vms = nil
	}
	return r
}

// leastApart is how many virtual machines a rule keeps apart at least.
const leastApart = 2
