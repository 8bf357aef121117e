// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Whoever is told of something asks vCenter what it is. What is told once more and is as before must wake nobody: vCenter tells
// a guest's network with much beside its addresses, and the simulator tells of all virtual machines whenever one is made. What
// has changed must wake the machine, however it is told.
func TestMirrorTellsWhatIsNew(t *testing.T) {
	m := &mirror{}
	m.begin()
	at := types.ManagedObjectReference{Type: kindVM, Value: "vm-1"}
	property := func(name string, value any) types.PropertyChange {
		return types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign, Val: value}
	}
	network := func(addresses ...string) types.PropertyChange {
		return property(vmNetwork, types.ArrayOfGuestNicInfo{GuestNicInfo: []types.GuestNicInfo{{IpAddress: addresses, Connected: true}}})
	}
	whole := []types.PropertyChange{
		property(vmInstanceUUID, "u"), property(extraPath(machineKey), types.OptionValue{Key: machineKey, Value: "u"}), property(vmPower, types.VirtualMachinePowerStatePoweredOn),
	}
	for _, step := range []struct {
		what  string
		kind  types.ObjectUpdateKind
		told  []types.PropertyChange
		wakes bool
	}{
		{"it comes", types.ObjectUpdateKindEnter, whole, true},
		{"it comes once more", types.ObjectUpdateKindEnter, whole, false},
		{"it has an address", types.ObjectUpdateKindModify, []types.PropertyChange{property(vmAddress, "192.0.2.1"), network("192.0.2.1")}, true},
		{"the same address", types.ObjectUpdateKindModify, []types.PropertyChange{network("192.0.2.1")}, false},
		{"one more address", types.ObjectUpdateKindModify, []types.PropertyChange{network("192.0.2.1", "192.0.2.2")}, true},
		{"a part of its network", types.ObjectUpdateKindModify, []types.PropertyChange{property(vmNetwork+"[4000].ipAddress", []string{"192.0.2.3"})}, true},
		{"the same part", types.ObjectUpdateKindModify, []types.PropertyChange{property(vmNetwork+"[4000].ipAddress", []string{"192.0.2.4"})}, true},
		{"what it was before the part", types.ObjectUpdateKindModify, []types.PropertyChange{network("192.0.2.1", "192.0.2.2")}, true},
		{"the address is gone", types.ObjectUpdateKindModify, []types.PropertyChange{{Name: vmAddress, Op: types.PropertyChangeOpIndirectRemove}}, true},
		{"it is off", types.ObjectUpdateKindModify, []types.PropertyChange{property(vmPower, types.VirtualMachinePowerStatePoweredOff)}, true},
		{"it leaves", types.ObjectUpdateKindLeave, nil, true},
		{"it comes back", types.ObjectUpdateKindEnter, whole, true},
	} {
		var seen changes
		seen.take(&types.ObjectUpdate{Kind: step.kind, Obj: at, ChangeSet: step.told})
		if machines, _ := m.take(seen, time.Time{}); (len(machines) == 1) != step.wakes {
			t.Errorf("%s: told are %v, want that to be one is %t", step.what, machines, step.wakes)
		}
	}
	// A new stream tells everything anew, and nobody knows what has happened between.
	m.begin()
	var seen changes
	seen.take(&types.ObjectUpdate{Kind: types.ObjectUpdateKindEnter, Obj: at, ChangeSet: whole})
	if machines, _ := m.take(seen, time.Time{}); len(machines) != 1 {
		t.Errorf("a new stream tells of %v", machines)
	}
}
