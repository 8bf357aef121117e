// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

// shelves reads the datastores of the hosts that machines in a resource pool run on, and how many of these hosts work, in one
// round trip. Where a group of hosts is named, only its hosts count.
func (c *client) shelves(ctx context.Context, pool ref, group string) (all []shelf, working int, err error) {
	spec := filter(pool.kind, []string{ownerPath}, pool)
	toHosts := &types.TraversalSpec{Type: "ComputeResource", Path: "host"}
	toDatastores := &types.TraversalSpec{Type: "ComputeResource", Path: "datastore"}
	spec.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{
		Type: pool.kind, Path: ownerPath, SelectSet: []types.BaseSelectionSpec{toHosts, toDatastores},
	}}
	spec.PropSet = append(spec.PropSet,
		types.PropertySpec{Type: kindHost, PathSet: []string{connectedPath, maintainedPath}},
		types.PropertySpec{Type: kindDatastore, PathSet: []string{"summary", "host"}})
	if group != "" {
		spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kindCluster, PathSet: []string{"configurationEx"}})
	}
	content, err := c.retrieve(ctx, spec)
	if err != nil {
		return nil, 0, err
	}
	works := map[ref]bool{}
	var groups map[string][]ref
	mounts := map[ref][]types.DatastoreHostMount{}
	for i := range content {
		at := refOf(content[i].Obj)
		values, err := properties(&content[i])
		if err != nil {
			return nil, 0, err
		}
		switch at.kind {
		case kindCluster:
			groups = parseCluster(at, values).hostGroups
		case kindHost:
			works[at] = hostWorks(values)
		case kindDatastore:
			if o, on, is := shelfOf(at, values); is {
				all, mounts[at] = append(all, o), on
			}
		}
	}
	for host, is := range works {
		if works[host] = is && (group == "" || slices.Contains(groups[group], host)); works[host] {
			working++
		}
	}
	for i, o := range all {
		all[i].mounted = mountedOnSome(mounts[o.ref], works)
	}
	return all, working, nil
}

// mountedOnSome counts the hosts that work and have a datastore mounted to write to.
func mountedOnSome(mounts []types.DatastoreHostMount, works map[ref]bool) (n int) {
	for _, m := range mounts {
		if works[refOf(m.Key)] && canWrite(m.MountInfo) {
			n++
		}
	}
	return n
}

// shelfOf is a datastore as it was read; it is none where its summary is not seen.
func shelfOf(at ref, values map[string]any) (o shelf, mounts []types.DatastoreHostMount, is bool) {
	summary, is := values["summary"].(types.DatastoreSummary)
	normal := summary.MaintenanceMode == "" || summary.MaintenanceMode == string(types.DatastoreSummaryMaintenanceModeStateNormal)
	mounted, _ := values["host"].(types.ArrayOfDatastoreHostMount)
	return shelf{ref: at, name: summary.Name, free: summary.FreeSpace, open: summary.Accessible && normal}, mounted.DatastoreHostMount, is
}

// hostWorks tells whether something can be made and run on a host now, by what was read of it.
func hostWorks(values map[string]any) bool {
	return values[connectedPath] == types.HostSystemConnectionStateConnected && values[maintainedPath] == false
}

func canWrite(mount types.HostMountInfo) bool {
	isSet := func(flag *bool) bool { return flag == nil || *flag }
	return isSet(mount.Accessible) && isSet(mount.Mounted) && mount.AccessMode != string(types.HostMountModeReadOnly)
}
