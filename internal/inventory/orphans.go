// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// maxListed is how many orphans the status of an endpoint holds.
	maxListed = 64
	// defaultMinAge is how long something must have been seen as an orphan where the policy says nothing.
	defaultMinAge = time.Hour
)

// Sweep is everything that one look at an endpoint knows.
type Sweep struct {
	// Owned is everything on the endpoint that carries our owner token, listed before the machines: what is made between
	// the two lists has a machine in the second one.
	Owned []platform.Owned
	// Machines are the uuids of all IngotMachines of the management cluster, whatever their state.
	Machines map[string]bool
	// Before are the orphans of the sweep before, as the endpoint's status has them.
	Before []ingotv1.Orphan
	// Policy is what is to happen to orphans.
	Policy ingotv1.OrphanPolicy
	// Doubt is why nothing may be removed whatever the policy says; empty if there is none.
	Doubt string
	// Now is the time of the sweep.
	Now time.Time
}

// Verdict is what came of a sweep.
type Verdict struct {
	// Orphans are the orphans for the endpoint's status, oldest first.
	Orphans []ingotv1.Orphan
	// Total is how many orphans there are, those included that the status has no room for.
	Total int
	// New are those of Orphans that were none in the sweep before.
	New []ingotv1.Orphan
	// Collect is what is to be removed now: everything of a uuid, one entry per storage.
	Collect []platform.Owned
	// Held says why something that would be due is not removed; empty if nothing is held back.
	Held string
}

// Judge says what on an endpoint belongs to nobody, and what of that is to be removed. Something is removed only when
// the policy says so, it was an orphan in the sweep before as well, and that for as long as the policy asks.
func Judge(s Sweep) Verdict {
	since := map[string]metav1.Time{}
	for _, o := range s.Before {
		since[o.UUID] = o.FirstSeen
	}
	orphans, everything := s.orphans(since)
	v := Verdict{Orphans: orphans, Total: len(orphans)}
	slices.SortFunc(v.Orphans, func(a, b ingotv1.Orphan) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen.Time), cmp.Compare(a.UUID, b.UUID))
	})
	v.Orphans = v.Orphans[:min(len(v.Orphans), maxListed)]
	due := map[string]bool{}
	for _, o := range v.Orphans {
		if _, seenBefore := since[o.UUID]; !seenBefore {
			v.New = append(v.New, o)
		} else if s.Policy.Mode == ingotv1.OrphanModeCollect && s.Now.Sub(o.FirstSeen.Time) >= MinAge(s.Policy) {
			due[o.UUID] = true
		}
	}
	if len(due) == 0 {
		return v
	}
	if v.Held = s.doubt(v.Total, everything); v.Held == "" {
		v.Collect = slices.DeleteFunc(slices.Clone(s.Owned), func(o platform.Owned) bool { return !due[o.UUID] })
	}
	return v
}

// doubt says why what looks like orphans may be none. Machines that somebody cleared away by force are few among many;
// when most of what is ours seems to belong to nobody, it is more likely that this management cluster has lost sight of
// its machines: they were moved to another one, or it was restored from an old backup.
func (s Sweep) doubt(orphans, everything int) string {
	switch {
	case s.Doubt != "":
		return s.Doubt
	case orphans > 1 && 2*orphans > everything:
		return fmt.Sprintf("%d of all %d that carry our owner token seem to belong to nobody. It is more likely that their IngotMachines are "+
			"in another management cluster now: if so, delete this PlatformEndpoint here; if not, remove them by hand", orphans, everything)
	default:
		return ""
	}
}

// orphans returns one entry per uuid that belongs to no machine, in no order, and how many uuids there are altogether.
func (s Sweep) orphans(since map[string]metav1.Time) (orphans []ingotv1.Orphan, everything int) {
	all := map[string]*ingotv1.Orphan{}
	for _, owned := range s.Owned {
		o := all[owned.UUID]
		if o == nil {
			o = &ingotv1.Orphan{UUID: owned.UUID, Storage: owned.Storage, FirstSeen: metav1.NewTime(s.Now)}
			if before, seen := since[owned.UUID]; seen {
				o.FirstSeen = before
			}
			all[owned.UUID] = o
		}
		describe(o, owned)
	}
	for uuid, o := range all {
		if !s.Machines[uuid] {
			orphans = append(orphans, *o)
		}
	}
	return orphans, len(all)
}

// describe adds what one entry tells. The entry with a name is the instance, and tells more than one with volumes only.
func describe(o *ingotv1.Orphan, owned platform.Owned) {
	if owned.Name != "" {
		o.Name, o.Storage = owned.Name, owned.Storage
	}
	if owned.Power != platform.PowerUnknown {
		o.Running = new(owned.Power == platform.PowerOn)
	}
}

// MinAge is how long something must have been an orphan before it is removed.
func MinAge(policy ingotv1.OrphanPolicy) time.Duration {
	if policy.MinAgeMinutes == 0 {
		return defaultMinAge
	}
	return time.Duration(policy.MinAgeMinutes) * time.Minute
}
