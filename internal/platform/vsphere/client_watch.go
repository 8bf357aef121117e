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

// waitSeconds is how long vCenter waits for a change before it answers that there was none: what keeps the session alive,
// and the only calls while nothing happens.
const waitSeconds = 20

// stream hears of changes: of all virtual machines that vCenter shows us, and of the tasks that are put into its list.
type stream struct {
	client *client
	login  int
	// collector is a property collector of the stream's own: filters are a collector's, and so is the wait for a change.
	collector types.ManagedObjectReference
	// machines are the uuids of the machines behind virtual machines of ours.
	machines map[types.ManagedObjectReference]string
	version  string
}

// changes is what one round has brought.
type changes struct {
	machines []string
	tasks    []ref
}

// listen begins to hear of changes, and reads what there is, so that everything that comes later is a change.
func (c *client) listen(ctx context.Context) (*stream, error) {
	s := &stream{client: c, login: c.currentLogin(), machines: map[types.ManagedObjectReference]string{}}
	content := c.vim.ServiceContent
	var machines types.ManagedObjectReference
	err := c.once(ctx, "CreateContainerView", func(ctx context.Context) error {
		res, err := methods.CreateContainerView(ctx, c.vim, &types.CreateContainerView{
			This: *content.ViewManager, Container: content.RootFolder, Type: []string{kindVM}, Recursive: true,
		})
		if err == nil {
			machines = res.Returnval
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var tasks types.ManagedObjectReference
	err = c.once(ctx, "CreateListView", func(ctx context.Context) error {
		res, err := methods.CreateListView(ctx, c.vim, &types.CreateListView{This: *content.ViewManager})
		if err == nil {
			tasks = res.Returnval
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = c.once(ctx, "CreatePropertyCollector", func(ctx context.Context) error {
		res, err := methods.CreatePropertyCollector(ctx, c.vim, &types.CreatePropertyCollector{This: content.PropertyCollector})
		if err == nil {
			s.collector = res.Returnval
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.view, c.tasks = refOf(machines), refOf(tasks)
	if err := s.createFilter(ctx, c.view, kindVM, "config.instanceUuid", extraPath(machineKey), "runtime.powerState", "guest.ipAddress", "guest.net"); err != nil {
		return nil, err
	}
	if err := s.createFilter(ctx, c.tasks, kindTask, "info.state"); err != nil {
		return nil, err
	}
	_, err = s.once(ctx, 0)
	return s, err
}

// createFilter has changes of properties told of what is in a view.
func (s *stream) createFilter(ctx context.Context, view ref, kind string, paths ...string) error {
	return s.client.once(ctx, "CreateFilter", func(ctx context.Context) error {
		_, err := methods.CreateFilter(ctx, s.client.vim, &types.CreateFilter{This: s.collector, Spec: inView(view, kind, paths), PartialUpdates: true})
		return err
	})
}

// inView selects properties of what is in a view.
func inView(view ref, kind string, paths []string) types.PropertyFilterSpec {
	return types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: view.vim(), Skip: new(true), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: view.kind, Path: "view"},
		}}},
		PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}},
	}
}

// watchTask has the end of a task told. What has ended is taken out with it.
func (c *client) watchTask(ctx context.Context, begun ref) error {
	c.mu.Lock()
	ended := c.ended
	c.ended = nil
	c.mu.Unlock()
	return c.once(ctx, "ModifyListView", func(ctx context.Context) error {
		req := &types.ModifyListView{This: c.tasks.vim(), Add: []types.ManagedObjectReference{begun.vim()}}
		for _, r := range ended {
			req.Remove = append(req.Remove, r.vim())
		}
		_, err := methods.ModifyListView(ctx, c.vim, req)
		return err
	})
}

// unwatchTask takes a task out of the list, with the next one that comes into it.
func (c *client) unwatchTask(ended ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, ended)
}

// next waits for changes. None after a while is an answer too.
func (s *stream) next(ctx context.Context) (changes, error) { return s.once(ctx, waitSeconds) }

// once asks for changes and takes all that there are.
func (s *stream) once(ctx context.Context, seconds int32) (changes, error) {
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
				s.take(&f.ObjectSet[i], &seen)
			}
		}
	}
	return seen, nil
}

// take notes one changed object.
func (s *stream) take(update *types.ObjectUpdate, seen *changes) {
	switch update.Obj.Type {
	case kindTask:
		seen.tasks = append(seen.tasks, refOf(update.Obj))
	case kindVM:
		instance, machine := "", ""
		for _, change := range update.ChangeSet {
			switch change.Name {
			case "config.instanceUuid":
				instance, _ = change.Val.(string)
			case extraPath(machineKey):
				machine = extraValue(change.Val)
			}
		}
		if instance != "" && instance == machine {
			s.machines[update.Obj] = instance
		}
		if uuid := s.machines[update.Obj]; uuid != "" {
			seen.machines = append(seen.machines, uuid)
		}
		if update.Kind == types.ObjectUpdateKindLeave {
			delete(s.machines, update.Obj)
		}
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
