// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"bytes"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// NoRoom has nothing started any more until room is called: the start inside a clone fails as vCenter is documented to have it fail,
// with the virtual machine made and off and the task ended in error, and starts by themselves are refused. The simulator fails no
// start: the clone is made without one, and its task fails afterwards.
func (v *VCenter) NoRoom() (room func()) {
	set := func(full bool) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.noRoom = full
	}
	set(true)
	refused := v.Full("PowerOnVM_Task")
	return func() { refused(); set(false) }
}

const (
	startsAtOnce = "<powerOn>true</powerOn>"
	staysOff     = "<powerOn>false</powerOn>"
)

// withoutStart takes the start out of a clone that is to fail at it. failing is whether it is.
func (v *VCenter) withoutStart(method string, body []byte) (changed []byte, failing bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.noRoom || method != "CloneVM_Task" || !bytes.Contains(body, []byte(startsAtOnce)) {
		return body, false
	}
	return bytes.Replace(body, []byte(startsAtOnce), []byte(staysOff), 1), true
}

// failStart has a task that has succeeded be one that failed for want of room. The gate is held by the caller.
func (v *VCenter) failStart(ended types.ManagedObjectReference) {
	task, is := v.model.Map().Get(ended).(*simulator.Task)
	if !is || task.Info.State != types.TaskInfoStateSuccess {
		return
	}
	ctx := v.model.Service.Context
	ctx.WithLock(task, func() {
		ctx.Update(task, []types.PropertyChange{
			{Name: "info.state", Val: types.TaskInfoStateError},
			{Name: "info.result", Val: nil},
			{Name: "info.error", Val: &types.LocalizedMethodFault{
				Fault: &types.InsufficientResourcesFault{}, LocalizedMessage: "no host has room for the virtual machine",
			}},
		})
	})
}
