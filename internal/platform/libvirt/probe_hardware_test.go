// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// testProbeHardware boots one guest with all hardware that this host can give, and believes only what the guest says.
func testProbeHardware(t *testing.T, l *lab) {
	t.Helper()
	setHugePages(t, probeMemory>>21)
	p := l.Session(t)
	req := l.requestFor(t, p, l.probeImage(t, p))
	req.MemoryBytes, req.HugePageBytes = probeMemory, 2<<20
	req.RootDiskBytes = 1 << 30
	req.Disks = []platform.Disk{{Name: "etcd", Bytes: 3 << 30}, {Name: "exactly-twenty-chars", Bytes: 1<<30 + 1<<20}}
	req.Interfaces = []platform.Interface{{Network: l.host.Network, MTU: 1400}, {Network: l.host.Network}}
	req.SecureBoot, req.VirtualTPM = true, true
	req.DedicatedCPUs, req.SingleNUMANode = true, true
	run(t, p, req)
	report := probe{l: l, p: p, req: req}.await(t, probeguest.Done)

	for key, want := range map[string]string{
		"boot": "uefi", "secureboot": "1", "lockdown": "integrity", "tpm": "2", "uuid": req.UUID,
		"cpus": strconv.Itoa(int(req.CPUs)), "memory": strconv.FormatInt(req.MemoryBytes, 10),
	} {
		if got := report.Value(key); got != want {
			t.Errorf("the guest says %s=%s, want %s", key, got, want)
		}
	}
	if register := report.Value("tpm-pcr0"); len(register) != 64 || strings.Trim(register, "0") == "" {
		t.Errorf("register 0 of the TPM is %q, want what the firmware measured", register)
	}
	disks := []string{
		"vda," + strconv.FormatInt(req.RootDiskBytes, 10) + ",root",
		"vdb," + strconv.FormatInt(req.Disks[0].Bytes, 10) + "," + req.Disks[0].Name,
		"vdc," + strconv.FormatInt(req.Disks[1].Bytes, 10) + "," + req.Disks[1].Name,
	}
	if got := slices.Sorted(slices.Values(report["disk"])); !slices.Equal(got, disks) {
		t.Errorf("the guest sees the disks %q, want %q", got, disks)
	}
	nics := []string{"eth0," + libvirt.MAC(req.Identity, 0) + ",1400", "eth1," + libvirt.MAC(req.Identity, 1) + ",1500"}
	if got := slices.Sorted(slices.Values(report["nic"])); !slices.Equal(got, nics) {
		t.Errorf("the guest sees the interfaces %q, want %q", got, nics)
	}
	if report.Has(probeguest.Failed) {
		t.Errorf("the guest could not look everywhere: %q", report[probeguest.Failed])
	}
	// dnsmasq tells libvirt of a lease after it has told the guest.
	eventually(t, fmt.Sprintf("Observe tells two addresses, of which the first is one of %q", report["address"]), func() bool {
		o, err := p.Observe(t.Context(), req.Identity)
		return err == nil && len(o.Addresses) == 2 && slices.Contains(report["address"], o.Addresses[0])
	})
	l.checkPinned(t, req)
	released(t, p, req)
	if files := l.about(t, req.UUID, libvirt.DomainName(req.Identity, req.Name)); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
