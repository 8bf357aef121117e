// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"errors"
	"reflect"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// What the simulator has only one of, or never hides: several compute clusters, hosts of their own, a rule that is there
// twice, and what a session does not see. Whatever is changed is named here in full; all else stays.
func TestJoin(t *testing.T) {
	const group = "g"
	first, second, host := ref{kindCluster, "c1"}, ref{kindCluster, "c2"}, ref{"ComputeResource", "h1"}
	id := func(name string) platform.Identity { return platform.Identity{UUID: name, ManagementClusterID: "m"} }
	at := func(name string) ref { return ref{kindVM, name} }
	members := func(names ...string) (refs []ref) {
		for _, name := range names {
			refs = append(refs, at(name))
		}
		return refs
	}
	apart := func(key int32, names ...string) rule {
		return rule{key: key, name: ruleName(group), apart: true, vms: members(names...)}
	}
	for name, c := range map[string]struct {
		in    map[string]ref // where a and others are
		rules []rule         // of the first cluster
		want  []rule
		err   error
	}{
		"alone": {in: map[string]ref{"a": first}},
		"the other one is in another cluster": {
			in: map[string]ref{"a": first, "b": second},
		},
		"one is here and one in another cluster": {
			in:   map[string]ref{"a": first, "b": second, "c": first},
			want: []rule{apart(0, "a", "c")},
		},
		"there already": {
			in:    map[string]ref{"a": first, "b": first},
			rules: []rule{apart(7, "b", "a")},
		},
		"others have put theirs in": {
			in:    map[string]ref{"a": first, "b": first},
			rules: []rule{{key: 6, name: "by hand", apart: true, vms: members("a", "x")}, apart(7, "x", "b")},
			want:  []rule{apart(7, "x", "b", "a")},
		},
		"there twice": {
			in:    map[string]ref{"a": first, "b": first, "c": first},
			rules: []rule{apart(7, "a", "b"), apart(8, "b", "c")},
			want:  []rule{{key: 8, name: ruleName(group), apart: true}, apart(7, "a", "b", "c")},
		},
		"a rule of another kind has the name": {
			in:    map[string]ref{"a": first, "b": first},
			rules: []rule{{key: 7, name: ruleName(group)}},
			err:   platform.ErrForeign,
		},
		"both on a host of their own": {in: map[string]ref{"a": host, "b": host}, err: platform.ErrUnsupported},
		"the cluster is not seen":     {in: map[string]ref{"a": second, "b": second}, err: errNoAccess},
		"the pool is not seen":        {in: map[string]ref{"a": {}, "b": first}, err: errNoAccess},
		"gone":                        {in: map[string]ref{"b": first, "c": first}, err: errNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			n := neighbours{in: map[ref]ref{}, clusters: map[ref]cluster{first: {ref: first, name: "c1", drs: true, rules: c.rules}}}
			var others []platform.Identity
			for _, vmName := range []string{"a", "b", "c"} {
				where, there := c.in[vmName]
				if !there {
					continue
				}
				n.vms = append(n.vms, vm{ref: at(vmName), instanceUUID: vmName, mark: mark{machine: vmName, cluster: "m", group: group}})
				n.in[at(vmName)] = where
				if vmName != "a" {
					others = append(others, id(vmName))
				}
			}
			_, change, err := n.join(id("a"), others)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if !reflect.DeepEqual(change, c.want) {
				t.Errorf("changed are %+v, want %+v", change, c.want)
			}
		})
	}
}

// The group is made before the rule that names it, and goes after it. What is somebody's is left as it is, and whoever cannot
// be bound is told so.
func TestBinding(t *testing.T) {
	wanted := binding{vms: "ours", hosts: "rack", must: true}
	at := func(names ...string) (refs []ref) {
		for _, name := range names {
			refs = append(refs, ref{kindVM, name})
		}
		return refs
	}
	ours := func(names ...string) []vmGroup { return []vmGroup{{name: "ours", vms: at(names...), made: true}} }
	bound := rule{key: 7, name: "ours", bound: wanted}
	for name, c := range map[string]struct {
		in    cluster
		binds ruleChange
		frees ruleChange // of a
		err   error
	}{
		"the first": {in: cluster{}, binds: ruleChange{groups: []vmGroup{{name: "ours", vms: at("a", "b")}}, more: true}},
		"the rule is missing": {
			in: cluster{vmGroups: ours("a", "b")}, binds: ruleChange{rules: []rule{{name: "ours", bound: wanted}}},
			frees: ruleChange{groups: ours("b")},
		},
		"beside others": {
			in: cluster{vmGroups: ours("x"), rules: []rule{bound}}, binds: ruleChange{groups: ours("x", "a", "b")},
		},
		"there already": {in: cluster{vmGroups: ours("b", "a"), rules: []rule{bound}}, frees: ruleChange{groups: ours("b")}},
		"the last": {
			in: cluster{vmGroups: ours("a"), rules: []rule{bound}}, binds: ruleChange{groups: ours("a", "b")},
			frees: ruleChange{rules: []rule{{key: 7, name: "ours", bound: wanted, removed: true}}, more: true},
		},
		"the last, whose rule is gone": {
			in: cluster{vmGroups: ours("a")}, binds: ruleChange{groups: ours("a", "b"), more: true},
			frees: ruleChange{groups: []vmGroup{{name: "ours", made: true, removed: true, vms: []ref{}}}},
		},
		"the group was left empty": {
			in: cluster{vmGroups: ours()}, binds: ruleChange{groups: ours("a", "b"), more: true},
			frees: ruleChange{groups: []vmGroup{{name: "ours", made: true, removed: true}}},
		},
		"somebody's rule needs our group": {
			in:    cluster{vmGroups: ours("a"), rules: []rule{{key: 8, name: "theirs", bound: binding{vms: "ours", hosts: "x"}}}},
			binds: ruleChange{groups: ours("a", "b"), more: true}, frees: ruleChange{groups: []vmGroup{{name: "ours", made: true, vms: []ref{}}}},
		},
		"the rule is disabled": {
			in: cluster{vmGroups: ours("a", "b"), rules: []rule{{key: 7, name: "ours", bound: wanted, off: true}}}, err: platform.ErrUnsupported,
			frees: ruleChange{groups: ours("b")},
		},
		"the rule binds to other hosts": {
			in: cluster{rules: []rule{{key: 7, name: "ours", bound: binding{vms: "ours", hosts: "other", must: true}}}}, err: platform.ErrForeign,
		},
		"the rule says should": {
			in: cluster{rules: []rule{{key: 7, name: "ours", bound: binding{vms: "ours", hosts: "rack"}}}}, err: platform.ErrForeign,
		},
		"a rule of another kind": {in: cluster{rules: []rule{{key: 7, name: "ours", apart: true}}}, err: platform.ErrForeign},
		"hosts have the name":    {in: cluster{hostGroups: map[string][]ref{"ours": nil}}, err: platform.ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			next, err := c.in.bound(wanted, at("a", "b"))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || !reflect.DeepEqual(next, c.binds) {
				t.Errorf("binding changes %+v, %v, want %+v, %v", next, err, c.binds, c.err)
			}
			if next := c.in.unbound("ours", ref{kindVM, "a"}); !reflect.DeepEqual(next, c.frees) {
				t.Errorf("leaving changes %+v, want %+v", next, c.frees)
			}
		})
	}
}
