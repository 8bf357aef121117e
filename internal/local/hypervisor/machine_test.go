// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
)

func options(t *testing.T) hypervisor.Options {
	t.Helper()
	for _, missing := range hypervisor.Preflight() {
		t.Fatalf("this machine cannot run guests: %s", missing)
	}
	dir, err := os.MkdirTemp("", "hvt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return hypervisor.Options{Name: name, StateDir: filepath.Join(dir, "hv")}
}

// up starts a hypervisor as a child of this test and removes it at the end.
func up(t *testing.T, o hypervisor.Options) *hypervisor.Hypervisor {
	t.Helper()
	h, stop, err := hypervisor.StartForTest(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// resume starts again what another call removes at the end.
func resume(t *testing.T, o hypervisor.Options) *hypervisor.Hypervisor {
	t.Helper()
	o.Child = true
	h, err := hypervisor.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func connect(t *testing.T, h *hypervisor.Hypervisor) *libvirt.Libvirt {
	t.Helper()
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(h.Socket)))
	if err := l.ConnectToURI(libvirt.QEMUSystem); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Disconnect() })
	return l
}

func startGuest(t *testing.T, h *hypervisor.Hypervisor) {
	t.Helper()
	l := connect(t, h)
	d, err := l.DomainDefineXML(guest)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.DomainCreate(d); err != nil {
		t.Fatal(err)
	}
}

func awaitLease(t *testing.T, h *hypervisor.Hypervisor) netip.Addr {
	t.Helper()
	l := connect(t, h)
	network, err := l.NetworkLookupByName(h.Network)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		leases, _, err := l.NetworkGetDhcpLeases(network, nil, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(leases) > 0 {
			return netip.MustParseAddr(leases[0].Ipaddr)
		}
	}
	t.Fatal("no guest has got an address within two minutes")
	return netip.Addr{}
}

func requireGuestRuns(t *testing.T, h *hypervisor.Hypervisor) {
	t.Helper()
	l := connect(t, h)
	d, err := l.DomainLookupByName("tiny")
	if err != nil {
		t.Fatal(err)
	}
	if state, _, err := l.DomainGetState(d, 0); err != nil || libvirt.DomainState(state) != libvirt.DomainRunning {
		t.Fatalf("the guest does not run: state %d, %v", state, err)
	}
}

// traces is what the machine has of the hypervisors of these tests: namespaces, links, mounts and processes. A route
// goes with its link.
func traces(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return "namespaces: " + grep(run(t, "ip", "netns", "list"), "ingot-"+name) +
		"\nlinks: " + grep(run(t, "ip", "link"), "ingot-"+name) +
		"\nmounts: " + grep(string(mounts), "ingot-"+name) +
		"\nprocesses: " + processes(t)
}

// processes lists those that see a private /run of these tests.
func processes(t *testing.T) string {
	t.Helper()
	views, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for _, view := range views {
		if content, err := os.ReadFile(view); err == nil && strings.Contains(string(content), "/hvt-") {
			comm, _ := os.ReadFile(filepath.Join(filepath.Dir(view), "comm"))
			found.WriteString(view + " " + string(comm))
		}
	}
	return found.String()
}

func grep(text, word string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func run(t *testing.T, command string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, command, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", command, args, err, out)
	}
	return string(out)
}
