// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// group is what the machines of a control plane are of, and groupRule the rule that keeps them apart.
const (
	group     = "default-demo-0123456789abcdef"
	groupRule = "ingot-" + group
)

// members are machines of one group, which run; and their identities.
func (l *lab) members(t *testing.T, p platform.Platform, req platform.Request, n int) (ids []platform.Identity) {
	t.Helper()
	for range n {
		req.UUID, req.Group = uuid.NewString(), group
		runs(t, p, req)
		ids = append(ids, req.Identity)
	}
	return ids
}

// expectRule checks which machines the rule of the group keeps apart; none means that there is no rule.
func (l *lab) expectRule(t *testing.T, members ...platform.Identity) {
	t.Helper()
	all, err := l.Rules(t.Context())
	check(t, err)
	var want []string
	for _, m := range members {
		want = append(want, m.UUID)
	}
	slices.Sort(want)
	if !slices.Equal(all[groupRule], want) {
		t.Errorf("kept apart are %v, want %v", all[groupRule], want)
	}
	if _, there := all[groupRule]; there && len(want) == 0 {
		t.Error("a rule that keeps nothing apart is left")
	}
}

// Two members of etcd on one host are lost together. Whoever comes brings all of its group together in one rule; whoever goes
// leaves it; a rule of less than two is taken away; and what people have made is left alone. It costs nothing where there is
// nothing to keep apart, least of all for workers.
func TestApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	check(t, l.AddRule(t.Context(), "by hand"))
	req := l.request(t, p)
	ids := l.members(t, p, req, 3)
	runs(t, p, req)
	cost := func(most int, do func()) {
		t.Helper()
		before := d.Calls()
		do()
		after := d.Calls()
		delete(after, "WaitForUpdatesEx")
		n := 0
		for method := range after {
			n += after[method] - before[method]
		}
		if n > most {
			t.Errorf("it costs %d round trips, want at most %d: %v, then %v", n, most, before, after)
		}
	}

	cost(0, func() {
		check(t, p.KeepApart(t.Context(), ids[0], []platform.Identity{{UUID: uuid.NewString(), ManagementClusterID: ids[0].ManagementClusterID}}))
	})
	l.expectRule(t)
	cost(3, func() { check(t, p.KeepApart(t.Context(), ids[1], ids[:1])) })
	l.expectRule(t, ids[:2]...)
	cost(3, func() { check(t, p.KeepApart(t.Context(), ids[2], ids[:2])) })
	l.expectRule(t, ids...)
	cost(1, func() { check(t, p.KeepApart(t.Context(), ids[0], ids[1:])) })
	// A worker is of no group, and what is another management cluster's is of none of ours, whatever it says.
	foreign := platform.Identity{UUID: uuid.NewString(), ManagementClusterID: req.ManagementClusterID, Storage: req.Storage}
	l.make(t, vcenter.Spec{Name: "foreign", UUID: foreign.UUID, DiskBytes: 1 << 20, Extra: map[string]string{
		"ingot.machine": foreign.UUID, "ingot.managementCluster": "somebody's", "ingot.group": group,
	}})
	check(t, p.KeepApart(t.Context(), ids[0], []platform.Identity{req.Identity, foreign}))
	l.expectRule(t, ids...)

	changes := d.Calls()["ReconfigureComputeResource_Task"]
	goes(t, p, req.Identity)
	if n := d.Calls()["ReconfigureComputeResource_Task"] - changes; n != 0 {
		t.Errorf("the end of a worker changes rules %d times", n)
	}
	goes(t, p, ids[2])
	l.expectRule(t, ids[:2]...)
	goes(t, p, ids[0])
	l.expectRule(t)
	goes(t, p, ids[1])
	all, err := l.Rules(t.Context())
	check(t, err)
	if left := slices.Collect(maps.Keys(all)); !reflect.DeepEqual(left, []string{"by hand"}) {
		t.Errorf("left are the rules %v", left)
	}
}

// Every call on the way fails once in every way. There is always one rule at most, and in the end it holds who is there.
func TestApartWhateverFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	ids := l.members(t, p, req, 2)
	for _, verdict := range []vcenter.Verdict{vcenter.Drop, vcenter.Lose, vcenter.Expire} {
		for _, method := range []string{"RetrievePropertiesEx", "ReconfigureComputeResource_Task"} {
			t.Run(verdict.String()+" "+method, func(t *testing.T) {
				third := l.members(t, p, req, 1)[0]
				var once sync.Once
				fail := func(m string) vcenter.Verdict {
					v := vcenter.Pass
					if m == method {
						once.Do(func() { v = verdict })
					}
					return v
				}
				d.Judge(fail)
				until(t, "all are kept apart", func() bool {
					err := p.KeepApart(t.Context(), third, ids)
					if err != nil && !errors.Is(err, platform.ErrUnreachable) {
						t.Errorf("what could not be told is told as %v", err)
					}
					return err == nil
				})
				l.expectRule(t, append(slices.Clone(ids), third)...)
				once = sync.Once{}
				goes(t, p, third)
				l.expectRule(t, ids...)
			})
		}
	}
}

// Two managers that both believe to lead write over each other's rule. In the end it holds everybody, once.
func TestApartTwoManagers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	managers := []*vsphere.Session{fresh(t, l.door(t)), fresh(t, l.door(t))}
	ids := l.members(t, managers[0], l.request(t, managers[0]), 4)
	var working sync.WaitGroup
	for i, id := range ids {
		others := slices.Delete(slices.Clone(ids), i, i+1)
		working.Go(func() {
			until(t, "it is kept apart", func() bool {
				err := managers[i%2].KeepApart(t.Context(), id, others)
				if err != nil {
					t.Log(err)
				}
				return err == nil
			})
		})
	}
	working.Wait()
	l.expectRule(t, ids...)

	for i, id := range ids[:3] {
		goes(t, managers[i%2], id)
	}
	l.expectRule(t)
}

// What cannot be had is refused by name, and nothing of other people's is changed for it.
func TestApartIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	ids := l.members(t, p, l.request(t, p), 2)
	refused := func(want error, says string) {
		t.Helper()
		if err := p.KeepApart(t.Context(), ids[0], ids[1:]); !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q with %q", err, want, says)
		}
	}
	// One that is not there any more is not kept apart, and not said to be.
	if err := p.KeepApart(t.Context(), platform.Identity{UUID: uuid.NewString(), ManagementClusterID: ids[0].ManagementClusterID}, ids); err == nil {
		t.Error("a machine that is not there is said to be kept apart")
	}
	check(t, l.SetDRS(t.Context(), false))
	refused(platform.ErrUnsupported, "DRS is off in cluster "+vcenter.Cluster)
	l.expectRule(t)
	check(t, l.SetDRS(t.Context(), true))
	check(t, l.AddOpposite(t.Context(), groupRule, ids[0].UUID, ids[1].UUID))
	refused(platform.ErrForeign, groupRule)
	check(t, l.SetExtra(t.Context(), ids[0].UUID, "ingot.managementCluster", "somebody's"))
	refused(platform.ErrForeign, "no owner token")
	check(t, l.SetExtra(t.Context(), ids[0].UUID, "ingot.managementCluster", ids[0].ManagementClusterID))
	all, err := l.Rules(t.Context())
	check(t, err)
	if len(all) != 1 {
		t.Errorf("the rules are %v", all)
	}
}

// People may disable the rule, and vCenter disables one that contradicts another. It keeps nothing apart then, and nobody says
// that it does; who joins is put into it all the same, and it is not enabled behind anybody's back.
func TestApartDisabled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	ids := l.members(t, p, l.request(t, p), 3)
	check(t, p.KeepApart(t.Context(), ids[1], ids[:1]))
	check(t, l.DisableRule(t.Context(), groupRule))
	for range 2 {
		if err := p.KeepApart(t.Context(), ids[2], ids[:2]); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), groupRule) {
			t.Errorf("got %v, want what is disabled", err)
		}
	}
	l.expectRule(t, ids...)
	if n := d.Calls()["ReconfigureComputeResource_Task"]; n != 2 {
		t.Errorf("the rule was changed %d times, want once for each who came", n)
	}
}

// An account that may not read the cluster, or not change it, is told what it lacks, as an answer and not as silence; and what
// is to go goes all the same. So it does where vCenter refuses the change for another reason.
func TestApartWithoutPrivilege(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	ids := l.members(t, p, l.request(t, p), 3)
	refuse := func(method string) func(string) vcenter.Verdict {
		return func(m string) vcenter.Verdict {
			if m == method {
				return vcenter.Refuse
			}
			return vcenter.Pass
		}
	}
	for _, method := range []string{"RetrievePropertiesEx", "ReconfigureComputeResource_Task"} {
		d.Judge(refuse(method))
		before := d.Calls()[method]
		err := p.KeepApart(t.Context(), ids[1], ids[:1])
		if !errors.Is(err, platform.ErrUnsupported) || errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "Host.Inventory.EditCluster") {
			t.Errorf("%s is refused as %v", method, err)
		}
		if n := d.Calls()[method] - before; n != 1 {
			t.Errorf("%s was refused %d times in one call", method, n)
		}
	}
	l.expectRule(t)
	d.Judge(refuse(""))
	check(t, p.KeepApart(t.Context(), ids[1], ids[:1]))
	check(t, p.KeepApart(t.Context(), ids[2], ids[:2]))
	d.Judge(refuse("ReconfigureComputeResource_Task"))
	goes(t, p, ids[2])
}

// Whoever keeps changing the rules between what we read and what we write cannot hold up a machine that is to go, nor have us
// try without end.
func TestApartWhoeverInterferes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	ids := l.members(t, p, l.request(t, p), 2)
	check(t, p.KeepApart(t.Context(), ids[1], ids[:1]))
	before := d.Calls()["ReconfigureComputeResource_Task"]
	d.Judge(func(method string) vcenter.Verdict {
		switch method {
		case "ReconfigureComputeResource_Task":
			check(t, l.RemoveRule(t.Context(), groupRule))
		case "RetrievePropertiesEx":
			_ = l.AddRule(t.Context(), groupRule, ids[0].UUID, ids[1].UUID) // it may be there, or they may be gone
		}
		return vcenter.Pass
	})
	goes(t, p, ids[0])
	if n := d.Calls()["ReconfigureComputeResource_Task"] - before; n != 3 {
		t.Errorf("a change that cannot be made was tried %d times, want 3", n)
	}
}
