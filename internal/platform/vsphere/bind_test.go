// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

var rack = platform.HostGroup{Name: "rack a", Required: true}

// racks is a vCenter whose hosts are in two groups, and what a person has made beside them.
func racks(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	hosts := l.Hosts()
	check(t, l.GroupHosts(t.Context(), rack.Name, hosts[0]))
	check(t, l.GroupHosts(t.Context(), "rack b", hosts[1]))
	check(t, l.SetGroup(t.Context(), "by hand"))
	check(t, l.Bind(t.Context(), "by hand too", "by hand", "rack b", true))
	return l
}

// expectBound checks which machines are bound to the rack, and that nothing else is left or changed.
func (l *lab) expectBound(t *testing.T, to platform.HostGroup, members ...platform.Request) {
	t.Helper()
	groups, err := l.Groups(t.Context())
	check(t, err)
	bindings, err := l.Bindings(t.Context())
	check(t, err)
	wanted, wantedBindings := map[string][]string{"by hand": {}}, map[string]string{"by hand too": "by hand on rack b, must: true, enabled: true"}
	if len(members) > 0 {
		name := vsphere.VMGroupName(members[0].ManagementClusterID, to)
		for _, m := range members {
			wanted[name] = append(wanted[name], m.UUID)
		}
		slices.Sort(wanted[name])
		wantedBindings[name] = fmt.Sprintf("%s on %s, must: %t, enabled: true", name, to.Name, to.Required)
	}
	if !maps.EqualFunc(groups, wanted, slices.Equal) || !maps.Equal(bindings, wantedBindings) {
		t.Errorf("there are the groups %v and the rules %v, want %v and %v", groups, bindings, wanted, wantedBindings)
	}
}

// boundToRack is a lab, a session through a door of its own, and a request for a machine that is bound.
func boundToRack(t *testing.T) (l *lab, d *vcenter.Door, p *vsphere.Session, req platform.Request) {
	t.Helper()
	l = racks(t)
	d = l.door(t)
	p = fresh(t, d)
	req = l.request(t, p)
	req.HostGroup = rack
	return l, d, p, req
}

// A machine that starts once outside of the hosts that it is bound to has its data where they must not be. It is bound before
// its first start, made where it may run, and leaves nothing behind; what people have made is left alone.
func TestBoundToHosts(t *testing.T) {
	l := racks(t)
	d := l.door(t)
	p := fresh(t, d)
	for _, to := range []platform.HostGroup{rack, {Name: rack.Name}} {
		var members []platform.Request
		image := l.request(t, p)
		for range 3 {
			req := image
			req.UUID, req.HostGroup = uuid.NewString(), to
			d.Judge(func(method string) vcenter.Verdict {
				if method == "PowerOnVM_Task" {
					l.expectBound(t, to, append(slices.Clone(members), req)...)
				}
				return vcenter.Pass
			})
			if m := l.made(t, p, req); m.Host != l.Hosts()[0] || !m.Running || m.Extra["ingot.unfinished"] != "" {
				t.Errorf("made was %+v", m)
			}
			members = append(members, req)
		}
		for len(members) > 0 {
			l.expectBound(t, to, members...)
			goes(t, p, members[0].Identity)
			members = members[1:]
		}
		l.expectBound(t, to)
	}
}

// What binding costs is known, and what is not bound pays nothing for it.
func TestRoundTripsOfBinding(t *testing.T) {
	l := racks(t)
	c := newTrips(t, l)
	req := c.request(t, c.session)
	first := req
	first.UUID, first.HostGroup = uuid.NewString(), rack
	runs(t, c.session, first)
	second := first
	second.UUID = uuid.NewString()
	c.cost(t, "making a machine that is bound to hosts", 11, func() { c.makes(t, second) })
	c.cost(t, "removing it", 6, func() { c.removes(t, second) })
	goes(t, c.session, first.Identity)
	l.expectBound(t, rack)
	runs(t, c.session, req)
	goes(t, c.session, req.Identity)
	if n := c.door.Calls()["ReconfigureComputeResource_Task"]; n != 6 {
		t.Errorf("groups and rules were changed %d times, want 3 for the first who came and 1 for the second, and back", n)
	}
}

// Every call on the way fails once in every way. There is one machine, which is bound, and nothing when it has gone.
func TestBoundWhateverFails(t *testing.T) {
	l, d, p, image := boundToRack(t)
	for _, verdict := range []vcenter.Verdict{vcenter.Drop, vcenter.Lose, vcenter.Expire} {
		for _, method := range []string{"RetrievePropertiesEx", "ReconfigureComputeResource_Task"} {
			for skip := range 3 {
				t.Run(fmt.Sprintf("%s %s after %d", verdict, method, skip), func(t *testing.T) {
					req := image
					req.UUID = uuid.NewString()
					var mu sync.Mutex
					calls := 0
					fail := func(m string) vcenter.Verdict {
						mu.Lock()
						defer mu.Unlock()
						if m == method {
							if calls++; calls == skip+1 {
								return verdict
							}
						}
						return vcenter.Pass
					}
					d.Judge(fail)
					l.made(t, p, req)
					l.expectBound(t, rack, req)
					mu.Lock()
					calls = 0
					mu.Unlock()
					goes(t, p, req.Identity)
					l.expectBound(t, rack)
				})
			}
		}
	}
}

// A manager that dies between any two steps leaves a machine that the next one finishes as it is, or removes; never one that
// runs and is not bound.
func TestBoundInterrupted(t *testing.T) {
	l := racks(t)
	p := l.Session(t)
	image := l.request(t, p)
	image.HostGroup = rack
	for _, lost := range []bool{false, true} {
		for n, more := 0, true; more; n++ {
			t.Run(fmt.Sprintf("after %d steps, the answer lost: %t", n, lost), func(t *testing.T) {
				req := image
				req.UUID = uuid.NewString()
				more = l.diesMaking(t, req, n, lost)
				if found := l.clones(t, req); len(found) == 1 && found[0].Running {
					l.expectBound(t, rack, req)
				}
				if n%2 == 0 {
					l.made(t, l.Session(t), req)
					l.expectBound(t, rack, req)
				}
				goes(t, l.Session(t), req.Identity)
				l.expectBound(t, rack)
			})
		}
	}
}

// atOnce has managers make machines like one at the same time, and waits until all run.
func atOnce(t *testing.T, image platform.Request, n int, managers ...*vsphere.Session) (members []platform.Request) {
	t.Helper()
	var working sync.WaitGroup
	for i := range n {
		req := image
		req.UUID = uuid.NewString()
		members = append(members, req)
		working.Go(func() { runs(t, managers[i%len(managers)], req) })
	}
	working.Wait()
	return members
}

// Two managers that both believe to lead write over each other's group. In the end it holds everybody, and nobody is started
// before.
func TestBoundByTwoManagers(t *testing.T) {
	l := racks(t)
	managers := []*vsphere.Session{fresh(t, l.door(t)), fresh(t, l.door(t))}
	image := l.request(t, managers[0])
	image.HostGroup = rack
	members := atOnce(t, image, 6, managers...)
	l.expectBound(t, rack, members...)
	for i, req := range members {
		goes(t, managers[i%2], req.Identity)
	}
	l.expectBound(t, rack)
}

// Machines that are made at once are bound at once: the rules of a cluster can only be changed one after another, and a
// hundred machines would wait for a hundred changes.
func TestBoundTogether(t *testing.T) {
	l, d, p, image := boundToRack(t)
	const n = 6
	var once sync.Once
	d.Judge(func(method string) vcenter.Verdict {
		if method == "ReconfigureComputeResource_Task" {
			once.Do(func() {
				until(t, "all are cloned", func() bool { return d.Calls()["CloneVM_Task"] >= n })
				time.Sleep(3 * time.Second) // in which they come to where they wait
			})
		}
		return vcenter.Pass
	})
	before := d.Calls()["CloneVM_Task"]
	if before >= n {
		t.Fatal("the clones cannot be told apart")
	}
	members := atOnce(t, image, n, p)
	l.expectBound(t, rack, members...)
	if changes := d.Calls()["ReconfigureComputeResource_Task"]; changes > 4 {
		t.Errorf("%d machines were bound by %d changes", n, changes)
	}
	for _, req := range members {
		goes(t, p, req.Identity)
	}
}

// What cannot be had is refused by name before anything is made, and nothing of other people's is changed for it.
func TestBoundIsRefused(t *testing.T) {
	l := racks(t)
	d := l.door(t)
	p := func() platform.Platform { return fresh(t, d) } // which has asked nothing yet
	req := l.request(t, p())
	req.HostGroup = platform.HostGroup{Name: "rack c", Required: true}
	l.refuses(t, p(), req, platform.ErrInvalid, "cluster "+vcenter.Cluster+" has no host group rack c, but [rack a rack b]")
	req.HostGroup = rack
	check(t, l.SetDRS(t.Context(), false))
	l.refuses(t, p(), req, platform.ErrUnsupported, "DRS is off in cluster "+vcenter.Cluster)
	check(t, l.SetDRS(t.Context(), true))
	end, err := l.Maintain(t.Context())
	check(t, err)
	l.refuses(t, p(), req, platform.ErrCapacity, "of the 1 hosts of group rack a")
	check(t, end())
	l.expectBound(t, rack)
}

// What is found out only when it is bound leaves the machine off, and it goes all the same. It is bound once the reason is gone.
func TestBoundIsRefusedBeforeTheStart(t *testing.T) {
	l, d, p, image := boundToRack(t)
	name := vsphere.VMGroupName(image.ManagementClusterID, rack)
	refuse := func(method string) func(string) vcenter.Verdict {
		return func(m string) vcenter.Verdict {
			if m == method {
				return vcenter.Refuse
			}
			return vcenter.Pass
		}
	}
	for _, c := range []struct {
		what    string
		spoil   func()
		restore func()
		want    error
		says    string
	}{
		{
			"a privilege is missing", func() { d.Judge(refuse("ReconfigureComputeResource_Task")) }, func() { d.Judge(refuse("")) },
			platform.ErrUnsupported, "Host.Inventory.EditCluster",
		},
		{
			"somebody's hosts have the name", func() { check(t, l.GroupHosts(t.Context(), name)) }, func() { check(t, l.RemoveGroup(t.Context(), name)) },
			platform.ErrForeign, "has a host group " + name,
		},
		{
			"somebody's rule has the name", func() { check(t, l.AddRule(t.Context(), name)) }, func() { check(t, l.RemoveRule(t.Context(), name)) },
			platform.ErrForeign, "rule " + name,
		},
		{
			"somebody has the rule bind to other hosts", func() { check(t, l.Bind(t.Context(), name, name, "rack b", true)) }, func() { check(t, l.Unbind(t.Context(), name)) },
			platform.ErrForeign, "rule " + name,
		},
		{
			"the rule is disabled", func() { check(t, l.Bind(t.Context(), name, name, rack.Name, false)) }, func() { check(t, l.Unbind(t.Context(), name)) },
			platform.ErrUnsupported, "rule " + name + " of cluster " + vcenter.Cluster + " is disabled",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			req := image
			req.UUID = uuid.NewString()
			c.spoil()
			var err error
			until(t, "it is refused", func() bool {
				_, err = p.Ensure(t.Context(), req)
				return err != nil
			})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
			if found := l.clones(t, req); len(found) != 1 || found[0].Running {
				t.Errorf("made was %+v", found)
			}
			gone := req
			gone.UUID = uuid.NewString()
			until(t, "another is refused", func() bool { _, err := p.Ensure(t.Context(), gone); return err != nil })
			goes(t, p, gone.Identity)
			c.restore()
			l.made(t, p, req)
			l.expectBound(t, rack, req)
			goes(t, p, req.Identity)
			l.expectBound(t, rack)
		})
	}
}

// Who is in our group beside our machines was put there by a person, and stays bound when ours have gone.
func TestBoundBesideOthers(t *testing.T) {
	l, _, p, req := boundToRack(t)
	other := platform.Request{Identity: platform.Identity{UUID: uuid.NewString(), ManagementClusterID: req.ManagementClusterID}}
	l.PutForeign(t, other.UUID)
	runs(t, p, req)
	check(t, l.SetGroup(t.Context(), vsphere.VMGroupName(req.ManagementClusterID, rack), req.UUID, other.UUID))
	goes(t, p, req.Identity)
	l.expectBound(t, rack, other)
}

// A machine that is bound and kept apart leaves both when it goes, in one change.
func TestBoundAndApart(t *testing.T) {
	l, d, p, req := boundToRack(t)
	ids := l.members(t, p, req, 3)
	check(t, p.KeepApart(t.Context(), ids[2], ids[:2]))
	before := d.Calls()["ReconfigureComputeResource_Task"]
	goes(t, p, ids[0])
	if n := d.Calls()["ReconfigureComputeResource_Task"] - before; n != 1 {
		t.Errorf("leaving takes %d changes", n)
	}
	rules, err := l.Rules(t.Context())
	check(t, err)
	if left := rules[groupRule]; len(left) != 2 || slices.Contains(left, ids[0].UUID) {
		t.Errorf("kept apart are %v", left)
	}
	goes(t, p, ids[1])
	goes(t, p, ids[2])
	l.expectBound(t, rack)
}
