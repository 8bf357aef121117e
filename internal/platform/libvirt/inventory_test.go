// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// counter counts exchanges with libvirtd by their verb.
type counter struct {
	mu     sync.Mutex
	counts map[string]int
	errs   map[string]error
}

func (c *counter) count(verb string, err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts, c.errs = map[string]int{}, map[string]error{}
	}
	c.counts[verb]++
	if err != nil || took < 0 {
		c.errs[verb] = err
	}
}

// take returns what was counted since the last time. The ping comes when it wants.
func (c *counter) take() (counts map[string]int, errs map[string]error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, errs = c.counts, c.errs
	c.counts, c.errs = map[string]int{}, map[string]error{}
	delete(counts, "ping")
	return counts, errs
}

// secondPool makes a pool until the test ends.
func (l *lab) secondPool(t *testing.T) golibvirt.StoragePool {
	t.Helper()
	dir, err := os.MkdirTemp(l.options.StateDir, "pool-")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := l.admin.StoragePoolDefineXML("<pool type='dir'><name>second</name><target><path>"+dir+"</path></target></pool>", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.admin.StoragePoolCreate(pool, golibvirt.StoragePoolCreateNormal); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, _ = l.admin.StoragePoolDestroy(pool), l.admin.StoragePoolUndefine(pool), os.RemoveAll(dir)
	})
	return pool
}

// stored stores an image until the test ends.
func (l *lab) stored(t *testing.T, p platform.Platform) platform.ImageRequest {
	t.Helper()
	disk := make([]byte, 1<<20)
	copy(disk, uuid.NewString())
	image := l.artefact(t, disk, "raw")
	if err := store(t.Context(), p, image); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.ReleaseImage(context.WithoutCancel(t.Context()), image.ImageIdentity); err != nil {
			t.Errorf("ReleaseImage: %v", err)
		}
	})
	return image
}

// list lists what belongs to a management cluster.
func list(t *testing.T, p platform.Inventory, owner string) []platform.Owned {
	t.Helper()
	got, err := p.List(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func sorted(owned []platform.Owned) []platform.Owned {
	slices.SortFunc(owned, func(a, b platform.Owned) int {
		return cmp.Or(cmp.Compare(a.UUID, b.UUID), cmp.Compare(a.Storage, b.Storage))
	})
	return owned
}

func testInventory(t *testing.T, l *lab) {
	t.Helper()
	second := l.secondPool(t)
	p := l.reach(t, l.host.URI, nil)
	if got := list(t, p, "mc"); len(got) != 0 {
		t.Fatalf("before anything was made there is %+v", got)
	}
	var want []platform.Owned
	expect := func(req platform.Request, storage string, state platform.Power) {
		o := platform.Owned{Identity: req.Identity, Power: state}
		o.Storage = storage
		if state != platform.PowerUnknown {
			o.Name = libvirt.DomainName(req.Identity, req.Name)
		}
		want = append(want, o)
	}
	image := l.stored(t, p)
	boot := func() platform.Request {
		req := l.oneOf(t, p, image)
		run(t, p, req)
		return req
	}

	whole := boot()
	expect(whole, l.host.Pool, platform.PowerOn)
	off := boot()
	l.PowerOff(t, off.UUID)
	expect(off, l.host.Pool, platform.PowerOff)
	undefined := boot() // by somebody who thought that this removes it
	l.undefine(t, undefined.UUID)
	expect(undefined, l.host.Pool, platform.PowerUnknown)
	emptied := boot() // by somebody who cleaned up the pool
	l.deleteVolumes(t, l.pool(t), emptied.Identity)
	expect(emptied, l.host.Pool, platform.PowerOn)
	moved := boot() // by somebody who copied a volume
	l.volumeIn(t, second, libvirt.VolumeNames(moved.Identity)[0])
	expect(moved, l.host.Pool, platform.PowerOn)
	expect(moved, "second", platform.PowerUnknown)
	elsewhere := whole
	elsewhere.UUID = uuid.NewString()
	l.volumeIn(t, second, libvirt.VolumeNames(elsewhere.Identity)[1])
	expect(elsewhere, "second", platform.PowerUnknown)

	// What is not ours.
	other := elsewhere
	other.UUID, other.ManagementClusterID = uuid.NewString(), "another"
	l.volumeIn(t, second, libvirt.VolumeNames(other.Identity)[0])
	l.define(t, "somebody", uuid.NewString())
	l.defineClone(t, whole)
	l.volume(t, "ingot-"+uuid.NewString()+"-root.qcow2")

	if diff := gocmp.Diff(sorted(want), list(t, p, "mc")); diff != "" {
		t.Error(diff)
	}
	theirs := platform.Owned{Identity: other.Identity}
	theirs.Storage = "second"
	if diff := gocmp.Diff([]platform.Owned{theirs}, list(t, p, "another")); diff != "" {
		t.Error(diff)
	}
	if _, err := p.List(t.Context(), ""); !errors.Is(err, platform.ErrInvalid) {
		t.Errorf("of no cluster: %v", err)
	}

	if err := l.admin.StoragePoolDestroy(second); err != nil {
		t.Fatal(err)
	}
	got, err := p.List(t.Context(), "mc")
	if restart := l.admin.StoragePoolCreate(second, 0); restart != nil {
		t.Fatal(restart)
	}
	if !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "second") || !strings.Contains(err.Error(), "pool-start") || got != nil {
		t.Errorf("with a pool that shows nothing: %v, %v", got, err)
	}
}

// undefine ends and undefines a domain by hand.
func (l *lab) undefine(t *testing.T, id string) {
	t.Helper()
	d := l.domain(t, id)
	if err := errors.Join(l.admin.DomainDestroy(d), l.admin.DomainUndefineFlags(d, golibvirt.DomainUndefineNvram)); err != nil {
		t.Fatal(err)
	}
}

// deleteVolumes deletes the volumes of an instance by hand.
func (l *lab) deleteVolumes(t *testing.T, pool golibvirt.StoragePool, id platform.Identity) {
	t.Helper()
	for _, name := range libvirt.VolumeNames(id) {
		v, err := l.admin.StorageVolLookupByName(pool, name)
		if err == nil {
			err = l.admin.StorageVolDelete(v, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// volumeIn makes a volume by hand. It goes with its pool.
func (l *lab) volumeIn(t *testing.T, pool golibvirt.StoragePool, name string) {
	t.Helper()
	if _, err := l.admin.StorageVolCreateXML(pool, "<volume><name>"+name+"</name><capacity>4096</capacity></volume>", 0); err != nil {
		t.Fatal(err)
	}
}

// defineClone makes a domain with the mark of a machine and a uuid of its own, as virt-clone does.
func (l *lab) defineClone(t *testing.T, req platform.Request) {
	t.Helper()
	d, err := l.admin.DomainDefineXML(fmt.Sprintf(`<domain type='qemu'><name>clone</name><uuid>%s</uuid><memory unit='MiB'>32</memory><metadata>
<ingot:instance xmlns:ingot="https://ingot.dev/libvirt/v1" machine="%s" management-cluster="%s" storage="%s"/></metadata>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`, uuid.NewString(), req.UUID, req.ManagementClusterID, req.Storage))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.admin.DomainUndefine(d) })
}

// The list is asked for again and again on hosts with hundreds of machines: it must not ask about each.
func testInventoryCost(t *testing.T, l *lab) {
	t.Helper()
	var calls counter
	p := l.open(t, newProxy(t, l.host.Socket), func(c *libvirt.Config) { c.Calls = calls.count })
	image := l.stored(t, p)
	var costs []map[string]int
	for n := range 4 {
		run(t, p, l.oneOf(t, p, image))
		_, _ = calls.take()
		if got := list(t, p, "mc"); len(got) != n+1 {
			t.Fatalf("%d machines are listed as %+v", n+1, got)
		}
		counts, _ := calls.take()
		costs = append(costs, counts)
	}
	t.Logf("one list costs %v", costs[0])
	want := map[string]int{"list domains": 1, "list storage pools": 1, "list volumes of storage pool": 1}
	for n, cost := range costs {
		if diff := gocmp.Diff(want, cost); diff != "" {
			t.Errorf("with %d machines: %s", n+1, diff)
		}
	}
}

// Everything that goes over the wire is told, under a few names without identities, and a no is not a failure.
func testCalls(t *testing.T, l *lab) {
	t.Helper()
	var calls counter
	wire := newProxy(t, l.host.Socket)
	p := l.open(t, wire, func(c *libvirt.Config) { c.Calls = calls.count })
	counts, errs := calls.take()
	if counts["connect"] != 1 || counts["subscribe"] != 1 || counts["read versions"] != 1 || len(errs) != 0 {
		t.Errorf("to connect took %v, %v", counts, errs)
	}
	req := l.request(t, p)
	run(t, p, req)
	if o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Existence != platform.Absent {
		t.Fatalf("Release: %+v, %v", o, err)
	}
	counts, errs = calls.take()
	t.Logf("a life costs %v", counts)
	for _, verb := range []string{"upload volume", "create volume", "delete volume", "define domain", "start domain", "resume domain", "undefine domain", "read domain"} {
		if counts[verb] == 0 {
			t.Errorf("%s is not told", verb)
		}
	}
	for verb := range counts {
		if strings.ContainsAny(verb, "0123456789/-") || strings.Contains(verb, l.host.Pool) {
			t.Errorf("%q holds more than a verb", verb)
		}
	}
	if len(errs) != 0 {
		t.Errorf("in a life without trouble these failed: %v", errs)
	}
	if _, err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	wire.Sever()
	eventually(t, "the loss is noticed", func() bool { return !p.Status().Connected })
	eventually(t, "failed attempts to connect are told", func() bool {
		_, errs := calls.take()
		return errors.Is(errs["connect"], platform.ErrUnreachable)
	})
	wire.Restore()
	eventually(t, "the session is back", func() bool { return p.Status().Connected })
}

func testCapacity(t *testing.T, l *lab) {
	t.Helper()
	p := l.reach(t, l.host.URI, nil)
	got, err := p.Capacity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	online, err := os.ReadDir("/sys/devices/system/cpu")
	if err != nil {
		t.Fatal(err)
	}
	cpus := slices.DeleteFunc(online, func(e os.DirEntry) bool {
		var n int
		_, err := fmt.Sscanf(e.Name(), "cpu%d", &n)
		return err != nil
	})
	var kib int64 // libvirt counts what the NUMA nodes have
	nodes, err := filepath.Glob("/sys/devices/system/node/node*/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		info, err := os.ReadFile(node)
		if err != nil {
			t.Fatal(err)
		}
		var n, has int64
		if _, err := fmt.Sscanf(string(info), "Node %d MemTotal: %d kB", &n, &has); err != nil {
			t.Fatal(err)
		}
		kib += has
	}
	if want := (platform.Capacity{CPUs: int32(len(cpus)), MemoryBytes: kib << 10}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
