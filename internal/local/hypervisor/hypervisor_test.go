// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

// guest is the smallest domain: no disk, so it stays in its firmware for ever, which asks for an address again and again.
const guest = `<domain type='qemu'>
  <name>tiny</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='network'/></os>
  <devices><interface type='network'><source network='ingot'/><model type='virtio'/></interface></devices>
</domain>`

// name tells the hypervisors of this test apart from those of others that run at the same time.
const name = "hvtest"

// helperEnv turns this test binary into a test that starts a hypervisor in that directory and is then killed.
const helperEnv = "HYPERVISOR_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		h, _, err := hypervisor.StartForTest(context.Background(), hypervisor.Options{Name: name, StateDir: dir})
		_, _ = fmt.Fprintln(os.Stdout, h, err)
		select {}
	}
	os.Exit(m.Run())
}

// life is what the steps of a story share.
type life struct {
	o      hypervisor.Options
	before string // traces of before the start
	h      *hypervisor.Hypervisor
}

// One story, because each start costs seconds: what a user of a hypervisor relies on, from start to the last trace.
func TestLifeOfAHypervisor(t *testing.T) {
	o := options(t)
	s := life{o: o, before: traces(t), h: up(t, o)}
	startGuest(t, s.h)
	for _, step := range []struct {
		name string
		run  func(*testing.T, life)
	}{
		{"the host reaches the network of the guests", hostReachesTheNetwork},
		{"a guest gets an address of the range", guestGetsAnAddress},
		{"a virtual IP is never given to a guest", virtualIPIsNeverGivenAway},
		{"the pool is a folder that the host sees", poolIsAFolder},
		{"a second start adopts", secondStartAdopts},
		{"guests survive a restart of libvirtd", guestsSurviveARestart},
		{"guests survive kill -9 of libvirtd", guestsSurviveAKill},
		{"another subnet is refused as long as guests depend on the first", otherSubnetIsRefused},
		{"stop leaves no trace", stopLeavesNoTrace},
	} {
		t.Run(step.name, func(t *testing.T) { step.run(t, s) })
	}
}

func hostReachesTheNetwork(t *testing.T, s life) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "route", "get", s.h.Gateway.String()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "dev ingot") {
		t.Errorf("%v: %s", err, out)
	}
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", s.h.Gateway.String()+":53")
	if err != nil {
		t.Fatalf("no answer from the bridge: %v", err)
	}
	_ = c.Close()
}

func guestGetsAnAddress(t *testing.T, s life) {
	t.Helper()
	if roms, _ := filepath.Glob("/usr/lib/ipxe/qemu/*virtio*.rom"); len(roms) == 0 {
		t.Skip("no network boot firmware on this machine (package ipxe-qemu)")
	}
	address := awaitLease(t, s.h)
	if address.Compare(s.h.DHCPFirst) < 0 || address.Compare(s.h.DHCPLast) > 0 {
		t.Errorf("got %s, not within %s to %s", address, s.h.DHCPFirst, s.h.DHCPLast)
	}
}

func virtualIPIsNeverGivenAway(t *testing.T, s life) {
	t.Helper()
	if !s.h.Subnet.Contains(s.h.VIP) || (s.h.DHCPFirst.Compare(s.h.VIP) <= 0 && s.h.VIP.Compare(s.h.DHCPLast) <= 0) {
		t.Errorf("VIP %s, range %s to %s of %s", s.h.VIP, s.h.DHCPFirst, s.h.DHCPLast, s.h.Subnet)
	}
}

func poolIsAFolder(t *testing.T, s life) {
	t.Helper()
	pool, err := connect(t, s.h).StoragePoolLookupByName(s.h.Pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.h.PoolPath, "side-loaded"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := connect(t, s.h)
	if err := l.StoragePoolRefresh(pool, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StorageVolLookupByName(pool, "side-loaded"); err != nil {
		t.Errorf("a file put into the pool by the host is no volume: %v", err)
	}
}

func secondStartAdopts(t *testing.T, s life) {
	t.Helper()
	again, err := hypervisor.Start(t.Context(), s.o)
	if err != nil {
		t.Fatal(err)
	}
	if *again != *s.h {
		t.Errorf("started as\n%+v\nagain as\n%+v", s.h, again)
	}
}

func guestsSurviveARestart(t *testing.T, s life) {
	t.Helper()
	if err := hypervisor.StopDaemon(t.Context(), s.o); err != nil {
		t.Fatal(err)
	}
	again := resume(t, s.o)
	if again.PID == s.h.PID || again.Subnet != s.h.Subnet {
		t.Errorf("want a new libvirtd on the old network, got %+v", again)
	}
	requireGuestRuns(t, again)
}

func guestsSurviveAKill(t *testing.T, s life) {
	t.Helper()
	again := resume(t, s.o)
	if err := syscall.Kill(again.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	requireGuestRuns(t, resume(t, s.o))
}

func otherSubnetIsRefused(t *testing.T, s life) {
	t.Helper()
	other := s.o
	other.Subnet = netip.MustParsePrefix("192.168.99.0/24")
	if _, err := hypervisor.Start(t.Context(), other); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("got %v", err)
	}
}

func stopLeavesNoTrace(t *testing.T, s life) {
	t.Helper()
	for range 2 {
		if err := hypervisor.Stop(t.Context(), s.o); err != nil {
			t.Fatal(err)
		}
	}
	if after := traces(t); after != s.before {
		t.Errorf("before:\n%s\nafter:\n%s", s.before, after)
	}
	if _, err := os.Stat(s.o.StateDir); !os.IsNotExist(err) {
		t.Errorf("the state directory is left: %v", err)
	}
}

// libvirtd has a /run and a /var of its own, and must see a state directory that lies in the machine's.
func TestStateDirectoryBelowAPrivateFolder(t *testing.T) {
	for _, parent := range []string{"/run", "/var/tmp"} {
		t.Run(parent, func(t *testing.T) {
			o := options(t)
			dir, err := os.MkdirTemp(parent, "hvt-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			o.StateDir = filepath.Join(dir, "hv")
			before := traces(t)
			s := life{o: o, before: before, h: up(t, o)}
			poolIsAFolder(t, s)
			stopLeavesNoTrace(t, s)
		})
	}
}

// Test runs are killed often, by time limits and by impatient people; they must not fill a machine with guests.
func TestKilledTestLeavesNoGuest(t *testing.T) {
	o := options(t)
	before := traces(t)
	caller := exec.CommandContext(t.Context(), os.Args[0])
	caller.Env = append(os.Environ(), helperEnv+"="+o.StateDir)
	out, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = caller.Process.Kill()
	_ = caller.Wait()
	after := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if after = traces(t); after == before {
			return
		}
	}
	t.Errorf("before:\n%s\nafter:\n%s", before, after)
	_ = hypervisor.Stop(t.Context(), o)
}

func TestTwoAtOnceDoNotCollide(t *testing.T) {
	a, b := options(t), options(t) // of the same name
	type result struct {
		h   *hypervisor.Hypervisor
		err error
	}
	results := make(chan result)
	for _, o := range []hypervisor.Options{a, b} {
		go func() {
			h, err := hypervisor.Start(context.Background(), o)
			results <- result{h, err}
		}()
		t.Cleanup(func() {
			if err := hypervisor.Stop(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	first, second := <-results, <-results
	if first.err != nil || second.err != nil {
		t.Fatal(first.err, second.err)
	}
	if first.h.Subnet == second.h.Subnet || first.h.Namespace == second.h.Namespace {
		t.Fatalf("they share something: %+v %+v", first.h, second.h)
	}
	startGuest(t, first.h)
	if domains, _, err := connect(t, second.h).ConnectListAllDomains(1, 0); err != nil || len(domains) != 0 {
		t.Errorf("one sees guests of the other: %v %v", domains, err)
	}
}

// What a start that was killed half way left must neither stop the next start nor survive Stop.
func TestHalfMadeHypervisor(t *testing.T) {
	for _, tc := range []struct {
		name string
		cut  func(t *testing.T, h *hypervisor.Hypervisor, o hypervisor.Options)
		why  string
	}{
		{"state lost after the subnet was claimed", func(t *testing.T, _ *hypervisor.Hypervisor, o hypervisor.Options) {
			t.Helper()
			if err := os.Remove(filepath.Join(o.StateDir, "state.json")); err != nil {
				t.Fatal(err)
			}
		}, "the claim is made before it is written down"},
		{"network namespace gone", func(t *testing.T, h *hypervisor.Hypervisor, o hypervisor.Options) {
			t.Helper()
			if err := hypervisor.StopDaemon(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			for pid := range strings.FieldsSeq(run(t, "ip", "netns", "pids", h.Namespace)) {
				run(t, "kill", "-9", pid)
			}
			run(t, "ip", "netns", "delete", h.Namespace)
		}, "that is what a reboot leaves"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(t)
			before := traces(t)
			h := up(t, o)
			tc.cut(t, h, o)
			again := resume(t, o)
			if again.Subnet != h.Subnet {
				t.Errorf("%s, so it must find its subnet %s again, got %s", tc.why, h.Subnet, again.Subnet)
			}
			if err := hypervisor.Stop(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if after := traces(t); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestBadOptionsAreRefusedBeforeAnythingIsMade(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*hypervisor.Options)
		says   string
	}{
		{"name", func(o *hypervisor.Options) { o.Name = "Not OK" }, "lower-case"},
		{"no directory", func(o *hypervisor.Options) { o.StateDir = "" }, "state directory"},
		{"long directory", func(o *hypervisor.Options) { o.StateDir += strings.Repeat("/long", 20) }, "too long for a socket"},
		{"small subnet", func(o *hypervisor.Options) { o.Subnet = netip.MustParsePrefix("192.168.9.0/25") }, "24 bits"},
		{"range", func(o *hypervisor.Options) { o.DHCPFirst, o.DHCPLast = 200, 100 }, "DHCP range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := options(t)
			before := traces(t)
			tc.change(&o)
			if _, err := hypervisor.Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want an error with %q, got %v", tc.says, err)
			}
			if after := traces(t); after != before {
				t.Errorf("something was made: %s", after)
			}
		})
	}
}

func TestTakenSubnetIsAClearError(t *testing.T) {
	first, second := options(t), options(t)
	h := up(t, first)
	second.Subnet = h.Subnet
	t.Cleanup(func() { _ = hypervisor.Stop(context.Background(), second) })
	_, err := hypervisor.Start(t.Context(), second)
	if err == nil || !strings.Contains(err.Error(), "already has a route") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedByLibvirtdShowsItsLog(t *testing.T) {
	o := options(t)
	t.Cleanup(func() { _ = hypervisor.Stop(context.Background(), o) })
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "libvirtd"), []byte("#!/bin/sh\necho cannot do this; exit 6\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	_, err := hypervisor.Start(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "cannot do this") || !strings.Contains(err.Error(), "exit status 6") {
		t.Errorf("got %v", err)
	}
}
