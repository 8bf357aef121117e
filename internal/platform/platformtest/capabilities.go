// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformtest

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// capability returns an optional capability of a platform, or ends the test without a failure: who lacks it says so.
func capability[T any](t *testing.T, p platform.Platform) T {
	t.Helper()
	c, can := platform.As[T](p)
	if !can {
		t.Skipf("this platform does not implement %T", *new(T))
	}
	return c
}

// listed returns the entry of an instance in the inventory of a management cluster.
func listed(t *testing.T, p platform.Inventory, managementClusterID, id string) (platform.Owned, bool) {
	t.Helper()
	all, err := p.List(within(t), managementClusterID)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	i := slices.IndexFunc(all, func(o platform.Owned) bool { return o.UUID == id })
	if i < 0 {
		return platform.Owned{}, false
	}
	return all[i], true
}

func testListed(t *testing.T, lab Lab) {
	p := lab.Session(t)
	inventory := capability[platform.Inventory](t, p)
	image := storedImage(t, lab, p)
	foreign := uuid.NewString()
	t.Run("beside others", func(t *testing.T) {
		lab.PutForeign(t, foreign)
		req := newRequest(lab, image)
		run(t, p, req)
		o, found := listed(t, inventory, req.ManagementClusterID, req.UUID)
		if !found || o.Identity != req.Identity || o.Power != platform.PowerOn || o.Name == "" {
			t.Errorf("listed is %+v (%t), want a running instance of %+v", o, found, req.Identity)
		}
		lab.PowerOff(t, req.UUID)
		if o, _ := listed(t, inventory, req.ManagementClusterID, req.UUID); o.Power != platform.PowerOff {
			t.Errorf("listed is %+v, want a stopped instance", o)
		}
		for _, id := range []string{req.UUID, foreign} {
			if o, found := listed(t, inventory, "3f0c9d2e-0000-4000-8000-00000000000b", id); found {
				t.Errorf("another management cluster is told that %+v is its own", o)
			}
		}
		if o, found := listed(t, inventory, req.ManagementClusterID, foreign); found {
			t.Errorf("somebody's instance is listed as ours: %+v", o)
		}
		gone(t, p, req.Identity)
		if o, found := listed(t, inventory, req.ManagementClusterID, req.UUID); found {
			t.Errorf("listed after its release: %+v", o)
		}
	})
	restore := lab.Sever(t)
	_, err := inventory.List(within(t), managementCluster)
	restore()
	wantError(t, "List of an unreachable endpoint", err, platform.ErrUnreachable)
	awaitBack(t, p)
	dropImage(t, p, image)
}

// testListedInterrupted: whatever Release would remove, List must have told of, or it stays for ever when the machine that
// it was made for is forgotten.
func testListedInterrupted(t *testing.T, lab Lab) {
	p := lab.Session(t)
	inventory := capability[platform.Inventory](t, p)
	image := storedImage(t, lab, p)
	interruptions(t, func(t *testing.T, n int, lost bool) bool {
		req := newRequest(lab, image)
		faulty, fired := lab.Faulty(t, n, lost)
		_, _ = start(t, faulty, req)
		died := fired()
		there := observe(t, p, req.Identity).Existence == platform.Exists
		o, found := listed(t, inventory, req.ManagementClusterID, req.UUID)
		if there != found {
			t.Errorf("observed: %t, listed: %t", there, found)
		}
		if found && o.Identity != req.Identity {
			t.Errorf("listed is %+v, which would not release %+v", o.Identity, req.Identity)
		}
		gone(t, p, req.Identity)
		return died
	})
	dropImage(t, p, image)
}

func testConsole(t *testing.T, lab Lab) {
	p := lab.Session(t)
	console := capability[platform.ConsoleReader](t, p)
	image := storedImage(t, lab, p)
	req := newRequest(lab, image)
	if text, err := console.ReadConsole(within(t), req.Identity, 1000); err != nil || len(text) != 0 {
		t.Errorf("the console of what is not there: %q, %v", text, err)
	}
	run(t, p, req)
	before := lab.Inventory(t)
	if text, err := console.ReadConsole(within(t), req.Identity, 10); err != nil || len(text) > 10 {
		t.Errorf("at most 10 bytes were asked for: %q, %v", text, err)
	}
	other := req.Identity
	other.ManagementClusterID = "3f0c9d2e-0000-4000-8000-00000000000b"
	_, err := console.ReadConsole(within(t), other, 1000)
	wantError(t, "ReadConsole by another management cluster", err, platform.ErrForeign)
	sameInventory(t, "after the console was read", before, lab.Inventory(t))
	gone(t, p, req.Identity)
	dropImage(t, p, image)
}

func testCapacity(t *testing.T, lab Lab) {
	p := lab.Session(t)
	reporter := capability[platform.CapacityReporter](t, p)
	if c, err := reporter.Capacity(within(t)); err != nil || c.CPUs < 1 || c.MemoryBytes < 1<<20 {
		t.Errorf("Capacity: %+v, %v", c, err)
	}
	restore := lab.Sever(t)
	_, err := reporter.Capacity(within(t))
	restore()
	wantError(t, "Capacity of an unreachable endpoint", err, platform.ErrUnreachable)
	awaitBack(t, p)
}
