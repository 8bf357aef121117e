// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"maps"
	"slices"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// powerOff switches a virtual machine off. It returns the task that does it.
func (c *client) powerOff(ctx context.Context, vm ref) (ref, error) {
	return c.task(ctx, "PowerOffVM_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.PowerOffVM_Task(ctx, c.vim, &types.PowerOffVM_Task{This: vm.vim()})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// powerOn starts a virtual machine.
func (c *client) powerOn(ctx context.Context, vm ref) (ref, error) {
	return c.task(ctx, "PowerOnVM_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.PowerOnVM_Task(ctx, c.vim, &types.PowerOnVM_Task{This: vm.vim()})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// destroy removes a virtual machine or template with its disks.
func (c *client) destroy(ctx context.Context, vm ref) (ref, error) {
	return c.task(ctx, "Destroy_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.Destroy_Task(ctx, c.vim, &types.Destroy_Task{This: vm.vim()})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

// setExtra changes elements of the extra configuration; an empty value removes one.
func (c *client) setExtra(ctx context.Context, vm ref, values map[string]string) (ref, error) {
	return c.reconfigure(ctx, vm, types.VirtualMachineConfigSpec{ExtraConfig: extraConfig(values)})
}

func (c *client) reconfigure(ctx context.Context, vm ref, spec types.VirtualMachineConfigSpec) (ref, error) {
	return c.task(ctx, "ReconfigVM_Task", func(ctx context.Context) (types.ManagedObjectReference, error) {
		res, err := methods.ReconfigVM_Task(ctx, c.vim, &types.ReconfigVM_Task{This: vm.vim(), Spec: spec})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
}

func extraConfig(values map[string]string) []types.BaseOptionValue {
	var options []types.BaseOptionValue
	for _, key := range slices.Sorted(maps.Keys(values)) {
		options = append(options, &types.OptionValue{Key: key, Value: values[key]})
	}
	return options
}

// askToShutDown asks the guest to shut down.
func (c *client) askToShutDown(ctx context.Context, vm ref) error {
	return c.do(ctx, "ShutdownGuest", func(ctx context.Context) error {
		_, err := methods.ShutdownGuest(ctx, c.vim, &types.ShutdownGuest{This: vm.vim()})
		return err
	})
}

// task makes a call that begins a task, and returns the task.
func (c *client) task(ctx context.Context, verb string, call func(ctx context.Context) (types.ManagedObjectReference, error)) (ref, error) {
	var begun ref
	err := c.do(ctx, verb, func(ctx context.Context) error {
		r, err := call(ctx)
		begun = refOf(r)
		return err
	})
	return begun, err
}
