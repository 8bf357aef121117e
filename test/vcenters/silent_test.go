// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenters_test

import (
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// fleetSize is how many machines each vCenter has: as many as the manager has workers.
const fleetSize = 10

// TestSilentVCenter measures what a vCenter costs the others that accepts connections and calls and never answers: the worst
// kind, since every call to it waits. All vCenters share the workers of one manager.
func TestSilentVCenter(t *testing.T) {
	besides(t, nil) // the first time everything is slower
	alone := besides(t, nil)
	for name, made := range map[string]int{"never answers": 0, "falls silent while it makes machines": 2} {
		took := besides(t, &made)
		ratio := float64(took) / float64(alone)
		t.Logf("%d machines of a good vCenter were provisioned in %s, and in %s beside one with as many that %s: ratio %.2f",
			fleetSize, alone.Round(10*time.Millisecond), took.Round(10*time.Millisecond), name, ratio)
		if ratio > 3 {
			t.Errorf("a vCenter that %s slows the others by %.1f", name, ratio)
		}
	}
}

// besides returns how long the machines of a good vCenter take alone, or beside as many of one that falls silent when so many of
// them are made.
func besides(t *testing.T, made *int) time.Duration {
	t.Helper()
	f, end := newFleet(t)
	defer end()
	good, stop := f.site("good", func(string) vcenter.Verdict { return vcenter.Pass })
	defer stop()
	f.eventually("the good vCenter answers", func() bool { return f.answers(good) })
	var silence atomic.Bool
	var silent *site
	if made != nil {
		silence.Store(*made == 0)
		silent, stop = f.site("silent", func(string) vcenter.Verdict {
			if silence.Load() {
				return vcenter.Hang
			}
			return vcenter.Pass
		})
		defer stop()
		f.fallSilent(silent, &silence, *made)
	}
	begin := time.Now()
	f.machines(fleetSize, good)
	f.eventually("the machines of the good vCenter are there", func() bool { _, n := f.on(good); return n == fleetSize })
	took := time.Since(begin)
	f.delete()
	f.eventually("the machines of the good vCenter are gone", func() bool { machines, _ := f.on(good); return len(machines) == 0 })
	if silent != nil {
		f.expectHeld(silent)
		silence.Store(false)
		f.eventually("those of the other one go when it answers again", func() bool { machines, _ := f.on(silent); return len(machines) == 0 })
		f.clear(silent)
	}
	f.clear(good)
	return took
}

// fallSilent makes machines on a vCenter that falls silent when so many are made, and waits until the workers have met it.
func (f *fleet) fallSilent(s *site, silence *atomic.Bool, made int) {
	f.Helper()
	f.machines(fleetSize, s)
	f.eventually("some are made", func() bool { _, n := f.on(s); return n >= made })
	silence.Store(true)
	time.Sleep(3 * time.Second)
	if _, n := f.on(s); n == fleetSize {
		f.Error("all machines were made before their vCenter fell silent: the story proves nothing")
	}
}

func (f *fleet) answers(s *site) bool {
	f.Helper()
	if err := apiServer.Get(f.Context(), client.ObjectKeyFromObject(s.endpoint), s.endpoint); err != nil {
		f.Fatal(err)
	}
	return conditions.IsTrue(s.endpoint, ingotv1.PlatformEndpointReadyCondition)
}

// expectHeld checks that no machine of a silent vCenter goes while nobody can tell whether anything is left of it. One of which
// nothing was ever asked may go.
func (f *fleet) expectHeld(s *site) {
	f.Helper()
	all, err := s.Machines(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	held := map[string]bool{}
	machines, _ := f.on(s)
	for _, m := range machines {
		held[m.Spec.ProviderID] = true
	}
	for id, m := range all {
		if m.Extra["ingot.machine"] == id && !held["ingot://"+id] {
			f.Errorf("the machine of %s was let go, and it is there", m.Name)
		}
	}
}

// clear checks that nothing of a machine is left on a vCenter, and lets its copies and its endpoint go.
func (f *fleet) clear(s *site) {
	f.Helper()
	left, err := s.Count(f.Context(), "ingot.machine")
	if err != nil || len(left) > 0 {
		f.Errorf("left on %s is %v (%v)", s.endpoint.Name, left, err)
	}
	replicas := &ingotv1.ImageReplicaList{}
	if err := apiServer.List(f.Context(), replicas); err != nil {
		f.Fatal(err)
	}
	for i := range replicas.Items {
		if r := &replicas.Items[i]; r.Spec.EndpointName == s.endpoint.Name {
			f.remove(r)
		}
	}
	f.remove(s.endpoint)
	f.eventually("the endpoint is gone", func() bool {
		return apierrors.IsNotFound(apiServer.Get(f.Context(), client.ObjectKeyFromObject(s.endpoint), s.endpoint))
	})
}

func (f *fleet) remove(object client.Object) {
	f.Helper()
	if err := apiServer.Delete(f.Context(), object); client.IgnoreNotFound(err) != nil {
		f.Fatal(err)
	}
}
