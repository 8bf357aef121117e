// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// wish is what is asked for in these tests.
func wish() platform.StorageWish {
	return platform.StorageWish{Datacenter: vcenter.Datacenter, ResourcePool: vcenter.Cluster, Policy: "gold"}
}

// stores is a vCenter with a policy and two datastores, of which LocalDS_1 has more room.
func stores(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	_, err := l.Policy(t.Context(), "gold")
	check(t, err)
	l.setFree(t, "LocalDS_0", 1<<40)
	l.setFree(t, "LocalDS_1", 2<<40)
	return l
}

func (l *lab) setFree(t *testing.T, datastore string, bytes int64) {
	t.Helper()
	check(t, l.EditDatastore(datastore, func(store *mo.Datastore) { store.Summary.FreeSpace = bytes }))
}

// chooses checks which datastore a session that has asked nothing yet chooses.
func (l *lab) chooses(t *testing.T, d *vcenter.Door, want string) {
	t.Helper()
	got, err := fresh(t, d).ChooseStorage(t.Context(), wish())
	if err != nil || got != want {
		t.Errorf("chosen is %q, %v, want %s", got, err, want)
	}
}

// Whoever names a policy does not care where, as long as the data may lie there and the machine can run on every host. What is
// chosen is that of the most room, and one that cannot be is never taken because nothing else is left.
func TestStorageIsChosenByPolicy(t *testing.T) {
	l := stores(t)
	d := l.door(t)
	l.chooses(t, d, "DC0/LocalDS_1")
	for _, c := range []struct {
		name  string
		spoil func(*mo.Datastore)
		says  string
	}{
		{"one host does not have it", func(s *mo.Datastore) { s.Host = s.Host[:1] }, "LocalDS_1: 1 of the 2 working hosts have it mounted"},
		{"a host may not write to it", func(s *mo.Datastore) { s.Host[0].MountInfo.AccessMode = "readOnly" }, "1 of the 2 working hosts"},
		{"a host has lost it", func(s *mo.Datastore) { s.Host[1].MountInfo.Accessible = new(false) }, "1 of the 2 working hosts"},
		{"it is not accessible", func(s *mo.Datastore) { s.Summary.Accessible = false }, "LocalDS_1: it is not accessible"},
		{"it is emptied", func(s *mo.Datastore) { s.Summary.MaintenanceMode = "inMaintenance" }, "LocalDS_1: it is not accessible, or in maintenance mode"},
		{"its path is another's", func(s *mo.Datastore) { s.Summary.Name = "elsewhere" }, "elsewhere: it is in a folder or cluster of datastores"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before mo.Datastore
			check(t, l.EditDatastore("LocalDS_1", func(s *mo.Datastore) {
				before = *s
				s.Host = append(s.Host[:0:0], s.Host...)
				c.spoil(s)
			}))
			defer func() { check(t, l.EditDatastore("LocalDS_1", func(s *mo.Datastore) { *s = before })) }()
			l.chooses(t, d, "DC0/LocalDS_0")
			defer d.Unfit("LocalDS_0")()
			_, err := fresh(t, d).ChooseStorage(t.Context(), wish())
			if !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want what %q says", err, c.says)
			}
		})
	}
	fit := d.Unfit("LocalDS_1")
	l.chooses(t, d, "DC0/LocalDS_0")
	fit()
	l.setFree(t, "LocalDS_0", 2<<40)
	l.chooses(t, d, "DC0/LocalDS_0") // of equals always the same
}

// A machine that must run on some hosts needs a datastore that these have, and one that only should needs one that all have.
func TestStorageOfHostGroup(t *testing.T) {
	l := stores(t)
	hosts := l.Hosts()
	check(t, l.GroupHosts(t.Context(), "rack", hosts[0]))
	var first types.ManagedObjectReference
	check(t, l.EditDatastore("LocalDS_1", func(s *mo.Datastore) { first, s.Host = s.Host[0].Key, append(s.Host[:0:0], s.Host[:1]...) }))
	if name := l.HostName(first); name != hosts[0] {
		t.Fatalf("the datastore is on %s", name)
	}
	for required, want := range map[bool]string{true: "DC0/LocalDS_1", false: "DC0/LocalDS_0"} {
		asked := wish()
		asked.HostGroup = platform.HostGroup{Name: "rack", Required: required}
		got, err := fresh(t, l.door(t)).ChooseStorage(t.Context(), asked)
		if err != nil || got != want {
			t.Errorf("required %t: chosen is %q, %v, want %s", required, got, err, want)
		}
	}
	asked := wish()
	asked.HostGroup = platform.HostGroup{Name: "nowhere", Required: true}
	if _, err := fresh(t, l.door(t)).ChooseStorage(t.Context(), asked); !errors.Is(err, platform.ErrCapacity) || !strings.Contains(err.Error(), "group nowhere") {
		t.Errorf("got %v", err)
	}
}

// Why there is none is told with the policy and what each datastore lacks: nobody finds that out in vCenter's own logs.
func TestNoStorageForPolicy(t *testing.T) {
	l := stores(t)
	d := l.door(t)
	refused := func(wish platform.StorageWish, want error, says ...string) {
		t.Helper()
		_, err := fresh(t, d).ChooseStorage(t.Context(), wish)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		for _, part := range says {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}
	fit := d.Unfit()
	refused(wish(), platform.ErrUnsupported, "spec.platform.vsphere.storagePolicy", "for gold", "LocalDS_0: ", "LocalDS_1: ", "The capability is not there", "name a datastore")
	fit()
	other := wish()
	other.Policy = "platinum"
	refused(other, platform.ErrInvalid, "there is no storage policy platinum", "StorageProfile.View")
	other = wish()
	other.ResourcePool = "nowhere"
	refused(other, platform.ErrInvalid, "spec.platform.vsphere.resourcePool", "DC0/host/nowhere")
	refused(platform.StorageWish{}, platform.ErrInvalid)
	_, err := l.Policy(t.Context(), "gold")
	check(t, err)
	refused(wish(), platform.ErrInvalid, "2 storage policies are called gold: rename all but one")
	_, err = l.Policy(t.Context(), "silver")
	check(t, err)
	other = wish()
	other.Policy = "silver"
	end, err := l.Maintain(t.Context())
	check(t, err)
	refused(other, platform.ErrCapacity, "none is connected and out of maintenance mode")
	check(t, end())
}

// A hundred machines that are made at once must not ask a hundred times, nor be put here and there by the room that the first
// of them have taken; and a refusal is asked about again soon.
func TestChoosingStorageIsCheap(t *testing.T) {
	l := stores(t)
	d := l.door(t)
	p := fresh(t, d)
	asked := func() (sum int) {
		for method, n := range d.Calls() {
			if method != "WaitForUpdatesEx" {
				sum += n
			}
		}
		return sum
	}
	if _, err := p.ChooseStorage(t.Context(), wish()); err != nil {
		t.Fatal(err)
	}
	before := asked()
	l.setFree(t, "LocalDS_1", 0)
	var choosing sync.WaitGroup
	for range 50 {
		choosing.Go(func() {
			if got, err := p.ChooseStorage(t.Context(), wish()); err != nil || got != "DC0/LocalDS_1" {
				t.Errorf("chosen is %q, %v", got, err)
			}
		})
	}
	choosing.Wait()
	if n := asked() - before; n != 0 {
		t.Errorf("50 more machines cost %d round trips", n)
	}
}

// Every call on the way fails once in every way: what could not be told is not told as a refusal, and the next attempt finds
// what there is.
func TestChoosingStorageWhateverFails(t *testing.T) {
	l := stores(t)
	for _, method := range []string{
		"FindByInventoryPath", "RetrievePropertiesEx", "PbmRetrieveServiceContent", "PbmQueryProfile", "PbmRetrieveContent", "PbmCheckCompatibility",
	} {
		for _, verdict := range []vcenter.Verdict{vcenter.Drop, vcenter.Lose, vcenter.Expire} {
			t.Run(verdict.String()+" "+method, func(t *testing.T) {
				d := l.door(t)
				p := fresh(t, d)
				var once sync.Once
				d.Judge(func(m string) vcenter.Verdict {
					v := vcenter.Pass
					if m == method {
						once.Do(func() { v = verdict })
					}
					return v
				})
				failed := false
				until(t, "a datastore is chosen", func() bool {
					got, err := p.ChooseStorage(t.Context(), wish())
					if err != nil && !errors.Is(err, platform.ErrUnreachable) || err == nil && got != "DC0/LocalDS_1" {
						t.Errorf("chosen is %q, %v", got, err)
					}
					failed = failed || err != nil
					return err == nil
				})
				if !failed && verdict != vcenter.Expire { // a session that has ended is renewed on the way
					t.Error("nothing has failed")
				}
			})
		}
	}
}

// A machine costs the same whether its datastore was named or chosen: that it is compatible was told by the choice.
func TestChosenStorageCostsNothingMore(t *testing.T) {
	l := stores(t)
	l.setFree(t, "LocalDS_0", 4<<40) // where the image is
	c := newTrips(t, l)
	req := c.request(t, c.session)
	runs(t, c.session, req)
	goes(t, c.session, req.Identity)
	chooser, can := platform.As[platform.StorageChooser](c.session)
	if !can {
		t.Fatal("no chooser")
	}
	storage, err := chooser.ChooseStorage(t.Context(), wish())
	check(t, err)
	if storage != req.Storage {
		t.Fatalf("chosen is %s", storage)
	}
	req.UUID, req.StoragePolicy = uuid.NewString(), "gold"
	c.cost(t, "making a machine", 4, func() { c.makes(t, req) })
	goes(t, c.session, req.Identity)
}
