// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// rest counts the calls of the tagging service that came through a door.
func rest(d *vcenter.Door) (sum, attached int) {
	for method, n := range d.Calls() {
		if strings.HasPrefix(method, "REST ") {
			sum += n
		}
		if strings.HasSuffix(method, "attach-multiple-tags-to-object") {
			attached += n
		}
	}
	return sum, attached
}

// tagged is a machine with two tags that exist, and the identifier of the second.
func (l *lab) tagged(t *testing.T, p platform.Platform) (req platform.Request, zone string) {
	t.Helper()
	_, err := l.Tag(t.Context(), "owner", "team-a")
	check(t, err)
	zone, err = l.Tag(t.Context(), "zone", "dmz")
	check(t, err)
	req = l.request(t, p)
	req.Tags = []platform.Tag{{Category: "owner", Name: "team-a"}, {Category: "zone", Name: "dmz"}}
	return req, zone
}

// hasTags checks the tags of a machine.
func (l *lab) hasTags(t *testing.T, req platform.Request, want ...string) {
	t.Helper()
	got, err := l.Tags(t.Context(), req.UUID)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the tags are %v, %v; want %v", got, err, want)
	}
}

// Firewalls and backups go by tags: a machine must not run a moment without them. They cost one call of the service that is
// slower than the rest of vCenter, and whoever has none does not pay for it.
func TestTags(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	l.made(t, p, req)
	goes(t, p, req.Identity)
	if sum, _ := rest(d); sum != 0 {
		t.Errorf("a machine without tags costs %d calls of the tagging service", sum)
	}

	req, _ = l.tagged(t, p)
	var early atomic.Bool
	d.Judge(func(method string) vcenter.Verdict {
		_, attached := rest(d)
		if method == "PowerOnVM_Task" && attached == 0 {
			early.Store(true)
		}
		return vcenter.Pass
	})
	l.made(t, p, req)
	l.hasTags(t, req, "dmz", "team-a")
	if early.Load() || l.Orders()[req.UUID].PowerOn {
		t.Error("it ran before it had its tags")
	}
	goes(t, p, req.Identity)
	before, _ := rest(d)
	t.Logf("the first machine with tags costs %d calls of the tagging service", before)
	req.UUID = uuid.NewString()
	l.made(t, p, req)
	l.hasTags(t, req, "dmz", "team-a")
	if after, _ := rest(d); after != before+1 {
		t.Errorf("the second machine with tags costs %d calls of the tagging service, want 1", after-before)
	}
	goes(t, p, req.Identity)
}

// A tag that does not exist is refused before anything is made, and one that is removed meanwhile before the machine runs.
func TestTagThatDoesNotExist(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req, zone := l.tagged(t, p)
	for _, missing := range []platform.Tag{{Category: "zone", Name: "intranet"}, {Category: "cost", Name: "dmz"}} {
		wrong := req
		wrong.Tags = append(slices.Clone(req.Tags), missing)
		l.refuses(t, p, wrong, platform.ErrInvalid, "spec.platform.vsphere.tags[2]")
	}
	d.Judge(func(method string) vcenter.Verdict {
		if method == "CloneVM_Task" {
			if err := l.Untag(t.Context(), zone); err != nil {
				t.Error(err)
			}
		}
		return vcenter.Pass
	})
	until(t, "the missing tag is told", func() bool {
		_, err := p.Ensure(t.Context(), req)
		return errors.Is(err, platform.ErrInvalid) && strings.Contains(err.Error(), "spec.platform.vsphere.tags[1]")
	})
	if found := l.clones(t, req); len(found) != 1 || found[0].Running {
		t.Errorf("there is %+v", found)
	}
	d.Judge(nil)
	_, err := l.Tag(t.Context(), "zone", "dmz")
	check(t, err)
	l.made(t, p, req)
	l.hasTags(t, req, "dmz", "team-a")
	goes(t, p, req.Identity)
}

// Who looks for a tag must look at all of them. A hundred machines that want the same, or that want what does not exist, must
// not do that a hundred times.
func TestTagsAreLookedForOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req, _ := l.tagged(t, p)
	for range 20 {
		_, err := l.Tag(t.Context(), "cost", uuid.NewString())
		check(t, err)
	}
	all := make([]platform.Request, 8)
	var making sync.WaitGroup
	for i := range all {
		all[i] = req
		all[i].UUID = uuid.NewString()
		making.Go(func() { runs(t, p, all[i]) })
	}
	making.Wait()
	const most = 1 + 1 + 3 + 2*2 // the login, the list of categories, each of them, and two categories of one tag
	if sum, attached := rest(d); attached != len(all) || sum > most+attached {
		t.Errorf("%d machines cost %d calls of the tagging service, %d of which put tags on; want at most %d beside these", len(all), sum, attached, most)
	}
	for i := range all {
		goes(t, p, all[i].Identity)
	}

	req.Tags = []platform.Tag{{Category: "cost", Name: "nothing"}}
	l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.tags[0]")
	before, _ := rest(d)
	for range 10 {
		req.UUID = uuid.NewString()
		l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.tags[0]")
	}
	if after, _ := rest(d); after > before+25 {
		t.Errorf("ten more machines with a tag that does not exist cost %d calls of the tagging service", after-before)
	}
}

// A name that two tags or categories have says nothing, and the wrong firewall is worse than none.
func TestAmbiguousTags(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	req, _ := l.tagged(t, fresh(t, d))
	again, err := l.Tag(t.Context(), "zone", "other")
	check(t, err)
	check(t, l.RenameTag(t.Context(), again, "dmz"))
	p := fresh(t, d) // it has not asked yet
	l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.tags[1]: vCenter shows 2 tags dmz in the category zone: rename all but one")

	check(t, l.Untag(t.Context(), again))
	_, err = l.Tag(t.Context(), "second", "other")
	check(t, err)
	check(t, l.RenameCategory(t.Context(), "second", "owner"))
	p = fresh(t, d)
	l.refuses(t, p, req, platform.ErrInvalid, "spec.platform.vsphere.tags[0]: vCenter shows 2 categories owner: rename all but one")
}

// vCenter keeps the sessions of the tagging service for as long as the others, and has room for few.
func TestTaggingSessionEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req, _ := l.tagged(t, p)
	l.made(t, p, req)
	goes(t, p, req.Identity)
	p.Close()
	if calls := d.Calls(); calls["REST POST session"] != 1 || calls["REST DELETE session"] != 1 {
		t.Errorf("of the calls %v one begins a session and one ends it", calls)
	}
}
