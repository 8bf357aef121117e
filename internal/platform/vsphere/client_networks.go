// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	kindFolder    = "Folder"
	kindNetwork   = "Network"
	kindOpaque    = "OpaqueNetwork"
	kindPortGroup = "DistributedVirtualPortgroup"
	kindSwitch    = "DistributedVirtualSwitch"
	childPath     = "childEntity"
	portsPath     = "portgroup"
)

// networks reads all networks below a folder, with the folders and switches that they are in, in one round trip. What the session
// may not read of one of them hides no other.
func (c *client) networks(ctx context.Context, root ref) (networkTree, error) {
	const down = "down"
	spec := filter(kindFolder, []string{"name", parentPath}, root)
	spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{
		SelectionSpec: types.SelectionSpec{Name: down}, Type: kindFolder, Path: childPath,
		SelectSet: []types.BaseSelectionSpec{&types.SelectionSpec{Name: down}},
	}}
	spec.PropSet = append(spec.PropSet,
		types.PropertySpec{Type: kindNetwork, PathSet: []string{"name", parentPath}},
		types.PropertySpec{Type: kindSwitch, PathSet: []string{"name", parentPath, portsPath}})
	content, err := c.retrieve(ctx, spec)
	tree := networkTree{root: root}
	for i := range content {
		n := networkNode{ref: refOf(content[i].Obj)}
		for _, p := range content[i].PropSet {
			switch value := p.Val.(type) {
			case string:
				n.name = value
			case types.ManagedObjectReference:
				n.parent = refOf(value)
			case types.ArrayOfManagedObjectReference:
				for _, port := range value.ManagedObjectReference {
					n.ports = append(n.ports, refOf(port))
				}
			}
		}
		tree.nodes = append(tree.nodes, n)
	}
	return tree, err
}
