// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// taskAge is how long a task that has ended is among the recent ones. vCenter keeps them for ten minutes.
const taskAge = 3 * time.Second

// settlesWithin is how long to wait for tasks to end. They take milliseconds; the rest is for a machine under load.
const settlesWithin = 30 * time.Second

// forgetTasks takes tasks that have ended out of the list of recent ones. The simulator never does, and looks at all of them
// with every change that it tells of. The gate is held by the caller.
func (v *VCenter) forgetTasks() {
	ctx := v.model.Service.Context
	manager, is := ctx.Map.Get(*v.Admin.ServiceContent.TaskManager).(*simulator.TaskManager)
	if !is || time.Since(v.forgot) < time.Second {
		return
	}
	v.forgot = time.Now()
	ctx.WithLock(manager, func() {
		recent := slices.DeleteFunc(slices.Clone(manager.RecentTask), func(r types.ManagedObjectReference) bool {
			task, is := ctx.Map.Get(r).(*simulator.Task)
			return !is || task.Info.CompleteTime != nil && time.Since(*task.Info.CompleteTime) > taskAge
		})
		if len(recent) < len(manager.RecentTask) {
			ctx.Update(manager, []types.PropertyChange{{Name: "recentTask", Val: recent}})
		}
	})
}

// settle waits until every task has ended, those included that nobody is told of: the simulator says that it has destroyed
// something before it has removed its files. The gate is held by the caller.
func (v *VCenter) settle() {
	ctx := v.model.Service.Context
	manager, is := ctx.Map.Get(*v.Admin.ServiceContent.TaskManager).(*simulator.TaskManager)
	if !is {
		return
	}
	for end := time.Now().Add(settlesWithin); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		goesOn := false
		ctx.WithLock(manager, func() {
			goesOn = slices.ContainsFunc(manager.RecentTask, func(r types.ManagedObjectReference) bool {
				task, is := ctx.Map.Get(r).(*simulator.Task)
				return is && task.Info.CompleteTime == nil
			})
		})
		if !goesOn {
			return
		}
	}
}
