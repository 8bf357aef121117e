// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// granting is a session with a vCenter that has the copy of an image, and what machines there use.
type granting struct {
	*testing.T

	door *vcenter.Door
	s    *vsphere.Session
	used platform.Uses
}

func newGranting(t *testing.T) *granting {
	t.Helper()
	l := newLab(t)
	d := l.door(t)
	g := &granting{T: t, door: d, s: fresh(t, d)}
	l.request(t, g.s)
	g.used.Sources = []string{"https://example.org/disk.ova"}
	g.used.Images = []platform.ImagePlace{{Datacenter: vcenter.Datacenter, ResourcePools: []string{vcenter.Cluster}}}
	g.used.Places = []platform.Place{{Storage: l.Storage(), ResourcePool: vcenter.Cluster, Networks: []string{vcenter.Network}, HostGroup: "rack"}}
	until(t, "the copy is told of", func() bool { return len(g.ask().Unasked) == 0 })
	return g
}

func (g *granting) ask() platform.Privileges {
	g.Helper()
	told, err := g.s.Privileges(g.Context(), g.used)
	if err != nil {
		g.Fatal(err)
	}
	return told
}

// Whoever gives a role to an account must hear of every privilege that is forgotten, by its name, and of no other.
func TestEveryMissingPrivilegeIsNamed(t *testing.T) {
	t.Parallel()
	g := newGranting(t)
	if told := g.ask(); len(told.Missing) > 0 || len(told.Unasked) > 0 || told.Account == "" {
		t.Fatalf("an account that may do everything is told %+v", told)
	}
	for _, n := range vsphere.NeededPrivileges() {
		allow := g.door.Deny(n.Privilege)
		told := g.ask()
		allow()
		if !slices.ContainsFunc(told.Missing, func(m platform.MissingPrivilege) bool {
			return m.Privilege == n.Privilege && strings.HasPrefix(m.On, n.On+" ") && m.For == n.For && m.Optional == n.Optional
		}) {
			t.Errorf("without %s on a %s told is %+v", n.Privilege, n.On, told)
		}
		for _, m := range told.Missing {
			if m.Privilege != n.Privilege {
				t.Errorf("without %s alone %s is said to be missing", n.Privilege, m.Privilege)
			}
		}
	}
}

// It is asked of every vCenter now and then for ever.
func TestAskingForPrivilegesIsCheap(t *testing.T) {
	t.Parallel()
	g := newGranting(t)
	g.ask() // looks the places up, which the first machine would otherwise do
	before := g.door.Calls()
	g.ask()
	for method, n := range g.door.Calls() {
		if made := n - before[method]; method != "WaitForUpdatesEx" && made > 0 && (made > 1 || method != "RetrievePropertiesEx" && method != "FetchUserPrivilegeOnEntities") {
			t.Errorf("it costs %d calls of %s", made, method)
		}
	}
}

// What could not be asked is neither granted nor missing.
func TestPrivilegesThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	g := newGranting(t)
	g.used.Places = append(g.used.Places, platform.Place{Storage: g.used.Places[0].Storage, Folder: "not/there"})
	if told := g.ask(); len(told.Missing) > 0 || len(told.Unasked) != 1 || !strings.Contains(told.Unasked[0], "not/there") {
		t.Errorf("of a folder that is not seen told is %+v", told)
	}
	g.door.Judge(func(method string) vcenter.Verdict {
		if method == "FetchUserPrivilegeOnEntities" {
			return vcenter.Drop
		}
		return vcenter.Pass
	})
	if told, err := g.s.Privileges(t.Context(), g.used); !errors.Is(err, platform.ErrUnreachable) || len(told.Missing) > 0 {
		t.Errorf("without an answer told is %+v, %v", told, err)
	}
}

// Where a policy chooses the datastore, none is asked about before one was chosen, and everything else is.
func TestPrivilegesWithoutADatastore(t *testing.T) {
	g := newGranting(t)
	defer g.door.Deny("Datastore.AllocateSpace", "Network.Assign", "Resource.AssignVMToPool", "VirtualMachine.Interact.PowerOn")()
	g.used.Places[0].Storage, g.used.Images = vcenter.Datacenter+"/", nil
	told := g.ask()
	var missing []string
	for _, m := range told.Missing {
		missing = append(missing, m.Privilege)
	}
	slices.Sort(missing)
	if want := []string{"Network.Assign", "Resource.AssignVMToPool", "VirtualMachine.Interact.PowerOn"}; !slices.Equal(missing, want) || len(told.Unasked) > 0 {
		t.Errorf("told is %+v, want that %v are missing", told, want)
	}
}

// Before there is a copy of a template, the folder of the template is asked about: that is where copies are put.
func TestPrivilegesBeforeTheFirstCopy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	s := fresh(t, d)
	used := platform.Uses{Places: []platform.Place{{Storage: l.Storage(), ResourcePool: vcenter.Cluster}}}
	told, err := s.Privileges(t.Context(), used)
	if err != nil || len(told.Unasked) != 1 || !strings.Contains(told.Unasked[0], "template") {
		t.Errorf("without a template told is %+v, %v", told, err)
	}
	image := l.Image(t)
	used.Sources = []string{image.Source, "template://of-another-vcenter"}
	defer d.Deny("VirtualMachine.State.CreateSnapshot")()
	until(t, "the template is asked about", func() bool {
		told, err = s.Privileges(t.Context(), used)
		return err == nil && len(told.Unasked) == 0
	})
	if len(told.Missing) != 1 || told.Missing[0].On != "folder of templates vm" {
		t.Errorf("told is %+v", told)
	}
}

// What is imported needs more than what is there already, also before the first import, and in the folder where it is put alone.
// Who imports nothing is not asked for it.
func TestPrivilegesOfImports(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	s := fresh(t, d)
	used := platform.Uses{Places: []platform.Place{{Storage: l.Storage(), ResourcePool: vcenter.Cluster}}, Sources: []string{l.Image(t).Source}}
	told := func() platform.Privileges {
		told, err := s.Privileges(t.Context(), used)
		check(t, err)
		return told
	}
	defer d.Deny("VApp.Import")()
	if got := told(); len(got.Missing) != 0 {
		t.Errorf("without an import told is %+v", got)
	}
	used.Sources = append(used.Sources, "https://example.org/disk.ova")
	if got := told(); len(got.Missing) != 1 || got.Missing[0].On != "folder of imports "+vcenter.Datacenter+"/vm" || len(got.Unasked) != 0 {
		t.Errorf("with an import told is %+v", got)
	}
	check(t, l.MakeFolder(t.Context(), "images"))
	defer d.Deny("Resource.AssignVMToPool")()
	used.Places[0].ResourcePool = ""
	used.Images = []platform.ImagePlace{
		{Datacenter: "elsewhere", Folder: "not/asked"},
		{Datacenter: vcenter.Datacenter, Folder: "images", ResourcePools: []string{vcenter.Cluster + "/Resources/" + imagePool, "nowhere"}},
	}
	got := told()
	var on []string
	for _, missing := range got.Missing {
		on = append(on, missing.Privilege+" on "+missing.On)
	}
	if want := []string{
		"VApp.Import on folder of imports DC0/vm/images", "Resource.AssignVMToPool on resource pool of images DC0/host/DC0_C0/Resources/" + imagePool,
	}; !slices.Equal(on, want) || len(got.Unasked) != 1 || !strings.Contains(got.Unasked[0], "resource pool of images DC0/host/nowhere: it does not exist") {
		t.Errorf("with places for images told is %+v", got)
	}
}

// The page is what people give roles by.
func TestThePageHasEveryPrivilege(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/platforms/vsphere.md")
	check(t, err)
	_, table, found := strings.Cut(string(page), "| Privilege | On | For |\n|---|---|---|\n")
	if !found {
		t.Fatal("the page has no table of privileges")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, n := range vsphere.NeededPrivileges() {
		what := n.For
		if n.Optional {
			what = "only for " + what
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", n.Privilege, n.On, what))
	}
	if got := strings.Split(table, "\n"); !slices.Equal(got, want) {
		t.Errorf("the table on the page is\n%s\nwant\n%s", table, strings.Join(want, "\n"))
	}
}
