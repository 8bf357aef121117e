// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/libvirt"
)

// hardwareFeatures are the parts of a request that the definition has an answer to, by the name of the golden file that
// shows the answer alone.
func hardwareFeatures() map[string]func(*platform.Request) {
	return map[string]func(*platform.Request){
		"feature-disks": func(r *platform.Request) {
			r.Disks = []platform.Disk{{Name: "etcd", Bytes: 8 << 30}, {Name: "containers", Bytes: 20 << 30}}
		},
		"feature-mtu":         func(r *platform.Request) { r.Interfaces[1].MTU = 9000 },
		"feature-secure-boot": func(r *platform.Request) { r.SecureBoot = true },
		"feature-tpm":         func(r *platform.Request) { r.VirtualTPM = true },
		"feature-cpus":        func(r *platform.Request) { r.DedicatedCPUs = true },
		"feature-huge-pages":  func(r *platform.Request) { r.HugePageBytes = 2 << 20 },
		"feature-numa":        func(r *platform.Request) { r.SingleNUMANode = true },
		"feature-pci": func(r *platform.Request) {
			r.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb8", Count: 2}}
		},
		"feature-all": func(r *platform.Request) {
			r.Disks = []platform.Disk{{Name: "etcd", Bytes: 8 << 30}}
			r.SecureBoot, r.VirtualTPM, r.DedicatedCPUs, r.SingleNUMANode = true, true, true, true
			r.HugePageBytes, r.MemoryBytes = 2<<20, 1<<30
			r.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb8", Count: 1}}
		},
	}
}

// A reviewer sees what a field of the spec does to the guest.
func TestGoldenFeatures(t *testing.T) {
	host := twoNodes(t)
	host.Devices = []string{pci(1, "10de:1eb8", "0x030200", "", 1), pci(2, "10de:1eb8", "0x030200", "nouveau", 2)}
	for name, change := range hardwareFeatures() {
		t.Run(name, func(t *testing.T) {
			req := exampleRequest()
			change(&req)
			_, got, err := libvirt.Place(host, req)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(path, []byte(got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got+"\n"); diff != "" {
				t.Errorf("the definition has changed (-update rewrites it):\n%s", diff)
			}
		})
	}
}

// A machine that was half made from another request is made anew, whatever the difference.
func TestRevisionCoversHardware(t *testing.T) {
	_, base, err := libvirt.Render(exampleRequest(), false)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{base: "nothing"}
	for name, change := range hardwareFeatures() {
		req := exampleRequest()
		change(&req)
		_, revision, err := libvirt.Render(req, false)
		if err != nil || seen[revision] != "" {
			t.Errorf("%s gives the revision of %s (%v)", name, seen[revision], err)
		}
		seen[revision] = name
		if len(req.Disks) == 0 {
			continue
		}
		req.Disks[0].Bytes++
		if _, other, _ := libvirt.Render(req, false); other == revision {
			t.Errorf("%s: the size of a disk does not show", name)
		}
	}
}

// Whoever wrote the field reads its name and what to do, before anything is made.
func TestRefusedRequests(t *testing.T) {
	disks := func(names ...string) func(*platform.Request) {
		return func(r *platform.Request) {
			for _, n := range names {
				r.Disks = append(r.Disks, platform.Disk{Name: n, Bytes: 1 << 30})
			}
		}
	}
	many := make([]string, 26)
	for i := range many {
		many[i] = "disk-" + string(rune('a'+i))
	}
	for _, c := range []struct {
		change func(*platform.Request)
		says   string
	}{
		{disks("etcd", "etcd"), "spec.disks[1].name etcd is taken"},
		{disks("root"), "spec.disks[0].name root is taken"},
		{disks("a", "Data"), `spec.disks[1].name "Data"`},
		{disks("../../etc"), "spec.disks[0].name"},
		{disks("-a"), "spec.disks[0].name"},
		{disks(""), "spec.disks[0].name"},
		{disks("twenty-one-characters"), "at most 20"},
		{disks(many...), "spec.disks has 26 disks: at most 25"},
		{func(r *platform.Request) { r.Disks = []platform.Disk{{Name: "a"}} }, "spec.disks[0].size is 0 bytes"},
		{func(r *platform.Request) { r.Disks = []platform.Disk{{Name: "a", Bytes: -1}} }, "spec.disks[0].size"},
		{func(r *platform.Request) { r.Interfaces[1].MTU = 1279 }, "spec.networks[1].mtu is 1279"},
		{func(r *platform.Request) { r.Interfaces[1].MTU = 65536 }, "spec.networks[1].mtu"},
		{func(r *platform.Request) { r.Interfaces[0].Network = "" }, "spec.networks[0].name"},
		{func(r *platform.Request) { r.Firmware, r.SecureBoot = platform.FirmwareBIOS, true }, "spec.trustedBoot.secureBoot needs spec.firmware UEFI"},
		{func(r *platform.Request) { r.Firmware = "Coreboot" }, "spec.firmware"},
		{func(r *platform.Request) { r.HugePageBytes = 1000 }, "spec.resources.hugePages"},
		{func(r *platform.Request) { r.HugePageBytes = -2 << 20 }, "spec.resources.hugePages"},
		{func(r *platform.Request) { r.HugePageBytes, r.MemoryBytes = 1<<30, 1<<30+1<<20 }, "spec.resources.memory of 1049600 KiB is no multiple"},
		{func(r *platform.Request) {
			r.PCIDevices = []platform.PCIDevice{{VendorID: "10DE", DeviceID: "1eb8", Count: 1}}
		}, "spec.platform.libvirt.pciDevices[0]: vendorID"},
		{func(r *platform.Request) {
			r.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb", Count: 1}}
		}, "deviceID"},
		{func(r *platform.Request) { r.PCIDevices = []platform.PCIDevice{{VendorID: "10de", DeviceID: "1eb8"}} }, "spec.platform.libvirt.pciDevices[0].count is 0"},
	} {
		req := exampleRequest()
		c.change(&req)
		if err := libvirt.CheckRequest(req); !errors.Is(err, platform.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want %q, got %v", c.says, err)
		}
	}
	req := exampleRequest()
	disks("0", "a-1", "exactly-twenty-chars")(&req)
	req.Interfaces[0].MTU, req.Interfaces[1].MTU = 1280, 65535
	if err := libvirt.CheckRequest(req); err != nil {
		t.Errorf("a request at the bounds: %v", err)
	}
}

// What a host lacks is named by the package that has it.
func TestMissingHostPackages(t *testing.T) {
	recorded, err := os.ReadFile("testdata/domain-capabilities.xml")
	if err != nil {
		t.Fatal(err)
	}
	trusted := exampleRequest()
	trusted.SecureBoot, trusted.VirtualTPM, trusted.HugePageBytes = true, true, 2<<20
	if err := libvirt.CheckCapabilities(trusted, string(recorded)); err != nil {
		t.Errorf("a host that has everything: %v", err)
	}
	old := strings.ReplaceAll(string(recorded), "backendVersion", "unheard-of")
	if err := libvirt.CheckCapabilities(trusted, old); err != nil {
		t.Errorf("a host that does not tell the versions of its TPM: %v", err)
	}
	for _, c := range []struct{ lacks, by, says string }{
		{"<value>efi</value>", "", "spec.firmware UEFI: the host has no UEFI firmware for guests: install ovmf"},
		{"<enum name='secure'>\n        <value>yes</value>", "<enum name='secure'>", "spec.trustedBoot.secureBoot: the host has no UEFI firmware with secure boot: install ovmf"},
		{"<value>emulator</value>", "", "spec.trustedBoot.virtualTPM: the host has no emulator of a TPM 2.0: install swtpm"},
		{"<value>2.0</value>", "", "install swtpm"},
		{"<value>tpm-crb</value>", "", "install swtpm"},
		{"<tpm supported='yes'>", "<tpm supported='no'>", "install swtpm"},
		{"<value>memfd</value>", "", "spec.resources.hugePages"},
		{"<vcpu max='288'/>", "<vcpu max='1'/>", "spec.resources.cpus is 2, and QEMU on this host gives a machine at most 1"},
	} {
		host := strings.Replace(string(recorded), c.lacks, c.by, 1)
		if host == string(recorded) {
			t.Fatalf("the recording does not hold %s", c.lacks)
		}
		if err := libvirt.CheckCapabilities(trusted, host); !errors.Is(err, platform.ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("without %s: want %q, got %v", c.lacks, c.says, err)
		}
	}
	bare := exampleRequest()
	bare.Firmware = platform.FirmwareBIOS
	if err := libvirt.CheckCapabilities(bare, "<domainCapabilities/>"); err != nil {
		t.Errorf("a machine that needs nothing of it: %v", err)
	}
}

// An interface that drops large packets is found by whoever debugs the application on top.
func TestMTU(t *testing.T) {
	for _, c := range []struct {
		network string
		mtu     int32
		says    string
	}{
		{"<network><name>n</name><forward mode='nat'/></network>", 9000, ""},
		{"<network><name>n</name></network>", 9000, ""},
		{"<network><name>n</name><mtu size='9000'/></network>", 9000, ""},
		{"<network><name>n</name><forward mode='bridge'/><bridge name='br0'/></network>", 9000, ""},
		{"<network><name>n</name><mtu size='1500'/></network>", 9000, "9000 is more than network n carries"},
		{"<network><name>n</name><forward mode='bridge'><interface dev='eth0'/></forward></network>", 9000, "forward mode bridge"},
		{"<network><name>n</name><forward mode='passthrough'><interface dev='eth0'/></forward></network>", 9000, "forward mode passthrough"},
		{"<network><name>n</name><forward mode='passthrough'><interface dev='eth0'/></forward></network>", 0, ""},
	} {
		if err := libvirt.CheckMTU(c.network, c.mtu); (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: want %q, got %v", c.network, c.says, err)
		}
	}
}

// Disks grow as they are written: a pool need not have their whole size, and must have what they begin with.
func TestFirstBytes(t *testing.T) {
	req := exampleRequest()
	small := libvirt.FirstBytes(req)
	req.RootDiskBytes = 1 << 40
	req.Disks = []platform.Disk{{Name: "a", Bytes: 1 << 40}, {Name: "b", Bytes: 1 << 40}}
	if large := libvirt.FirstBytes(req); large <= small || large > small+8<<20 {
		t.Errorf("three disks of 1 TiB begin with %d bytes, nothing with %d", large, small)
	}
}
