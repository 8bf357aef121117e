// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// For every change of any object the simulator reads again everything that a collector's filters select, and most changes are of
// objects that no filter selects: with a hundred virtual machines that was four fifths of its work. A sieve keeps these from the
// collector, and tells it all that has changed of an object since it was last asked at once, as vCenter does.

// collectors makes property collectors behind sieves. It is the one that a vCenter has by itself, of which the simulator makes one for
// each session.
type collectors struct{ simulator.PropertyCollector }

// sift puts all property collectors that are made from now on behind sieves.
func (v *VCenter) sift() {
	all := v.model.Map()
	c := &collectors{}
	c.Self = v.model.ServiceContent.PropertyCollector
	all.Put(c)
}

// CreatePropertyCollector implements the method of that name.
func (c *collectors) CreatePropertyCollector(ctx *simulator.Context, req *types.CreatePropertyCollector) soap.HasFault {
	answer := c.PropertyCollector.CreatePropertyCollector(ctx, req)
	if made, is := answer.(*methods.CreatePropertyCollectorBody); is && made.Res != nil {
		if plain, is := ctx.Session.Get(made.Res.Returnval).(*simulator.PropertyCollector); is {
			ctx.Session.Put(&sieve{PropertyCollector: plain, kinds: map[string]bool{}})
		}
	}
	return answer
}

// sieve is a property collector that hears only of what its filters select.
type sieve struct {
	*simulator.PropertyCollector

	mu      sync.Mutex
	kinds   map[string]bool
	changed map[types.ManagedObjectReference]int // where the last news of an object is, if it is that it has changed
	news    []news
	waits   bool // somebody waits in the simulator, and is told at once
}

// news is what has become of an object.
type news struct {
	ref     types.ManagedObjectReference
	object  mo.Reference // nil when it has gone
	changes []types.PropertyChange
	came    bool
}

// CreateFilter implements the method of that name.
func (s *sieve) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	s.mu.Lock()
	for _, selected := range req.Spec.PropSet {
		s.kinds[selected.Type] = true
	}
	for _, from := range req.Spec.ObjectSet {
		s.kinds[from.Obj.Type] = true
		s.along(from.SelectSet)
	}
	s.mu.Unlock()
	return s.PropertyCollector.CreateFilter(ctx, req)
}

// along takes the kinds that a filter goes along.
func (s *sieve) along(selections []types.BaseSelectionSpec) {
	for _, selection := range selections {
		if along, is := selection.(*types.TraversalSpec); is {
			s.kinds[along.Type] = true
			s.along(along.SelectSet)
		}
	}
}

// WaitForUpdatesEx implements the method of that name.
func (s *sieve) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	once := req.Options != nil && req.Options.MaxWaitSeconds != nil && *req.Options.MaxWaitSeconds == 0
	s.tell(ctx, !once)
	if req.Version == "" { // it listens from now on: through the sieve
		defer ctx.Map.AddHandler(s)
	}
	return s.PropertyCollector.WaitForUpdatesEx(ctx, req)
}

// tell tells the collector all news.
func (s *sieve) tell(ctx *simulator.Context, waits bool) {
	s.mu.Lock()
	all := s.news
	s.news, s.changed, s.waits = nil, nil, waits
	s.mu.Unlock()
	for _, n := range all {
		s.hand(ctx, n)
	}
}

func (s *sieve) hand(ctx *simulator.Context, n news) {
	switch {
	case n.came:
		s.PropertyCollector.PutObject(ctx, n.object)
	case n.object == nil:
		s.PropertyCollector.RemoveObject(ctx, n.ref)
	default:
		s.PropertyCollector.UpdateObject(ctx, n.object, n.changes)
	}
}

// hear takes news of what filters select.
func (s *sieve) hear(ctx *simulator.Context, n news) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.kinds[n.ref.Type] && !s.kinds["ManagedEntity"] {
		return
	}
	if s.waits {
		s.hand(ctx, n)
		return
	}
	if at, is := s.changed[n.ref]; is && !n.came && n.object != nil {
		s.news[at].changes = append(slices.Clip(s.news[at].changes), n.changes...)
		return
	}
	if s.changed == nil {
		s.changed = map[types.ManagedObjectReference]int{}
	}
	delete(s.changed, n.ref)
	if !n.came && n.object != nil {
		s.changed[n.ref] = len(s.news)
	}
	s.news = append(s.news, n)
}

// PutObject implements simulator.RegisterObject.
func (s *sieve) PutObject(ctx *simulator.Context, o mo.Reference) {
	s.hear(ctx, news{ref: o.Reference(), object: o, came: true})
}

// UpdateObject implements simulator.RegisterObject.
func (s *sieve) UpdateObject(ctx *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	s.hear(ctx, news{ref: o.Reference(), object: o, changes: changes})
}

// RemoveObject implements simulator.RegisterObject.
func (s *sieve) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	s.hear(ctx, news{ref: ref})
}
