// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// waitSeconds is how long vCenter waits for a change before it answers that there was none: what keeps the session alive,
// and the only calls while nothing happens.
const waitSeconds = 20

// askSoonSeconds is how long vCenter waits while somebody needs its word that nothing has changed. It takes whole seconds.
const askSoonSeconds = 1

// stream hears of changes: of all virtual machines that vCenter shows us, and of the tasks that it knows of.
type stream struct {
	client *client
	login  int
	// collector is a property collector of the stream's own: filters are a collector's, and so is the wait for a change.
	collector types.ManagedObjectReference
	version   string
}

// changes is what one round has brought.
type changes struct {
	vms   []change[toldVM]
	tasks []change[toldTask]
}

// change is what has changed of a virtual machine or a task, or that it left.
type change[T any] struct {
	ref   ref
	edits []func(*T)
	left  bool
}

// The properties that the stream tells of.
const (
	taskState       = "info.state"
	taskDescription = "info.descriptionId"
	taskEntity      = "info.entity"
	vmInstanceUUID  = "config.instanceUuid"
	vmPower         = "runtime.powerState"
	vmAddress       = "guest.ipAddress"
	vmNetwork       = "guest.net"
)

// listen begins to hear of changes, and reads what there is, so that everything that comes later is a change.
func (c *client) listen(ctx context.Context) (*stream, changes, error) {
	s := &stream{client: c, login: c.currentLogin()}
	content := c.vim.ServiceContent
	err := c.once(ctx, "CreateContainerView", func(ctx context.Context) error {
		res, err := methods.CreateContainerView(ctx, c.vim, &types.CreateContainerView{
			This: *content.ViewManager, Container: content.RootFolder, Type: []string{kindVM}, Recursive: true,
		})
		if err == nil {
			c.view = refOf(res.Returnval)
		}
		return err
	})
	if err != nil {
		return nil, changes{}, err
	}
	err = c.once(ctx, "CreatePropertyCollector", func(ctx context.Context) error {
		res, err := methods.CreatePropertyCollector(ctx, c.vim, &types.CreatePropertyCollector{This: content.PropertyCollector})
		if err == nil {
			s.collector = res.Returnval
		}
		return err
	})
	if err != nil {
		return nil, changes{}, err
	}
	vms := []string{vmInstanceUUID, extraPath(machineKey), extraPath(copyKey), extraPath(importKey), vmPower, vmAddress, vmNetwork}
	for _, spec := range []types.PropertyFilterSpec{
		inView(c.view, kindVM, vms),
		along(refOf(*content.TaskManager), "recentTask", kindTask, []string{taskState, taskDescription, taskEntity}),
	} {
		if err := s.createFilter(ctx, spec); err != nil {
			return nil, changes{}, err
		}
	}
	first, err := s.next(ctx, 0)
	return s, first, err
}

// createFilter has changes of properties told.
func (s *stream) createFilter(ctx context.Context, spec types.PropertyFilterSpec) error {
	return s.client.once(ctx, "CreateFilter", func(ctx context.Context) error {
		_, err := methods.CreateFilter(ctx, s.client.vim, &types.CreateFilter{This: s.collector, Spec: spec, PartialUpdates: true})
		return err
	})
}

// inView selects properties of what is in a view.
func inView(view ref, kind string, paths []string) types.PropertyFilterSpec {
	return along(view, "view", kind, paths)
}

// along selects properties of what another object's property refers to.
func along(from ref, property, kind string, paths []string) types.PropertyFilterSpec {
	return types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: from.vim(), Skip: new(true), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: from.kind, Path: property},
		}}},
		PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}},
	}
}

// next waits for changes and takes all that there are. None after a while is an answer too.
func (s *stream) next(ctx context.Context, seconds int32) (changes, error) {
	var seen changes
	for truncated := true; truncated; seconds = 0 {
		var set *types.UpdateSet
		err := s.client.once(ctx, "WaitForUpdatesEx", func(ctx context.Context) error {
			res, err := methods.WaitForUpdatesEx(ctx, s.client.vim, &types.WaitForUpdatesEx{
				This: s.collector, Version: s.version, Options: &types.WaitOptions{MaxWaitSeconds: &seconds},
			})
			if err == nil {
				set = res.Returnval
			}
			return err
		})
		switch {
		case errors.Is(err, platform.ErrUnreachable):
			return seen, err
		case err != nil:
			return seen, fmt.Errorf("%w: %w", platform.ErrUnreachable, err)
		case set == nil:
			return seen, nil
		}
		s.version, truncated = set.Version, set.Truncated != nil && *set.Truncated
		for _, f := range set.FilterSet {
			for i := range f.ObjectSet {
				seen.take(&f.ObjectSet[i])
			}
		}
	}
	return seen, nil
}

// take notes one changed object.
func (c *changes) take(update *types.ObjectUpdate) {
	at, left := refOf(update.Obj), update.Kind == types.ObjectUpdateKindLeave
	switch update.Obj.Type {
	case kindTask:
		c.tasks = append(c.tasks, change[toldTask]{at, edits(update, editTask), left})
	case kindVM:
		c.vms = append(c.vms, change[toldVM]{at, edits(update, editVM), left})
	}
}

func edits[T any](update *types.ObjectUpdate, edit func(*T, types.PropertyChange)) []func(*T) {
	var all []func(*T)
	for _, p := range update.ChangeSet {
		all = append(all, func(told *T) { edit(told, p) })
	}
	return all
}

func editTask(t *toldTask, p types.PropertyChange) {
	switch p.Name {
	case taskState:
		state, _ := p.Val.(types.TaskInfoState)
		t.succeeded = state == types.TaskInfoStateSuccess
		t.done = t.succeeded || state == types.TaskInfoStateError
	case taskDescription:
		what, _ := p.Val.(string)
		t.clone = isClone(what)
	case taskEntity:
		from, _ := p.Val.(types.ManagedObjectReference)
		t.from = refOf(from)
	}
}

func editVM(v *toldVM, p types.PropertyChange) {
	switch p.Name {
	case vmInstanceUUID:
		v.instanceUUID, _ = p.Val.(string)
	case extraPath(machineKey):
		v.machine = extraValue(p.Val)
	case extraPath(copyKey):
		v.copyOf = extraValue(p.Val)
	case extraPath(importKey):
		v.importOf = extraValue(p.Val)
	case vmPower:
		power, _ := p.Val.(types.VirtualMachinePowerState)
		v.power = powerState(power)
	case vmAddress:
		v.first, _ = p.Val.(string)
	case vmNetwork:
		v.further = strings.Join(guestAddresses(map[string]any{vmNetwork: p.Val}), " ")
	default: // a part of one of these, as vCenter may tell what has changed
		v.parts++
		v.further = p.Name
	}
}

// currentTime asks for the time, which needs a session and nothing else.
func (c *client) currentTime(ctx context.Context) error {
	return c.do(ctx, "CurrentTime", func(ctx context.Context) error {
		_, err := methods.CurrentTime(ctx, c.vim, &types.CurrentTime{This: types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}})
		return err
	})
}

// about is the version as vCenter tells it.
func (c *client) about() string {
	about := c.vim.ServiceContent.About
	return fmt.Sprintf("%s %s build %s", about.Name, about.Version, about.Build)
}
