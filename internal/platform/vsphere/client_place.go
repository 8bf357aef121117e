// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	kindHost       = "HostSystem"
	kindDatastore  = "Datastore"
	connectedPath  = "runtime.connectionState"
	maintainedPath = "runtime.inMaintenanceMode"
)

// backing is what an interface is connected to.
type backing struct {
	info types.BaseVirtualDeviceBackingInfo
}

// lookup returns the object at a path of the inventory.
func (c *client) lookup(ctx context.Context, path string) (ref, error) {
	var found ref
	err := c.do(ctx, "FindByInventoryPath", func(ctx context.Context) error {
		res, err := methods.FindByInventoryPath(ctx, c.vim, &types.FindByInventoryPath{This: *c.vim.ServiceContent.SearchIndex, InventoryPath: path})
		found = ref{}
		if err == nil && res.Returnval != nil {
			found = refOf(*res.Returnval)
		}
		return err
	})
	if err == nil && found.zero() {
		err = errNotFound
	}
	return found, unseen(err)
}

// reference reads a property that is a reference to another object.
func (c *client) reference(ctx context.Context, of ref, path string) (ref, error) {
	content, err := c.retrieve(ctx, filter(of.kind, []string{path}, of))
	if err != nil {
		return ref{}, err
	}
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return ref{}, err
		}
		if found, is := values[path].(types.ManagedObjectReference); is {
			return refOf(found), nil
		}
	}
	return ref{}, fmt.Errorf("%w: %s of %s", errNotFound, path, of.value)
}

// mountedOn returns the hosts that have a datastore mounted.
func (c *client) mountedOn(ctx context.Context, datastore ref) ([]ref, error) {
	content, err := c.retrieve(ctx, filter(datastore.kind, []string{"host"}, datastore))
	if err != nil {
		return nil, err
	}
	var hosts []ref
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return nil, err
		}
		mounts, _ := values["host"].(types.ArrayOfDatastoreHostMount)
		for _, mount := range mounts.DatastoreHostMount {
			if mount.MountInfo.Accessible == nil || *mount.MountInfo.Accessible {
				hosts = append(hosts, refOf(mount.Key))
			}
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: a host that has the datastore mounted", errNotFound)
	}
	return hosts, nil
}

// hostsBehind returns the hosts that belong to the cluster or host of a resource pool.
func (c *client) hostsBehind(ctx context.Context, pool ref) ([]ref, error) {
	const hostPath = "host"
	spec := filter(pool.kind, []string{ownerPath}, pool)
	spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{Type: pool.kind, Path: ownerPath}}
	spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: "ComputeResource", PathSet: []string{hostPath}})
	content, err := c.retrieve(ctx, spec)
	if err != nil {
		return nil, err
	}
	var hosts []ref
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return nil, err
		}
		found, _ := values[hostPath].(types.ArrayOfManagedObjectReference)
		for _, host := range found.ManagedObjectReference {
			hosts = append(hosts, refOf(host))
		}
	}
	return hosts, nil
}

// working returns a host that is connected and not in maintenance.
func (c *client) working(ctx context.Context, hosts []ref) (ref, error) {
	content, err := c.retrieve(ctx, filter(hosts[0].kind, []string{connectedPath, maintainedPath}, hosts...))
	if err != nil {
		return ref{}, err
	}
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return ref{}, err
		}
		if hostWorks(values) {
			return refOf(content[i].Obj), nil
		}
	}
	return ref{}, fmt.Errorf("of the %d hosts that have the datastore mounted %w: bring one back", len(hosts), errNoHost)
}

// backing returns what an interface in a network is connected to. The switch of a port group is read with it.
func (c *client) backing(ctx context.Context, network ref, name string) (backing, error) {
	switch network.kind {
	case kindNetwork:
		return backing{&types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: name},
		}}, nil
	case kindOpaque:
		content, err := c.retrieve(ctx, filter(network.kind, []string{"summary"}, network))
		if err != nil {
			return backing{}, err
		}
		return opaqueBacking(content)
	case kindPortGroup:
		const toSwitch = "config.distributedVirtualSwitch"
		spec := filter(network.kind, []string{"key"}, network)
		spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{Type: network.kind, Path: toSwitch}}
		spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kindSwitch, PathSet: []string{"uuid"}})
		content, err := c.retrieve(ctx, spec)
		if err != nil {
			return backing{}, err
		}
		return portBacking(content)
	default:
		return backing{}, fmt.Errorf("%w: a network; it is a %s", errNotFound, network.kind)
	}
}

func portBacking(content []types.ObjectContent) (backing, error) {
	var port types.DistributedVirtualSwitchPortConnection
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return backing{}, err
		}
		if key, is := values["key"].(string); is {
			port.PortgroupKey = key
		}
		if uuid, is := values["uuid"].(string); is {
			port.SwitchUuid = uuid
		}
	}
	if port.PortgroupKey == "" || port.SwitchUuid == "" {
		return backing{}, fmt.Errorf("%w: the switch of the port group; System.Read on it is needed", errNotFound)
	}
	return backing{&types.VirtualEthernetCardDistributedVirtualPortBackingInfo{Port: port}}, nil
}

func opaqueBacking(content []types.ObjectContent) (backing, error) {
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return backing{}, err
		}
		if summary, is := values["summary"].(types.OpaqueNetworkSummary); is {
			return backing{&types.VirtualEthernetCardOpaqueNetworkBackingInfo{
				OpaqueNetworkId: summary.OpaqueNetworkId, OpaqueNetworkType: summary.OpaqueNetworkType,
			}}, nil
		}
	}
	return backing{}, fmt.Errorf("%w: the summary of the network", errNotFound)
}
