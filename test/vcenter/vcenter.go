// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vcenter is a simulated vCenter of a test's own, with the hands of a person on it, and doors through which programs
// reach it. A door understands just enough of the protocol to tell which method a call names, and can hold, drop or lose
// calls. It knows neither the adapter nor what the calls hold. Only tests import it.
//
// The simulator can lock itself up for ever when something is made while somebody waits for changes: it takes the locks of a
// view and of a virtual machine in both orders. So everything that changes something has the simulator for itself until it
// has ended, one after another, and a wait for changes is a question that is repeated in between. A real vCenter does many
// things at once: what takes how long here says nothing about one. Who comes through a door is told of changes by a collector of
// ours, which reads what has changed once; everything else is the simulator's own.
package vcenter

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Names in the inventory.
const (
	Datacenter = "DC0"
	Datastore  = "LocalDS_0"
	Cluster    = "DC0_C0"
	Network    = "DC0_DVPG0"
	User       = "ingot@vsphere.local"
	Password   = "correct horse"
)

// VCenter is one simulated vCenter.
type VCenter struct {
	model  *simulator.Model
	server *simulator.Server
	// Admin is a session of a person who may do everything.
	Admin *govmomi.Client

	// gate is held for writing by what changes something, and for reading by what looks at many things.
	gate sync.RWMutex
	// forgot is when tasks that have ended were last forgotten.
	forgot time.Time

	leases leases
	// under is what linked clones were made from. It is read and written with the gate.
	under map[types.ManagedObjectReference]types.ManagedObjectReference

	mu     sync.Mutex
	noRoom bool                                     // whether starts inside clones fail
	asked  map[string]int                           // by instance UUID
	orders map[string]types.VirtualMachineCloneSpec // by instance UUID
	broken error                                    // what the simulator could not be made to do
}

// Start starts a vCenter with one datacenter, one cluster, and one virtual machine that is somebody's.
func Start(ctx context.Context) (*VCenter, error) {
	model := simulator.VPX()
	model.Host, model.Cluster, model.ClusterHost, model.Pool, model.Datastore, model.Machine = 0, 1, 2, 1, 2, 1
	if err := model.Create(); err != nil {
		return nil, fmt.Errorf("vCenter's inventory: %w", err)
	}
	tells := &collectors{}
	tells.Self = model.ServiceContent.PropertyCollector
	model.Map().Put(tells)
	v := &VCenter{model: model, asked: map[string]int{}, orders: map[string]types.VirtualMachineCloneSpec{}, under: map[types.ManagedObjectReference]types.ManagedObjectReference{}}
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{User: url.UserPassword(User, Password)}
	v.server = model.Service.NewServer()
	address := *v.server.URL
	address.User = url.UserPassword(User, Password)
	admin, err := govmomi.NewClient(ctx, &address, true)
	if err != nil {
		v.server.Close()
		model.Remove()
		return nil, fmt.Errorf("the administrator's login: %w", err)
	}
	v.Admin = admin
	return v, nil
}

// Stop ends the vCenter. All sessions must have ended.
func (v *VCenter) Stop(ctx context.Context) {
	_ = v.Admin.Logout(ctx)
	v.server.Close()
	v.model.Remove()
}

// Asked is how often the guest of a virtual machine was asked to shut down.
func (v *VCenter) Asked(uuid string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked[uuid]
}

// Sessions is how many sessions there are, the administrator's apart.
func (v *VCenter) Sessions(ctx context.Context) (int, error) {
	var manager mo.SessionManager
	err := v.Admin.RetrieveOne(ctx, *v.Admin.ServiceContent.SessionManager, []string{"sessionList"}, &manager)
	return len(manager.SessionList) - 1, err
}

// EndSessions ends all sessions but the administrator's, as a restart of vCenter does.
func (v *VCenter) EndSessions(ctx context.Context) error {
	var manager mo.SessionManager
	if err := v.Admin.RetrieveOne(ctx, *v.Admin.ServiceContent.SessionManager, []string{"sessionList", "currentSession"}, &manager); err != nil {
		return err
	}
	var ids []string
	for _, s := range manager.SessionList {
		if manager.CurrentSession == nil || s.Key != manager.CurrentSession.Key {
			ids = append(ids, s.Key)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return v.Admin.SessionManager.TerminateSession(ctx, ids)
}

// SetPassword changes the password that lets in from now on. Sessions go on.
func (v *VCenter) SetPassword(password string) {
	v.model.Service.Listen.User = url.UserPassword(User, password)
}

// SlowClones has every clone take a while longer, until restore is called. The simulator's delay is that of all vCenters of
// the program.
func SlowClones(longer time.Duration) (restore func()) {
	before := simulator.TaskDelay
	simulator.TaskDelay = simulator.DelayConfig{MethodDelay: map[string]int{"CloneVm": int(longer.Milliseconds()), "LockHandoff": 0}}
	return func() { simulator.TaskDelay = before }
}
