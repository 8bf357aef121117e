// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/vsphere"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

const patience = time.Minute

// request is a machine from an image that is there until the test ends.
func (l *lab) request(tb testing.TB, p platform.Platform) platform.Request {
	tb.Helper()
	return l.requestFrom(tb, p, vcenter.Spec{})
}

// requestFrom is a machine from a template that has something special.
func (l *lab) requestFrom(tb testing.TB, p platform.Platform, template vcenter.Spec) platform.Request {
	tb.Helper()
	image := l.imageFrom(tb, template)
	image.Storage = l.Storage()
	until(tb, "the image is there", func() bool {
		o, err := p.EnsureImage(tb.Context(), image)
		check(tb, err)
		return o.Ready
	})
	return l.requestOf(image)
}

// requestOf is a machine from an image.
func (l *lab) requestOf(image platform.ImageRequest) platform.Request {
	req := platform.Request{
		Identity:    platform.Identity{UUID: uuid.NewString(), ManagementClusterID: "3f0c9d2e-0000-4000-8000-00000000000a", Storage: l.Storage()},
		Name:        "machine",
		ImageSHA256: image.SHA256,
		CPUs:        2, MemoryBytes: 64 << 20,
		Interfaces: []platform.Interface{{Network: l.Network()}},
		Firmware:   platform.FirmwareUEFI,
		Bootstrap: platform.Bootstrap{Data: []byte("secret"), Channels: []delivery.Channel{
			{Kind: delivery.GuestInfo, Key: "guestinfo.ignition.config.data", Encoding: delivery.GzipBase64, EncodingKey: "guestinfo.ignition.config.data.encoding"},
		}},
	}
	l.Complete(&req)
	return req
}

// until waits for something to become true.
func until(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("it does not come to that: %s", what)
		}
	}
}

// runs ensures a machine until it runs, whatever hinders it meanwhile.
func runs(tb testing.TB, p platform.Platform, req platform.Request) {
	tb.Helper()
	until(tb, "the machine runs", func() bool {
		o, err := p.Ensure(tb.Context(), req)
		if err != nil {
			tb.Log(err)
		}
		return o.Power == platform.PowerOn
	})
}

// goes releases a machine until it is gone, whatever hinders it meanwhile.
func goes(t *testing.T, p platform.Platform, id platform.Identity) {
	t.Helper()
	until(t, "the machine is gone", func() bool {
		o, err := p.Release(t.Context(), platform.ReleaseRequest{Identity: id})
		if err != nil {
			t.Log(err)
		}
		return err == nil && o.Existence == platform.Absent
	})
}

// clones are the virtual machines that were made for a machine.
func (l *lab) clones(t *testing.T, req platform.Request) []vcenter.Machine {
	t.Helper()
	all, err := l.Machines(t.Context())
	check(t, err)
	var found []vcenter.Machine
	for _, m := range all {
		if m.Extra["ingot.machine"] == req.UUID {
			found = append(found, m)
		}
	}
	return found
}

// A call may fail in every way that a network, a vCenter and its administrator can think of, at every method that is on the
// way, once. There is always one virtual machine or none, and the way always ends.
func TestEveryMethodFailsOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	req := l.request(t, p)
	runs(t, p, req)
	goes(t, p, req.Identity)
	methods := slices.Sorted(maps.Keys(d.Calls()))
	for _, verdict := range failures() {
		l.failOnce(t, d, func(*testing.T) platform.Platform { return p }, req, methods, verdict)
	}
	d.Judge(nil)
	if n, err := l.Sessions(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions with vCenter are open, want one (%v)", n, err)
	}
}

// failures are the ways in which a call fails.
func failures() []vcenter.Verdict {
	return []vcenter.Verdict{vcenter.Drop, vcenter.Lose, vcenter.Expire}
}

// failOnce has every one of some methods fail once, while a machine is made and while it is removed.
func (l *lab) failOnce(t *testing.T, d *vcenter.Door, session func(*testing.T) platform.Platform, req platform.Request, methods []string, verdict vcenter.Verdict) {
	t.Helper()
	for _, method := range methods {
		t.Run(verdict.String()+" "+method, func(t *testing.T) {
			req := req
			req.UUID = uuid.NewString()
			var once sync.Once
			d.Judge(func(m string) vcenter.Verdict {
				v := vcenter.Pass
				if m == method {
					once.Do(func() { v = verdict })
				}
				return v
			})
			p := session(t)
			runs(t, p, req)
			if n := len(l.clones(t, req)); n != 1 {
				t.Errorf("%d virtual machines were made for one machine", n)
			}
			once = sync.Once{}
			goes(t, p, req.Identity)
			if n := len(l.clones(t, req)); n != 0 {
				t.Errorf("%d virtual machines are left of one machine", n)
			}
		})
	}
}

// A machine that asks for everything that a clone can have, and for what it cannot, needs more methods, which can fail too. Each
// time it is a session that knows nothing yet.
func TestEveryFurtherMethodFailsOnce(t *testing.T) {
	t.Parallel()
	for _, verdict := range failures() {
		t.Run(verdict.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			d := l.door(t)
			session := func(t *testing.T) platform.Platform {
				t.Helper()
				return fresh(t, d)
			}
			p := session(t)
			req := l.request(t, p)
			runs(t, p, req)
			goes(t, p, req.Identity)
			plain := d.Calls()
			req = l.everything(t, p)
			runs(t, p, req)
			goes(t, p, req.Identity)
			further := slices.DeleteFunc(slices.Sorted(maps.Keys(d.Calls())), func(method string) bool { return plain[method] > 0 })
			t.Logf("the further methods are %s", strings.Join(further, ", "))
			l.failOnce(t, d, session, req, further, verdict)
			d.Judge(nil)
		})
	}
}

// everything is a machine that asks for all that this platform can do.
func (l *lab) everything(t *testing.T, p platform.Platform) platform.Request {
	t.Helper()
	l.Offer(0x10de, 0x20b0, "grid_a100-10c")
	_, err := l.Policy(t.Context(), "gold")
	check(t, err)
	_, err = l.Tag(t.Context(), "zone", "dmz")
	check(t, err)
	req := l.requestFrom(t, p, vcenter.Spec{HardwareVersion: "vmx-11"})
	l.segment(t, "prod", "vds", "nodes")
	req.Interfaces[0].Network = "prod/vds/nodes"
	req.NameOnPlatform = "everything"
	req.StoragePolicy, req.HardwareVersion = "gold", 13
	req.VirtualGPUs = []string{"grid_a100-10c"}
	req.Tags = []platform.Tag{{Category: "zone", Name: "dmz"}}
	req.ReservedCPUMHz, req.SecureBoot, req.VirtualTPM = 500, true, true
	return req
}

// vCenter forgets sessions: after a restart, after half an hour, when an administrator ends them.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var mu sync.Mutex
	heard := map[string]bool{}
	p := connected(t, config(t, l.door(t)), func(e platform.Event) {
		mu.Lock()
		heard[e.UUID] = true
		mu.Unlock()
	})
	req := l.request(t, p)
	runs(t, p, req)
	check(t, l.EndSessions(t.Context()))
	runs(t, p, req)
	if n := len(l.clones(t, req)); n != 1 {
		t.Errorf("%d virtual machines", n)
	}
	// What happens after that is heard again: the stream has been renewed with the session.
	until(t, "changes are heard", func() bool {
		mu.Lock()
		delete(heard, req.UUID)
		mu.Unlock()
		check(t, l.GiveAddress(t.Context(), req.UUID, "192.0.2."+string("123456789"[time.Now().Nanosecond()%9])))
		time.Sleep(300 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		return heard[req.UUID]
	})
	goes(t, p, req.Identity)
}

// A vCenter that is too slow for its clients does not hear their logouts either. Each try would leave it one more session, for half
// an hour, until it has no room for anybody: once it answers, they are all ended.
func TestLogoutsThatWereNotHeardAreMadeUpFor(t *testing.T) {
	l := newLab(t)
	d := l.door(t)
	p := fresh(t, d)
	until(t, "the session is up", func() bool { _, err := p.Check(t.Context()); return err == nil })
	d.Judge(func(method string) vcenter.Verdict {
		switch method {
		case "WaitForUpdatesEx", "Logout":
			return vcenter.Drop
		default:
			return vcenter.Pass
		}
	})
	until(t, "sessions were left behind", func() bool { n, err := l.Sessions(t.Context()); return err == nil && n > 1 })
	d.Judge(nil)
	until(t, "there is one session", func() bool {
		n, err := l.Sessions(t.Context())
		_, failed := p.Check(t.Context())
		return err == nil && n == 1 && failed == nil
	})
}

// A change that nobody of us made must reach the machine's reconciler without a poll.
func TestEvents(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	events := make(chan platform.Event, 10_000)
	p := connected(t, config(t, l.door(t)), func(e platform.Event) { events <- e })
	hear := func(what string, change func() error) {
		t.Helper()
		time.Sleep(time.Second)
		for len(events) > 0 {
			<-events
		}
		check(t, change())
		late := time.After(10 * time.Second)
		for {
			select {
			case e := <-events:
				if e.UUID != "" {
					return
				}
			case <-late:
				t.Fatalf("%s is not told", what)
			}
		}
	}
	req := l.request(t, p)
	hear("the clone's end", func() error { _, err := p.Ensure(t.Context(), req); return err })
	runs(t, p, req)
	hear("an address", func() error { return l.GiveAddress(t.Context(), req.UUID, "192.0.2.7") })
	o, err := p.Observe(t.Context(), req.Identity)
	if err != nil || !slices.Contains(o.Addresses, "192.0.2.7") {
		t.Errorf("%+v %v", o, err)
	}
	hear("a stop by hand", func() error { return l.VCenter.PowerOff(t.Context(), req.UUID) })
	hear("a deletion by hand", func() error { return l.Destroy(t.Context(), req.UUID) })
	goes(t, p, req.Identity)
}

// Somebody may have a virtual machine of the name that ours would get. It is theirs.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	theirs := uuid.NewString()
	l.make(t, vcenter.Spec{Name: "x", UUID: theirs, DiskBytes: 1 << 20})
	check(t, l.VCenter.Rename(t.Context(), theirs, "machine-"+req.UUID[:8]))
	before := l.Inventory(t)
	until(t, "the name is refused", func() bool {
		_, err := p.Ensure(t.Context(), req)
		if err != nil && !errors.Is(err, platform.ErrForeign) {
			t.Fatal(err)
		}
		return err != nil
	})
	goes(t, p, req.Identity)
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Errorf("the endpoint has changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// A person may remove the copy of an image behind our back. No machine is made of something else, and the copy can be made
// again.
func TestCopyDisappears(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	runs(t, p, req)
	goes(t, p, req.Identity)
	all, err := l.Machines(t.Context())
	check(t, err)
	for id, m := range all {
		if strings.HasPrefix(m.Name, "ingot-image-") {
			check(t, l.Destroy(t.Context(), id))
		}
	}
	req.UUID = uuid.NewString()
	if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrImageNotReady) {
		t.Errorf("got %v, want %v", err, platform.ErrImageNotReady)
	}
	goes(t, p, req.Identity)
}

// A manager that was killed leaves a clone behind that is under way. Its successor does not say that there is nothing.
func TestCloneUnderWayIsNoAbsence(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	successor := fresh(t, l.door(t))
	t.Cleanup(vcenter.SlowClones(3 * time.Second))
	_, err := p.Ensure(t.Context(), req)
	check(t, err)
	for begin := time.Now(); time.Since(begin) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		o, err := successor.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity})
		if err != nil || o.Existence == platform.Absent {
			t.Fatalf("%+v %v", o, err)
		}
	}
	goes(t, successor, req.Identity)
	if n := len(l.clones(t, req)); n != 0 {
		t.Errorf("%d virtual machines are left", n)
	}
}

// A volume that a storage driver has attached belongs to somebody's data and not to the machine.
func TestVolumeSurvives(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	req.Disks = []platform.Disk{{Name: "own", Bytes: 1 << 20}}
	runs(t, p, req)
	file, err := l.Attach(t.Context(), req.UUID)
	check(t, err)
	goes(t, p, req.Identity)
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the volume went with the machine: %v", err)
	}
	if lines := strings.Join(l.Inventory(t), "\n"); strings.Contains(lines, "machine-"+req.UUID[:8]) {
		t.Errorf("something of the machine is left:\n%s", lines)
	}
}

// Data that would be cut off on its way is refused before anything is made.
func TestBootstrapDataTooLarge(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := fresh(t, l.door(t))
	req := l.request(t, p)
	before := l.Inventory(t)
	noise := make([]byte, 60<<10)
	for i := range noise {
		noise[i] = uuid.New()[i%16]
	}
	req.Bootstrap.Data = noise
	if _, err := p.Ensure(t.Context(), req); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), "guestinfo.ignition.config.data") {
		t.Errorf("got %v, want %v that names the property", err, platform.ErrUnsupported)
	}
	if after := l.Inventory(t); !slices.Equal(before, after) {
		t.Error("something was made")
	}
	req.Bootstrap.Data = []byte(strings.Repeat("much of the same, ", 100<<10))
	runs(t, p, req) // compressed it fits
	goes(t, p, req.Identity)
}

// Whoever answers under the address of vCenter must prove to be it.
func TestCertificate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.door(t)
	for name, c := range map[string]struct {
		change func(*vsphere.Config)
		in     bool
	}{
		"signed by the given authority": {func(*vsphere.Config) {}, true},
		"by its fingerprint": {func(c *vsphere.Config) {
			delete(c.Credentials, "ca.crt")
			c.Thumbprint = d.Thumbprint()
		}, true},
		"by another fingerprint": {func(c *vsphere.Config) {
			delete(c.Credentials, "ca.crt")
			c.Thumbprint = strings.Repeat("AB:", 31) + "CD"
		}, false},
		"signed by nobody we trust": {func(c *vsphere.Config) { delete(c.Credentials, "ca.crt") }, false},
		"a wrong password":          {func(c *vsphere.Config) { c.Credentials["password"] = []byte("wrong") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config(t, d)
			c.change(&settings)
			p := open(t, settings, func(platform.Event) {})
			var err error
			until(t, "vCenter has answered", func() bool { _, err = p.Check(t.Context()); return !errors.Is(err, platform.ErrNotAsked) })
			if c.in != (err == nil) || !c.in && !errors.Is(err, platform.ErrUnreachable) {
				t.Errorf("let in: %t; got %v", c.in, err)
			}
			if err != nil && strings.Contains(err.Error(), "correct horse") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}
