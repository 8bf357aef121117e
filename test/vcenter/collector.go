// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"reflect"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// updatesAtOnce is how many objects one answer tells of at most. It is vCenter's own default.
const updatesAtOnce = 100

// collectors is the property collector that every session has. Collectors that are made by it tell of changes as a collector does.
type collectors struct {
	simulator.PropertyCollector
}

// CreatePropertyCollector is vCenter's method of that name.
func (*collectors) CreatePropertyCollector(ctx *simulator.Context, _ *types.CreatePropertyCollector) soap.HasFault {
	c := &collector{}
	c.Self.Type = "PropertyCollector"
	return &methods.CreatePropertyCollectorBody{Res: &types.CreatePropertyCollectorResponse{Returnval: ctx.Session.Put(c).Reference()}}
}

// collector tells those of changes who come through a door and select objects along one property of another. The simulator's own
// looks at all objects of all filters anew for every single change and filter, and takes longer for it than for everything else
// together. This one looks only at what has changed, and tells how it differs from what was told before. Everything else
// is left to the simulator's.
type collector struct {
	simulator.PropertyCollector

	// told is what was told last, by filter and object. The call at hand has it for itself.
	told map[types.ManagedObjectReference]map[types.ManagedObjectReference][]types.DynamicProperty
	// rest is what had no room in the last answer.
	rest []types.PropertyFilterUpdate

	mu      sync.Mutex
	changed map[types.ManagedObjectReference]bool // since the last look
}

// WaitForUpdatesEx is vCenter's method of that name. A door never has it wait.
func (c *collector) WaitForUpdatesEx(ctx *simulator.Context, r *types.WaitForUpdatesEx) soap.HasFault {
	if r.Options == nil || r.Options.MaxWaitSeconds == nil || *r.Options.MaxWaitSeconds != 0 || !c.simple(ctx) {
		return c.PropertyCollector.WaitForUpdatesEx(ctx, r)
	}
	first := r.Version == ""
	if c.told == nil && !first { // a door that hides something has answered in its place: who was shown nothing hears of no change
		return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{}}
	}
	if first {
		c.told, c.rest = map[types.ManagedObjectReference]map[types.ManagedObjectReference][]types.DynamicProperty{}, nil
		ctx.Map.AddHandler(c)
	}
	if len(c.rest) == 0 {
		c.look(ctx)
	}
	res := &types.WaitForUpdatesExResponse{}
	if first || len(c.rest) > 0 {
		res.Returnval = c.page()
	}
	return &methods.WaitForUpdatesExBody{Res: res}
}

// simple is whether all filters select objects along properties, and nothing else.
func (c *collector) simple(ctx *simulator.Context) bool {
	for _, ref := range c.Filter {
		filter, is := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		if !is {
			return false
		}
		for _, o := range filter.Spec.ObjectSet {
			if o.Skip == nil || !*o.Skip || len(o.SelectSet) != 1 {
				return false
			}
			if t, is := o.SelectSet[0].(*types.TraversalSpec); !is || len(t.SelectSet) != 0 {
				return false
			}
		}
	}
	return true
}

// look notes what is to be told: all that there is when nothing was told yet, and then what has changed.
func (c *collector) look(ctx *simulator.Context) {
	c.mu.Lock()
	changed := c.changed
	c.changed = nil
	c.mu.Unlock()
	if len(changed) == 0 && len(c.told) > 0 {
		return
	}
	for _, ref := range c.Filter {
		filter, is := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		if !is {
			continue
		}
		if c.told[ref] == nil {
			c.told[ref] = map[types.ManagedObjectReference][]types.DynamicProperty{}
		}
		if updates := c.compare(ctx, filter.Spec, c.told[ref], changed); len(updates) > 0 {
			c.rest = append(c.rest, types.PropertyFilterUpdate{Filter: ref, ObjectSet: updates})
		}
	}
}

// compare returns how what a filter selects differs from what was told, and notes it as told.
func (c *collector) compare(
	ctx *simulator.Context, spec types.PropertyFilterSpec, told map[types.ManagedObjectReference][]types.DynamicProperty,
	changed map[types.ManagedObjectReference]bool,
) (updates []types.ObjectUpdate) {
	selected := map[types.ManagedObjectReference]bool{}
	for _, ref := range c.selected(ctx, spec) {
		before, known := told[ref]
		if known && !changed[ref] {
			selected[ref] = true
			continue
		}
		now, there := c.properties(ctx, ref, spec.PropSet)
		if !there {
			continue
		}
		selected[ref], told[ref] = true, now
		update := types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindModify, ChangeSet: differences(before, now)}
		if !known {
			update.Kind = types.ObjectUpdateKindEnter
		}
		if !known || len(update.ChangeSet) > 0 {
			updates = append(updates, update)
		}
	}
	for ref := range told {
		if !selected[ref] {
			delete(told, ref)
			updates = append(updates, types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindLeave})
		}
	}
	return updates
}

// selected lists what a filter selects.
func (c *collector) selected(ctx *simulator.Context, spec types.PropertyFilterSpec) (all []types.ManagedObjectReference) {
	for _, o := range spec.ObjectSet {
		along, is := o.SelectSet[0].(*types.TraversalSpec)
		if !is {
			continue
		}
		properties, _ := c.properties(ctx, o.Obj, []types.PropertySpec{{Type: o.Obj.Type, PathSet: []string{along.Path}}})
		for _, p := range properties {
			if refs, are := p.Val.(types.ArrayOfManagedObjectReference); are {
				all = append(all, refs.ManagedObjectReference...)
			}
		}
	}
	return all
}

// properties reads properties of one object, which may have gone meanwhile.
func (c *collector) properties(ctx *simulator.Context, ref types.ManagedObjectReference, set []types.PropertySpec) (all []types.DynamicProperty, there bool) {
	answer, is := c.RetrieveProperties(ctx, &types.RetrieveProperties{This: c.Self, SpecSet: []types.PropertyFilterSpec{{
		PropSet: set, ObjectSet: []types.ObjectSpec{{Obj: ref}}, ReportMissingObjectsInResults: new(true),
	}}}).(*methods.RetrievePropertiesBody)
	if !is || answer.Res == nil || len(answer.Res.Returnval) == 0 {
		return nil, false
	}
	return answer.Res.Returnval[0].PropSet, true
}

// differences are the properties whose values are others now.
func differences(before, now []types.DynamicProperty) (changes []types.PropertyChange) {
	values := map[string]any{}
	for _, p := range before {
		values[p.Name] = p.Val
	}
	for _, p := range now {
		if value, known := values[p.Name]; !known || !reflect.DeepEqual(value, p.Val) {
			changes = append(changes, types.PropertyChange{Name: p.Name, Op: types.PropertyChangeOpAssign, Val: p.Val})
		}
	}
	return changes
}

// page takes as much of what is to be told as one answer holds.
func (c *collector) page() *types.UpdateSet {
	set := &types.UpdateSet{Version: "-"}
	for room := updatesAtOnce; room > 0 && len(c.rest) > 0; {
		f := &c.rest[0]
		n := min(room, len(f.ObjectSet))
		set.FilterSet = append(set.FilterSet, types.PropertyFilterUpdate{Filter: f.Filter, ObjectSet: f.ObjectSet[:n]})
		room -= n
		if f.ObjectSet = f.ObjectSet[n:]; len(f.ObjectSet) == 0 {
			c.rest = c.rest[1:]
		}
	}
	if len(c.rest) > 0 {
		set.Truncated = new(true)
	}
	return set
}

// PutObject implements simulator.RegisterObject.
func (c *collector) PutObject(_ *simulator.Context, o mo.Reference) { c.change(o.Reference()) }

// UpdateObject implements simulator.RegisterObject.
func (c *collector) UpdateObject(_ *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	c.change(o.Reference())
}

// RemoveObject implements simulator.RegisterObject.
func (c *collector) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	c.change(ref)
}

func (c *collector) change(ref types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = map[types.ManagedObjectReference]bool{}
	}
	c.changed[ref] = true
}
