// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// list reads all virtual machines that vCenter shows us.
func (c *client) list(ctx context.Context) ([]vm, error) {
	content, err := c.retrieve(ctx, inView(c.view, kindVM, vmPaths()))
	if errors.Is(err, errNotFound) {
		return nil, fmt.Errorf("%w: the session's view has ended with its session", platform.ErrUnreachable)
	}
	if err != nil {
		return nil, err
	}
	var all []vm
	for i := range content {
		m, err := parseVM(&content[i])
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// capacity adds up what the clusters and hosts have.
func (c *client) capacity(ctx context.Context) (platform.Capacity, error) {
	var sum platform.Capacity
	var view ref
	err := c.do(ctx, "CreateContainerView", func(ctx context.Context) error {
		res, err := methods.CreateContainerView(ctx, c.vim, &types.CreateContainerView{
			This: *c.vim.ServiceContent.ViewManager, Container: c.vim.ServiceContent.RootFolder, Type: []string{"ComputeResource"}, Recursive: true,
		})
		if err == nil {
			view = refOf(res.Returnval)
		}
		return err
	})
	if err != nil {
		return sum, err
	}
	content, err := c.retrieve(ctx, inView(view, "ComputeResource", []string{"summary"}))
	_ = c.do(ctx, "DestroyView", func(ctx context.Context) error {
		_, err := methods.DestroyView(ctx, c.vim, &types.DestroyView{This: view.vim()})
		return err
	})
	if err != nil {
		return sum, err
	}
	for i := range content {
		values, err := properties(&content[i])
		if err != nil {
			return platform.Capacity{}, err
		}
		var summary types.ComputeResourceSummary
		switch s := values["summary"].(type) {
		case types.ComputeResourceSummary:
			summary = s
		case types.ClusterComputeResourceSummary:
			summary = s.ComputeResourceSummary
		}
		sum.CPUs += int32(summary.NumCpuThreads)
		sum.MemoryBytes += summary.TotalMemory
	}
	return sum, nil
}
