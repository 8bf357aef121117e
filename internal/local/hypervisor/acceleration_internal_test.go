// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The trial guest must be right before its failure can mean anything about KVM: under emulation it always boots.
func TestTrialGuestBootsUnderEmulation(t *testing.T) {
	if _, err := os.Stat(program("qemu-system-x86_64")); err != nil {
		t.Fatal("no QEMU on this machine")
	}
	if err := bootTrialGuest(t.Context(), Emulated); err != nil {
		t.Error(err)
	}
}

// Nobody can review machine code in hex.
func TestTrialGuestIsWhatItsSourceSays(t *testing.T) {
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("no %s on this machine", tool)
		}
	}
	dir := t.TempDir()
	for _, args := range [][]string{
		{"as", "--64", "-o", dir + "/o", "testdata/trialguest.s"},
		{"ld", "-m", "elf_x86_64", "-Ttext", "0x7c00", "-e", "0x7c00", "--oformat", "binary", "-o", dir + "/bin", dir + "/o"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	code, err := os.ReadFile(dir + "/bin")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(code); got != trialGuest {
		t.Errorf("the source assembles to\n%s\nand the constant is\n%s", got, trialGuest)
	}
}

func TestDetectAccelerationSaysWhy(t *testing.T) {
	how, reason := DetectAcceleration(t.Context())
	t.Log(how, reason)
	if (how != KVM && how != Emulated) || !strings.HasPrefix(reason, "processors are ") {
		t.Errorf("%q: %q", how, reason)
	}
}

// In nested virtual machines /dev/kvm may exist and a guest never get to run; quickstart must not wait for it.
func TestBrokenKVMIsToldApart(t *testing.T) {
	for _, tc := range []struct {
		name, script, says string
	}{
		{"guest hangs", "exec sleep 600", "stopped waiting"},
		{"QEMU refuses", "echo failed to initialize kvm >&2; exit 1", "failed to initialize kvm"},
		{"guest never runs", "exit 0", "before the guest ran"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bin := t.TempDir()
			if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+tc.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("stopped waiting"))
			defer cancel()
			if err := bootTrialGuest(ctx, KVM); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want an error with %q, got %v", tc.says, err)
			}
		})
	}
}

func TestHostPackagesFollowTheDistribution(t *testing.T) {
	missing := requirements()
	for _, tc := range []struct {
		name   string
		lacks  string
		wants  string
		wantNo string
	}{
		{"one package has all drivers", "libvirt-daemon-driver-network", "libvirt-daemon", "libvirt-daemon-driver-network"},
		{"drivers have packages", "none", "libvirt-daemon-driver-network", "none"},
	} {
		got := HostPackages(missing, func(pkg string) bool { return !strings.HasPrefix(pkg, tc.lacks) })
		if !slices.Contains(got, tc.wants) || slices.Contains(got, tc.wantNo) {
			t.Errorf("%s: got %v", tc.name, got)
		}
	}
}

func TestSubnetsInUseAreAvoided(t *testing.T) {
	all := candidates("ingot0123abcd")
	if len(all) != 100 || !free(all[0], nil) {
		t.Fatalf("%v", all)
	}
	near, _ := transfer(all[0])
	for _, tc := range []struct{ used, why string }{
		{all[0].String(), "the same network"},
		{"192.168.0.0/16", "a network around it, as VPNs announce"},
		{all[0].Addr().Next().String() + "/32", "a single host in it"},
		{near.String() + "/32", "the transfer network is in use"},
	} {
		if free(all[0], mustPrefixes(t, tc.used)) {
			t.Errorf("%s is chosen although %s is routed: %s", all[0], tc.used, tc.why)
		}
	}
	if !free(all[0], mustPrefixes(t, all[1].String())) {
		t.Error("a neighbour makes a network unusable")
	}
}

func mustPrefixes(t *testing.T, text string) []netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(text)
	if err != nil {
		t.Fatal(err)
	}
	return []netip.Prefix{p}
}
