// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/vcenter"
)

// trips counts the round trips of a session whose owner does what a reconciler does.
type trips struct {
	*lab

	door    *vcenter.Door
	session platform.Platform
	events  chan platform.Event
}

func newTrips(t *testing.T, l *lab) *trips {
	t.Helper()
	c := &trips{lab: l, door: l.door(t), events: make(chan platform.Event, 10_000)}
	c.session = connected(t, config(t, c.door), func(e platform.Event) { c.events <- e })
	return c
}

// cost counts round trips apart from the wait for changes, which is one for all machines.
func (c *trips) cost(t *testing.T, what string, most int, step func()) {
	t.Helper()
	before := c.door.Calls()
	step()
	sum, lines := 0, []string{}
	for method, n := range c.door.Calls() {
		if n -= before[method]; n > 0 && method != "WaitForUpdatesEx" {
			sum += n
			lines = append(lines, fmt.Sprintf("%d %s", n, method))
		}
	}
	slices.Sort(lines)
	t.Logf("%s: %d round trips: %s", what, sum, strings.Join(lines, ", "))
	if sum > most {
		t.Errorf("%s costs %d round trips, want at most %d", what, sum, most)
	}
}

// told works as a reconciler does: once, and again when something is told of the machine.
func (c *trips) told(t *testing.T, uuid string, step func() bool) {
	t.Helper()
	for !step() {
		for late := time.After(20 * time.Second); ; {
			select {
			case e := <-c.events:
				if e.UUID != uuid {
					continue
				}
			case <-late:
				t.Fatal("nothing was told")
			}
			break
		}
	}
}

// makes has a machine made, from nothing to its address.
func (c *trips) makes(t *testing.T, req platform.Request) {
	t.Helper()
	c.told(t, req.UUID, func() bool {
		o, err := c.session.Ensure(t.Context(), req)
		check(t, err)
		return o.Power == platform.PowerOn
	})
	check(t, c.GiveAddress(t.Context(), req.UUID, "192.0.2.7"))
	time.Sleep(time.Second)
	_, err := c.session.Observe(t.Context(), req.Identity)
	check(t, err)
}

// removes has a machine removed.
func (c *trips) removes(t *testing.T, req platform.Request) {
	t.Helper()
	for range 2 { // absence is looked at twice
		c.told(t, req.UUID, func() bool {
			o, err := c.session.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity})
			check(t, err)
			return o.Existence == platform.Absent
		})
		time.Sleep(2 * time.Second) // which is how long a reconciler waits in between
	}
}

// vCenters break under the calls of their clients: what one machine costs is bounded, and what rests costs nothing.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	c := newTrips(t, newLab(t))
	req := c.request(t, c.session)
	runs(t, c.session, req)
	goes(t, c.session, req.Identity)
	req.UUID = uuid.NewString()
	c.cost(t, "making a machine", 4, func() { c.makes(t, req) })
	c.cost(t, "a machine that rests", 0, func() { time.Sleep(2 * time.Second) })
	c.cost(t, "blanking its bootstrap data", 2, func() {
		scrubber, can := platform.As[platform.BootstrapScrubber](c.session)
		if !can {
			t.Fatal("no scrubber")
		}
		check(t, scrubber.ScrubBootstrap(t.Context(), req.Identity))
	})
	c.cost(t, "removing a machine", 4, func() { c.removes(t, req) })
}

// Machines go beside others that are being made or removed. What is read of one task is not taken for another's: a removal whose step
// has ended goes on, whatever else is under way.
func TestRemovalBesideOtherTasks(t *testing.T) {
	c := newTrips(t, newLab(t))
	req := c.request(t, c.session)
	c.makes(t, req)
	other := req
	other.UUID, other.Name = uuid.NewString(), "other"
	before := c.door.Calls()["RetrievePropertiesEx"]
	for len(c.events) > 0 {
		<-c.events // of its making
	}
	step := func(want string) {
		t.Helper()
		if o, err := c.session.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity}); err != nil || o.Detail != want {
			t.Errorf("%+v, %v, want %s", o, err, want)
		}
	}
	step("being switched off")
	until(t, "it is off, as the session has heard", func() bool {
		select {
		case e := <-c.events:
			return e.UUID == req.UUID
		default:
			return false
		}
	})
	restore := vcenter.SlowClones(2 * time.Second)
	defer restore()
	if o, err := c.session.Ensure(t.Context(), other); err != nil || o.Detail != "cloning" {
		t.Fatalf("%+v, %v", o, err)
	}
	step("being destroyed")
	if n := c.door.Calls()["RetrievePropertiesEx"] - before; n != 2 {
		t.Errorf("it was looked %d times, want once for each step", n)
	}
	runs(t, c.session, other)
	goes(t, c.session, req.Identity)
	goes(t, c.session, other.Identity)
}

// Reconcilers with many machines come late, and the stream is not asked often for ever: what it has told proves an absence all the
// same, and vCenter is not asked again. Nor is it when it takes long to answer the stream.
func TestLateLooksCostNothingMore(t *testing.T) {
	c := newTrips(t, newLab(t))
	req := c.request(t, c.session)
	absent := func() bool {
		o, err := c.session.Release(t.Context(), platform.ReleaseRequest{Identity: req.Identity})
		check(t, err)
		return o.Existence == platform.Absent
	}
	for name, late := range map[string]func(){
		"late for the second": func() { time.Sleep(12 * time.Second) },
		"vCenter slow": func() {
			c.door.Judge(func(method string) vcenter.Verdict {
				if method == "WaitForUpdatesEx" {
					time.Sleep(1500 * time.Millisecond)
				}
				return vcenter.Pass
			})
			time.Sleep(2 * time.Second)
		},
	} {
		req.UUID = uuid.NewString()
		c.makes(t, req)
		c.cost(t, "removing a machine, "+name, 4, func() {
			c.told(t, req.UUID, absent)
			late()
			if !absent() {
				t.Error("the second look does not tell that it is gone")
			}
		})
		c.door.Judge(nil)
	}
}

// What a clone can hold costs nothing more, and what it cannot costs what must be done beside it, once what does not change
// was asked for.
func TestRoundTripsOfMore(t *testing.T) {
	t.Parallel()
	for _, more := range []struct {
		name string
		most int
		ask  func(all, req *platform.Request)
	}{
		{"reservations", 4, func(all, req *platform.Request) { req.ReservedCPUMHz = all.ReservedCPUMHz }},
		{"a storage policy", 4, func(all, req *platform.Request) { req.StoragePolicy = all.StoragePolicy }},
		{"a chosen name", 4, func(all, req *platform.Request) { req.NameOnPlatform = all.NameOnPlatform }},
		{"a device", 4, func(all, req *platform.Request) { req.VirtualGPUs = all.VirtualGPUs }},
		{"tags", 9, func(all, req *platform.Request) { req.Tags = all.Tags }},
		{"newer hardware", 10, func(all, req *platform.Request) { req.HardwareVersion = all.HardwareVersion }},
		{"everything", 11, func(all, req *platform.Request) { *req = *all }},
	} {
		t.Run(more.name, func(t *testing.T) {
			t.Parallel()
			c := newTrips(t, newLab(t))
			all := c.everything(t, c.session)
			req := platform.Request{
				Identity: all.Identity, Name: all.Name, ImageSHA256: all.ImageSHA256, ResourcePool: all.ResourcePool,
				CPUs: all.CPUs, MemoryBytes: all.MemoryBytes, Interfaces: all.Interfaces, Firmware: all.Firmware, Bootstrap: all.Bootstrap,
			}
			more.ask(&all, &req)
			runs(t, c.session, req)
			goes(t, c.session, req.Identity)
			req.UUID = uuid.NewString()
			c.cost(t, "making a machine with "+more.name, more.most, func() { c.makes(t, req) })
			c.cost(t, "removing it", 4, func() { c.removes(t, req) })
		})
	}
}
