// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// standard is the network that every host of the simulator has.
const standard = "VM Network"

// segment makes a port group on a new switch in a new folder, "" for the datacenter's own, and returns its reference.
func (l *lab) segment(t *testing.T, folder, on, name string) (reference string) {
	t.Helper()
	if folder != "" {
		check(t, l.MakeNetworkFolder(t.Context(), "", folder))
	}
	check(t, l.MakeSwitch(t.Context(), folder, on))
	if folder != "" {
		on = folder + "/" + on
	}
	return l.portGroup(t, on, name)
}

func (l *lab) portGroup(t *testing.T, on, name string) (reference string) {
	t.Helper()
	reference, err := l.MakePortGroup(t.Context(), on, name)
	check(t, err)
	return reference
}

// wired is a lab with a session and a machine that are asked for networks.
type wired struct {
	*testing.T

	lab  *lab
	door *vcenter.Door
	s    *vsphere.Session
	req  platform.Request
}

func newWired(t *testing.T) *wired {
	t.Helper()
	w := &wired{T: t, lab: newLab(t)}
	w.door = w.lab.door(t)
	w.s = fresh(t, w.door)
	w.req = w.lab.request(t, w.s)
	return w
}

// on is the machine on a network, with an identity of its own.
func (w *wired) on(network string) platform.Request {
	req := w.req
	req.UUID = uuid.NewString()
	req.Interfaces = []platform.Interface{{Network: network}}
	return req
}

// connects checks what a machine is connected to that names a network, with a session that has looked for none yet.
func (w *wired) connects(network, want string) {
	w.Helper()
	s, req := fresh(w.T, w.door), w.on(network)
	if got := w.lab.made(w.T, s, req).Networks; !slices.Equal(got, []string{want}) {
		w.Errorf("a machine on %s is connected to %v, want %s", network, got, want)
	}
	goes(w.T, s, req.Identity)
}

// refuses checks that no machine is made on a network, with such a session, and what it is told.
func (w *wired) refuses(network string, says ...string) {
	w.Helper()
	s := fresh(w.T, w.door)
	for _, text := range says {
		w.lab.refuses(w.T, s, w.on(network), platform.ErrInvalid, text)
	}
}

// A vCenter with NSX has one name for several networks. Asked for the name it answers with any of them, and a machine would be made
// on a wrong one, which nobody sees before its Node does not come. It is refused, and told how to say which one is meant: what it
// is told can be written as it is.
func TestNetworksOfOneName(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	first, second := w.lab.segment(t, "", "vds-1", "nodes"), w.lab.segment(t, "", "vds-2", "nodes")
	w.refuses("nodes", "spec.networks[0].name: /DC0/network/nodes: ",
		fmt.Sprintf("vds-1/nodes@%s (DistributedVirtualPortgroup), vds-2/nodes@%s (DistributedVirtualPortgroup)", first, second))
	w.connects("vds-1/nodes", first)
	w.connects("vds-2/nodes", second)
	w.connects("nodes@"+second, second)

	third := w.lab.portGroup(t, "vds-2", "nodes")
	w.refuses("vds-2/nodes", "vds-2/nodes@"+second, "vds-2/nodes@"+third)
	w.refuses("vds-1/nodes@"+third, "there is no /DC0/network/vds-1/nodes@"+third)
	w.refuses("others@"+third, "there is no /DC0/network/others@"+third)
	w.connects("vds-2/nodes@"+third, third)
	w.connects("vds-1/nodes", first)
}

// A host that is added brings standard networks with the names that it has, one of which may be that of a port group.
func TestNetworkAndPortGroupOfOneName(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	w.connects(standard, standard)
	group := w.lab.segment(t, "", "vds-1", standard)
	w.refuses(standard, "(Network)", "vds-1/VM Network@"+group)
	w.connects("vds-1/"+standard, group)
	_, err := fresh(t, w.door).Ensure(t.Context(), w.on(standard))
	words := strings.Fields(fmt.Sprint(err))
	at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "Network@network-") })
	if at < 0 {
		t.Fatalf("the reference of the network is not told: %v", err)
	}
	w.connects("VM "+words[at], standard)
}

// Large vCenters keep networks in folders. What a path means is what lies there, whatever else has the name elsewhere, and who names
// one that is elsewhere is told where.
func TestNetworksInFolders(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	inside := w.lab.segment(t, "prod", "vds-1", "nodes")
	w.refuses("nodes", "there is no /DC0/network/nodes in the inventory that the session sees; there is prod/vds-1/nodes")
	w.connects("prod/nodes", inside)
	w.connects("prod/vds-1/nodes", inside)
	outside := w.lab.segment(t, "", "vds-2", "nodes")
	w.connects("nodes", outside)
	w.connects("prod/nodes", inside)
	check(t, w.lab.MakeNetworkFolder(t.Context(), "prod", "storage"))
	check(t, w.lab.MakeSwitch(t.Context(), "prod/storage", "vds-3"))
	deep := w.lab.portGroup(t, "prod/storage/vds-3", "nodes")
	w.connects("prod/storage/nodes", deep)
	w.refuses("prod/Nodes", "; there is prod/storage/vds-3/nodes, prod/vds-1/nodes, vds-2/nodes")
	w.refuses("storage/nodes", "there is no /DC0/network/storage/nodes")
	w.refuses("nowhere", "there is no /DC0/network/nowhere in the inventory that the session sees")
}

// A name that is not of one alone is looked for by every machine that has it, again and again: vCenter must not be read for each.
func TestRefusedNetworksAreReadOnce(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	w.lab.segment(t, "", "vds-1", "nodes")
	w.lab.segment(t, "", "vds-2", "nodes")
	var read sync.Map
	w.door.Witness(func(method string, body []byte) {
		if method == "RetrievePropertiesEx" && strings.Contains(string(body), "childEntity") {
			read.Store(new(int), true)
		}
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := w.s.Ensure(t.Context(), w.on("nodes")); !errors.Is(err, platform.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	times := 0
	read.Range(func(any, any) bool { times++; return true })
	if times != 1 {
		t.Errorf("20 machines have the networks read %d times", times)
	}
}

// The privilege is needed on the network that the machines use: another one of that name says nothing.
func TestPrivilegesOfNetworks(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	first := w.lab.segment(t, "prod", "vds-1", "nodes")
	second := w.lab.portGroup(t, "prod/vds-1", "nodes")
	var mu sync.Mutex
	var asked string
	w.door.Witness(func(method string, body []byte) {
		if method == "FetchUserPrivilegeOnEntities" {
			mu.Lock()
			asked = string(body)
			mu.Unlock()
		}
	})
	ask := func(network string) platform.Privileges {
		told, err := w.s.Privileges(t.Context(), platform.Uses{Places: []platform.Place{
			{Storage: w.lab.Storage(), ResourcePool: vcenter.Cluster, Networks: []string{network}},
		}})
		check(t, err)
		return told
	}
	defer w.door.Deny("Network.Assign")()
	told := ask("prod/vds-1/nodes@" + second)
	if !strings.Contains(asked, ">"+second+"<") || strings.Contains(asked, ">"+first+"<") {
		t.Errorf("asked is\n%s\nwant about %s, not about %s", asked, second, first)
	}
	if len(told.Missing) != 1 || told.Missing[0].On != "network DC0/network/prod/vds-1/nodes@"+second {
		t.Errorf("told is %+v", told)
	}
	if told = ask("prod/nodes"); len(told.Missing) != 0 || len(told.Unasked) != 1 || !strings.Contains(told.Unasked[0], "network DC0/network/prod/nodes: more than one has that name") {
		t.Errorf("of a name of two told is %+v", told)
	}
	if told = ask("nowhere"); len(told.Unasked) != 1 || !strings.Contains(told.Unasked[0], "network DC0/network/nowhere: it does not exist") {
		t.Errorf("of a network that is not there told is %+v", told)
	}
}
