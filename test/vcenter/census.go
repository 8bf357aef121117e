// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Counted are the virtual machines that have one value of an element of the extra configuration.
type Counted struct {
	Count int
	// Running is whether one of them runs.
	Running bool
}

// Census counts virtual machines by the value of an element of their extra configuration. It looks beside the API, which takes
// long for many virtual machines and would keep everybody else waiting.
func (v *VCenter) Census(key string) map[string]Counted {
	v.gate.Lock()
	defer v.gate.Unlock()
	found := map[string]Counted{}
	for _, e := range v.model.Map().All("VirtualMachine") {
		vm, is := e.(*simulator.VirtualMachine)
		if !is || vm.Config == nil {
			continue
		}
		for _, option := range vm.Config.ExtraConfig {
			o := option.GetOptionValue()
			if value, text := o.Value.(string); o.Key == key && text && value != "" {
				c := found[value]
				c.Count++
				c.Running = c.Running || vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
				found[value] = c
			}
		}
	}
	return found
}
