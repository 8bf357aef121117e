// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
)

// Other tests believe what the guest says. So here it says it of machines that plain QEMU makes, whose every detail is
// known.

func built(t *testing.T) probeguest.Image {
	t.Helper()
	image, err := probeguest.Build(t.Context(), func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// expect compares keys that have one value.
func expect(t *testing.T, report probeguest.Report, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := report[key]; !slices.Equal(got, []string{value}) {
			t.Errorf("%s: got %q, want %q", key, got, value)
		}
	}
}

func TestThroughBIOS(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	config := m.file("config", "{\"ignition\": {\"version\": \"3.4.0\"}}")
	metadata := "{\"uuid\": \"x\"}\n"
	m.file("volume/openstack/latest/meta_data.json", metadata)
	if err := (assembly.FAT{Label: "config-2", Serial: "01020304", MiB: 34}).Write(t.Context(), m.path("volume"), m.path("config.img")); err != nil {
		t.Fatal(err)
	}
	report := m.boot(built(t),
		"-fw_cfg", "name=opt/com.coreos/config,file="+config,
		"-fw_cfg", "name=opt/ingot/probe,string=ignore-acpi",
		"-smbios", "type=11,value=io.systemd.credential.binary:a=aGVsbG8=,value=plain text",
		"-drive", "if=none,id=volume,readonly=on,format=raw,file="+m.path("config.img"), "-device", "virtio-blk-pci,drive=volume",
	)
	expect(t, report, map[string]string{
		"boot": "bios", "secureboot": "none", "lockdown": "none", "tpm": "none", "uuid": "none", "cpus": "1", "ignore-acpi": "1",
		"fw_cfg:opt/com.coreos/config":                    probeguest.Digest([]byte("{\"ignition\": {\"version\": \"3.4.0\"}}")),
		"fw_cfg:opt/ingot/probe":                          probeguest.Digest([]byte("ignore-acpi")),
		"smbios-oem:1":                                    probeguest.Digest([]byte("io.systemd.credential.binary:a=aGVsbG8=")),
		"smbios-oem-value:io.systemd.credential.binary:a": probeguest.Digest([]byte("hello")),
		"smbios-oem:2":                                    probeguest.Digest([]byte("plain text")),
		"iso:config-2:openstack/latest/meta_data.json":    probeguest.Digest([]byte(metadata)),
	})
	if report.Has("nic") || report.Has("address") {
		t.Errorf("a machine without network has %q and %q", report["nic"], report["address"])
	}
	m.pressPowerButton()
	if report := m.awaitLine(probeguest.PowerOffIgnored); report.Has(probeguest.PowerOffRequested) || !m.process.Running() {
		t.Errorf("a guest that was told to ignore the power button powers off: %q", report)
	}
}

func TestThroughUEFI(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.file("volume/user-data", "#cloud-config\n")
	m.file("volume/deep/a=b c", "x")
	m.tool("xorrisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", m.path("seed.iso"), m.path("volume"))
	if err := os.WriteFile(m.path("data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(m.path("data"), 64<<20); err != nil {
		t.Fatal(err)
	}
	iso, err := os.Stat(m.path("seed.iso"))
	if err != nil {
		t.Fatal(err)
	}
	report := m.boot(built(t), append(m.uefi(""),
		"-smp", "2", "-uuid", "0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0", "-device", "virtio-scsi-pci",
		"-drive", "if=none,id=seed,media=cdrom,readonly=on,format=raw,file="+m.path("seed.iso"), "-device", "scsi-cd,drive=seed",
		"-device", "scsi-cd", // an empty drive
		"-drive", "if=none,id=data,format=raw,file="+m.path("data"), "-device", "scsi-hd,drive=data,serial=data-1",
		"-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,mac=52:54:00:aa:bb:cc,host_mtu=1400",
	)...)
	expect(t, report, map[string]string{
		"boot": "uefi", "secureboot": "0", "lockdown": "none", "tpm": "none", "cpus": "2", "memory": strconv.Itoa(256 << 20),
		"uuid":                  "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
		"nic":                   "eth0,52:54:00:aa:bb:cc,1400",
		"address":               "10.0.2.15",
		"lease:eth0":            "10.0.2.15/24",
		"iso:cidata:user-data":  probeguest.Digest([]byte("#cloud-config\n")),
		"iso:cidata:deep/a=b c": probeguest.Digest([]byte("x")),
	})
	disks := slices.Sorted(slices.Values(report["disk"]))
	want := []string{
		"sda,67108864,data-1", "sr0," + strconv.FormatInt(iso.Size(), 10) + ",", "sr1,0,",
		"vda," + strconv.FormatInt(built(t).VirtualSizeBytes, 10) + ",probe-disk",
	}
	if !slices.Equal(disks, want) {
		t.Errorf("got disks %q, want %q", disks, want)
	}
	m.pressPowerButton()
	m.awaitPowerOff()
}

func TestThroughSecureBootWithTPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	report := m.boot(built(t), append(m.uefi(".ms"), m.tpm()...)...)
	expect(t, report, map[string]string{"boot": "uefi", "secureboot": "1", "lockdown": "integrity", "tpm": "2"})
	// The firmware measured itself, so a register that was really read is not zero.
	if register := report.Value("tpm-pcr0"); len(register) != 64 || strings.Trim(register, "0") == "" {
		t.Errorf("register 0 of the TPM is %q, want what the firmware measured", register)
	}
	m.pressPowerButton()
	m.awaitPowerOff()
}

func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	first := built(t)
	// A cache of its own, with all but the disk. The packages are not downloaded again.
	cache := t.TempDir()
	stages := filepath.Dir(filepath.Dir(first.Path))
	packages, err := filepath.Glob(filepath.Join(stages, "packages-*"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(cache, "probeguest"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range packages {
		if err := os.Symlink(dir, filepath.Join(cache, "probeguest", filepath.Base(dir))); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := components.FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	second, err := probeguest.Builder{Repo: repo, Cache: cache}.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second.Path == first.Path || second.SHA256 != first.SHA256 {
		t.Errorf("two builds gave %+v and %+v, want the same bytes: a NodeImage names them by their digest", first, second)
	}
	if sum, err := assembly.FileDigest(second.Path); err != nil || sum != second.SHA256 {
		t.Errorf("the file has digest %s, %v; the builder says %s", sum, err, second.SHA256)
	}
}
