// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// account is the user as vCenter names it since the last login.
func (c *client) account() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loggedInAs
}

// granted returns the privileges that the user has on each site, those of its groups and those that come from above included,
// in one round trip. It needs System.View on each.
func (c *client) granted(ctx context.Context, sites []site) (map[ref][]string, error) {
	req := types.FetchUserPrivilegeOnEntities{This: *c.vim.ServiceContent.AuthorizationManager, UserName: c.account()}
	for _, at := range sites {
		if vim := at.ref.vim(); !slices.Contains(req.Entities, vim) {
			req.Entities = append(req.Entities, vim)
		}
	}
	granted := map[ref][]string{}
	err := c.do(ctx, "FetchUserPrivilegeOnEntities", func(ctx context.Context) error {
		res, err := methods.FetchUserPrivilegeOnEntities(ctx, c.vim, &req)
		if err != nil {
			return err
		}
		for _, entity := range res.Returnval {
			granted[refOf(entity.Entity)] = entity.Privileges
		}
		return nil
	})
	return granted, unseen(err)
}

// parents returns the folders that virtual machines are in, each once, in a stable order.
func (c *client) parents(ctx context.Context, of []ref) ([]site, error) {
	if len(of) == 0 {
		return nil, nil
	}
	spec := filter(kindVM, []string{"parent"}, of...)
	for i := range spec.ObjectSet {
		spec.ObjectSet[i].SelectSet = []types.BaseSelectionSpec{&types.TraversalSpec{Type: kindVM, Path: "parent"}}
	}
	spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kindFolder, PathSet: []string{"name"}})
	content, err := c.retrieve(ctx, spec)
	if err != nil {
		return nil, err
	}
	var folders []site
	for i := range content {
		if content[i].Obj.Type != kindFolder {
			continue
		}
		values, err := properties(&content[i])
		if err != nil {
			return nil, err
		}
		name, _ := values["name"].(string)
		folders = append(folders, site{on: onImages, path: name, ref: refOf(content[i].Obj)})
	}
	slices.SortFunc(folders, func(a, b site) int { return strings.Compare(a.path+a.ref.value, b.path+b.ref.value) })
	return slices.Compact(folders), nil
}
