// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now().Add(-d)) }

func instance(uuid string, power platform.Power) platform.Owned {
	return platform.Owned{Identity: platform.Identity{UUID: uuid, ManagementClusterID: "us", Storage: "default"}, Name: "vm-" + uuid, Power: power}
}

func volumes(uuid, storage string) platform.Owned {
	return platform.Owned{Identity: platform.Identity{UUID: uuid, ManagementClusterID: "us", Storage: storage}}
}

func before(uuid string, since time.Duration) ingotv1.Orphan {
	return ingotv1.Orphan{UUID: uuid, FirstSeen: ago(since)}
}

func collect(minutes int32) ingotv1.OrphanPolicy {
	return ingotv1.OrphanPolicy{Mode: ingotv1.OrphanModeCollect, MinAgeMinutes: minutes}
}

// fleet are running instances that all have a machine, so that a few orphans are few.
func fleet(n int) (owned []platform.Owned, machines map[string]bool) {
	machines = map[string]bool{}
	for i := range n {
		uuid := fmt.Sprintf("fleet-%d", i)
		owned = append(owned, instance(uuid, platform.PowerOn))
		machines[uuid] = true
	}
	return owned, machines
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		why     string
		owned   []platform.Owned
		before  []ingotv1.Orphan
		policy  ingotv1.OrphanPolicy
		doubt   string
		orphans []string // uuids, in order
		fresh   []string // those that are news
		collect []string // uuid/storage
		held    string   // part of why nothing is removed
	}{
		"what has a machine is no orphan": {
			why: "the plain case",
		},
		"what has no machine is an orphan, and only reported at first sight": {
			why:   "a machine that is restored from a backup may come back in a minute",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, policy: collect(10),
			orphans: []string{"a"}, fresh: []string{"a"},
		},
		"an orphan keeps the time when it was first seen": {
			why:   "otherwise nothing would ever be old enough",
			owned: []platform.Owned{instance("a", platform.PowerOff)}, before: []ingotv1.Orphan{before("a", 5*time.Minute)}, policy: collect(10),
			orphans: []string{"a"},
		},
		"an orphan that is old enough is removed": {
			why:   "the boundary belongs to removal: that long is that long",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", 10*time.Minute)}, policy: collect(10),
			orphans: []string{"a"}, collect: []string{"a/default"},
		},
		"an orphan that is not quite old enough stays": {
			why:   "the other side of the boundary",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", 10*time.Minute-time.Second)}, policy: collect(10),
			orphans: []string{"a"},
		},
		"an orphan stays for ever where it is only to be reported": {
			why:   "removal is asked for, never assumed",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", 1000*time.Hour)},
			policy: ingotv1.OrphanPolicy{Mode: ingotv1.OrphanModeReport, MinAgeMinutes: 10}, orphans: []string{"a"},
		},
		"a policy that says nothing reports": {
			why:   "endpoints of earlier versions have none",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", 1000*time.Hour)}, orphans: []string{"a"},
		},
		"without an age an hour is asked for": {
			why:    "the schema's default may be missing in objects that were made before it",
			owned:  []platform.Owned{instance("a", platform.PowerOn), instance("b", platform.PowerOn)},
			before: []ingotv1.Orphan{before("a", 59*time.Minute), before("b", time.Hour)}, policy: collect(0),
			orphans: []string{"b", "a"}, collect: []string{"b/default"},
		},
		"an orphan that a machine claimed is none any more": {
			why:    "an IngotMachine that was restored has its instance back",
			before: []ingotv1.Orphan{before("fleet-0", time.Hour)}, policy: collect(10),
		},
		"an orphan that is gone is forgotten": {
			why:    "somebody removed it by hand",
			before: []ingotv1.Orphan{before("a", time.Hour)}, policy: collect(10),
		},
		"the oldest orphans come first": {
			why:   "a person looks at the top of the list",
			owned: []platform.Owned{instance("new", platform.PowerOn), instance("b", platform.PowerOn), instance("old", platform.PowerOn), instance("a", platform.PowerOn)},
			before: []ingotv1.Orphan{
				before("old", time.Hour), before("b", time.Minute), before("a", time.Minute),
			},
			orphans: []string{"old", "a", "b", "new"}, fresh: []string{"new"},
		},
		"what is left on several storages is one orphan, and goes from all of them": {
			why:   "half a removal is none",
			owned: []platform.Owned{volumes("a", "fast"), instance("a", platform.PowerOff), volumes("a", "slow")}, before: []ingotv1.Orphan{before("a", time.Hour)},
			policy: collect(10), orphans: []string{"a"}, collect: []string{"a/fast", "a/default", "a/slow"},
		},
		"a doubt keeps everything": {
			why:   "another management cluster may have the machine",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", time.Hour)}, policy: collect(10), doubt: "it was moved",
			orphans: []string{"a"}, held: "it was moved",
		},
		"a doubt is not mentioned while nothing would be removed": {
			why:   "it would puzzle whoever only wants reports",
			owned: []platform.Owned{instance("a", platform.PowerOn)}, before: []ingotv1.Orphan{before("a", time.Hour)}, doubt: "it was moved",
			orphans: []string{"a"},
		},
		"when most seem to be orphans nothing is removed": {
			why: "it is more likely that the machines are elsewhere than that all of them were forgotten",
			owned: []platform.Owned{
				instance("a", platform.PowerOn), instance("b", platform.PowerOn), instance("c", platform.PowerOn),
				instance("d", platform.PowerOn), instance("e", platform.PowerOn),
			},
			before: []ingotv1.Orphan{before("a", time.Hour)}, policy: collect(10),
			orphans: []string{"a", "b", "c", "d", "e"}, fresh: []string{"b", "c", "d", "e"}, held: "5 of all 9",
		},
	} {
		t.Run(name, func(t *testing.T) {
			owned, machines := fleet(4)
			v := inventory.Judge(inventory.Sweep{
				Owned: append(owned, c.owned...), Machines: machines, Before: c.before, Policy: c.policy, Doubt: c.doubt, Now: now(),
			})
			expect(t, c.why, "orphans", uuids(v.Orphans), c.orphans)
			expect(t, c.why, "news", uuids(v.New), c.fresh)
			expect(t, c.why, "to be removed", places(v.Collect), c.collect)
			if v.Total != len(c.orphans) {
				t.Errorf("%d orphans in total, want %d: %s", v.Total, len(c.orphans), c.why)
			}
			if (v.Held == "") != (c.held == "") || !strings.Contains(v.Held, c.held) {
				t.Errorf("held back because of %q, want %q: %s", v.Held, c.held, c.why)
			}
		})
	}
}

// One orphan on an otherwise empty endpoint is the usual leftover of a trial, and costs one machine at worst.
func TestOneOrphanAloneIsRemoved(t *testing.T) {
	v := inventory.Judge(inventory.Sweep{
		Owned: []platform.Owned{instance("a", platform.PowerOn)}, Before: []ingotv1.Orphan{before("a", time.Hour)}, Policy: collect(10), Now: now(),
	})
	expect(t, "it is the only one", "to be removed", places(v.Collect), []string{"a/default"})
}

// A person who reads the status must find the thing on the host.
func TestAnOrphanIsDescribed(t *testing.T) {
	v := inventory.Judge(inventory.Sweep{Now: now(), Owned: []platform.Owned{
		volumes("a", "slow"), instance("a", platform.PowerOff), volumes("b", "slow"), instance("c", platform.PowerOn),
	}})
	want := []ingotv1.Orphan{
		{UUID: "a", Name: "vm-a", Storage: "default", Running: new(false), FirstSeen: metav1.NewTime(now())},
		{UUID: "b", Storage: "slow", FirstSeen: metav1.NewTime(now())},
		{UUID: "c", Name: "vm-c", Storage: "default", Running: new(true), FirstSeen: metav1.NewTime(now())},
	}
	if got, want := fmt.Sprint(describe(v.Orphans)), fmt.Sprint(describe(want)); got != want {
		t.Errorf("the orphans are %s, want %s", got, want)
	}
}

// The status has room for 64. Those that it has no room for are counted, and are no news each time.
func TestTheOldestAreListed(t *testing.T) {
	var owned []platform.Owned
	for i := range 100 {
		owned = append(owned, instance(fmt.Sprintf("%03d", i), platform.PowerOn))
	}
	first := inventory.Judge(inventory.Sweep{Owned: owned, Now: now()})
	if len(first.Orphans) != 64 || len(first.New) != 64 || first.Total != 100 {
		t.Errorf("%d listed, %d new, %d in total", len(first.Orphans), len(first.New), first.Total)
	}
	second := inventory.Judge(inventory.Sweep{Owned: owned, Before: first.Orphans, Now: now().Add(time.Hour)})
	if len(second.New) != 0 || !slices.Equal(uuids(second.Orphans), uuids(first.Orphans)) {
		t.Errorf("the list changes although nothing did: %v", uuids(second.New))
	}
}

// A walk of sweeps over a world in which machines and instances come and go, and policies change. Whatever happens, what
// is removed has no machine, was an orphan in the sweep before and in every one since it was first seen, for as long as
// the policy asks.
func TestNothingIsRemovedThatMustNotBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := now()
		var before []ingotv1.Orphan
		orphanSince := map[string]time.Time{} // in every sweep since then
		all := []string{"a", "b", "c", "d", "e", "f"}
		for range rapid.IntRange(2, 12).Draw(t, "sweeps") {
			at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute)
			there := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, len(all), rapid.ID).Draw(t, "there")
			machines := map[string]bool{}
			for _, uuid := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, len(all), rapid.ID).Draw(t, "machines") {
				machines[uuid] = true
			}
			var owned []platform.Owned
			for _, uuid := range there {
				owned = append(owned, instance(uuid, platform.PowerOn))
			}
			policy := ingotv1.OrphanPolicy{
				Mode:          rapid.SampledFrom([]ingotv1.OrphanMode{"", ingotv1.OrphanModeReport, ingotv1.OrphanModeCollect, ingotv1.OrphanModeCollect}).Draw(t, "mode"),
				MinAgeMinutes: rapid.SampledFrom([]int32{0, 10, 30, 60}).Draw(t, "age"),
			}
			doubt := rapid.SampledFrom([]string{"", "", "", "moved"}).Draw(t, "doubt")
			v := inventory.Judge(inventory.Sweep{Owned: owned, Machines: machines, Before: before, Policy: policy, Doubt: doubt, Now: at})
			for _, o := range v.Collect {
				since, seenBefore := orphanSince[o.UUID]
				age := time.Duration(policy.MinAgeMinutes) * time.Minute
				if policy.MinAgeMinutes == 0 {
					age = time.Hour
				}
				switch {
				case machines[o.UUID]:
					t.Fatalf("%s has a machine", o.UUID)
				case policy.Mode != ingotv1.OrphanModeCollect:
					t.Fatalf("%s is removed in mode %q", o.UUID, policy.Mode)
				case doubt != "":
					t.Fatalf("%s is removed in doubt", o.UUID)
				case !seenBefore:
					t.Fatalf("%s is removed at first sight", o.UUID)
				case at.Sub(since) < age:
					t.Fatalf("%s is removed after %s, and the policy asks for %s", o.UUID, at.Sub(since), age)
				}
			}
			for _, uuid := range all {
				orphan := slices.Contains(there, uuid) && !machines[uuid]
				if orphan != slices.Contains(uuids(v.Orphans), uuid) {
					t.Fatalf("%s: an orphan is %t, and the verdict is %v", uuid, orphan, uuids(v.Orphans))
				}
				if _, known := orphanSince[uuid]; orphan && !known {
					orphanSince[uuid] = at
				} else if !orphan {
					delete(orphanSince, uuid)
				}
			}
			before = v.Orphans
		}
	})
}

func uuids(orphans []ingotv1.Orphan) []string {
	var all []string
	for _, o := range orphans {
		all = append(all, o.UUID)
	}
	return all
}

func places(owned []platform.Owned) []string {
	var all []string
	for _, o := range owned {
		all = append(all, o.UUID+"/"+o.Storage)
	}
	return all
}

func describe(orphans []ingotv1.Orphan) []string {
	var all []string
	for _, o := range orphans {
		running := "unknown"
		if o.Running != nil {
			running = fmt.Sprint(*o.Running)
		}
		all = append(all, fmt.Sprintf("%s %q on %s running %s since %s", o.UUID, o.Name, o.Storage, running, o.FirstSeen))
	}
	return all
}

func expect(t *testing.T, why, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v: %s", what, got, want, why)
	}
}
