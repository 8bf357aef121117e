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
