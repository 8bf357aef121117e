// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// These tests write real disks with the host's tools, as a build does, only with nearly nothing on them.

func needTools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"mcopy", "mke2fs", "mkfs.erofs", "mkfs.vfat", "mmd", "qemu-img", "sgdisk", "debugfs", "fsck.erofs"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed; the packages are %v", name, HostPackages())
		}
	}
}

// tinyImage is a disk with the partitions of Ingot OS and only the files that a check looks for. Spoil may change the
// files of each partition (esp, root, var) before they are written.
func tinyImage(t *testing.T, spoil func(files map[string]map[string]string)) string {
	t.Helper()
	needTools(t)
	program := strings.Repeat("\x00", 128<<10)
	files := map[string]map[string]string{
		"esp": {
			"EFI/BOOT/BOOTX64.EFI":      "loader",
			"loader/entries/ingot.conf": "title x\noptions console=ttyS0\n",
		},
		"root": {
			"usr/lib/os-release":                                       "ID=ingot-os\nPRETTY_NAME=\"Ingot OS v1.0.0\"\nIMAGE_VERSION=v1.0.0\n",
			"usr/bin/kubelet":                                          program,
			"usr/bin/kubeadm":                                          program,
			"usr/bin/containerd":                                       program,
			"usr/lib/ingot/ignition":                                   program,
			"usr/lib/systemd/system/containerd.service":                "[Service]\n",
			"usr/lib/systemd/system/kubelet.service":                   "[Service]\n",
			"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": "--config=/var/lib/kubelet/config.yaml kubeadm-flags.env",
			"etc/machine-id":                                           "uninitialized\n",
		},
		"var": {
			"lib/containerd/io.containerd.metadata.v1.bolt/meta.db": "ingot.local/pause:3.10.2 ingot.local/etcd:3.6 ingot.local/coredns:v1 " +
				"ingot.local/kube-apiserver:v1.36.3 ingot.local/kube-controller-manager:v1.36.3 ingot.local/kube-scheduler:v1.36.3 ingot.local/kube-proxy:v1.36.3",
		},
	}
	if spoil != nil {
		spoil(files)
	}
	dir := t.TempDir()
	for part, content := range files {
		for name, text := range content {
			path := filepath.Join(dir, part, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return assembleTiny(t, dir)
}

func assembleTiny(t *testing.T, dir string) string {
	t.Helper()
	r := &build{version: "v1.0.0"}
	raw, image := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.qcow2")
	esp, root, variable := filepath.Join(dir, "esp.img"), filepath.Join(dir, "root.img"), filepath.Join(dir, "var.img")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.partitionTable(t.Context(), raw))
	must(espFormat("12345678-").Write(t.Context(), filepath.Join(dir, "esp"), esp))
	must(makeErofs(t.Context(), filepath.Join(dir, "root"), root, r.id("root")))
	must(assembly.Tool{Name: "mke2fs", Args: []string{"-q", "-F", "-t", "ext4", "-d", filepath.Join(dir, "var"), variable, "16M"}}.Run(t.Context()))
	for i, part := range []string{esp, root, variable} {
		must(placePart(raw, part, partitions()[i]))
	}
	must(assembly.Tool{Name: "qemu-img", Args: []string{"convert", "-f", "raw", "-O", "qcow2", raw, image}}.Run(t.Context()))
	return image
}

func TestCheckLooksIntoARealDisk(t *testing.T) {
	cases := map[string]struct {
		why   string
		spoil func(files map[string]map[string]string)
		lacks string // subject of the only thing that is lacking, "" for none
	}{
		"an image with everything": {
			why: "the check must not refuse what works",
		},
		"without a boot loader": {
			why:   "it is in another partition than the rest",
			spoil: func(f map[string]map[string]string) { delete(f["esp"], "EFI/BOOT/BOOTX64.EFI") },
			lacks: "UEFI boot",
		},
		"with a machine-id": {
			why:   "forgotten by nearly everyone who builds a first image",
			spoil: func(f map[string]map[string]string) { f["root"]["etc/machine-id"] = strings.Repeat("0a", 16) },
			lacks: "machine-id",
		},
		"with a shell script in place of Ignition": {
			why:   "a file of that name is not yet the program",
			spoil: func(f map[string]map[string]string) { f["root"]["usr/lib/ingot/ignition"] = "#!/bin/sh\n" },
			lacks: "first boot",
		},
		"without the kubelet's drop-in": {
			why: "drop-ins are files of their own",
			spoil: func(f map[string]map[string]string) {
				delete(f["root"], "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf")
			},
			lacks: "kubelet",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			findings, err := Check(t.Context(), tinyImage(t, c.spoil))
			if err != nil {
				t.Fatal(err)
			}
			var lacking []string
			for _, f := range findings {
				if f.Verdict == Lacks {
					lacking = append(lacking, f.Subject)
				}
				if f.Subject == "preloaded" && f.Verdict != Has {
					t.Errorf("the store on /var was not seen: %s", f)
				}
			}
			if got := strings.Join(lacking, ","); got != c.lacks {
				t.Fatalf("%s: lacking %q, want %q:\n%v", c.why, got, c.lacks, findings)
			}
		})
	}
}

func TestCheckOfAFileThatIsNoUsableDisk(t *testing.T) {
	good := tinyImage(t, nil)
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay := filepath.Join(t.TempDir(), "overlay.qcow2")
	if err := (assembly.Tool{Name: "qemu-img", Args: []string{"create", "-f", "qcow2", "-b", good, "-F", "qcow2", overlay}}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]string{
		"a text file":                        write("readme.txt", []byte("hello\n")),
		"an empty file":                      write("empty.img", nil),
		"an upload that stopped half-way":    write("half.qcow2", content[:len(content)/2]),
		"a header and nothing else":          write("head.qcow2", content[:512]),
		"an overlay without what is below":   overlay,
		"a file whose name has commas, half": write("a,b=c.qcow2", content[:len(content)/3]),
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := Check(t.Context(), image)
			if err != nil {
				t.Fatalf("an unusable image is a finding and not an error: %v", err)
			}
			if !Lacking(findings) {
				t.Fatalf("nothing is lacking: %v", findings)
			}
		})
	}
	if _, err := Check(t.Context(), filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Fatal("a file that does not exist was checked")
	}
}

func TestFileSystemsAreTheSameBytesForTheSameInput(t *testing.T) {
	needTools(t)
	var roots, esps [][]byte
	for i := range 2 {
		dir := t.TempDir()
		names := []string{"usr/lib/a", "usr/lib/b", "etc/c", "boot/d"}
		if i == 1 {
			slices.Reverse(names) // another checkout, another order, another time
		}
		for _, name := range names {
			path := filepath.Join(dir, "in", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("content of "+name), 0o644); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(int64(1_000_000_000+i*1000), 0)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
		root, esp := filepath.Join(dir, "root.img"), filepath.Join(dir, "esp.img")
		if err := makeErofs(t.Context(), filepath.Join(dir, "in"), root, "11111111-2222-3333-4444-555555555555"); err != nil {
			t.Fatal(err)
		}
		if err := espFormat("12345678-").Write(t.Context(), filepath.Join(dir, "in"), esp); err != nil {
			t.Fatal(err)
		}
		for path, all := range map[string]*[][]byte{root: &roots, esp: &esps} {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			*all = append(*all, content)
		}
		time.Sleep(time.Until(time.Now().Truncate(2 * time.Second).Add(2 * time.Second))) // FAT counts in steps of 2 s
	}
	if !bytes.Equal(roots[0], roots[1]) {
		t.Error("two roots of the same files differ")
	}
	if !bytes.Equal(esps[0], esps[1]) {
		t.Error("two EFI system partitions of the same files differ")
	}
}

func TestAPartThatDoesNotFitIsRefused(t *testing.T) {
	dir := t.TempDir()
	raw, part := filepath.Join(dir, "raw"), filepath.Join(dir, "part")
	for path, size := range map[string]int64{raw: 8 * mib, part: 3 * mib} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	err := placePart(raw, part, partition{name: "root", startMiB: 1, sizeMiB: 2})
	if err == nil || !strings.Contains(err.Error(), "needs 3 MiB") {
		t.Fatalf("error = %v; it would overwrite the next partition", err)
	}
}

func TestTheManifestIsANodeImageThatTheAPIAccepts(t *testing.T) {
	dir := t.TempDir()
	for path, content := range map[string]string{
		"base/root/etc/debian_version":         "12.11\n",
		"tree/root/usr/lib/modules/6.1.0-x/ok": "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &build{version: "v1.2.3", base: filepath.Join(dir, "base"), tree: filepath.Join(dir, "tree")}
	out, err := r.manifest(Artefact{Image: "/images/a b.qcow2", SBOM: "/images/a.spdx.json", SHA256: strings.Repeat("a", 64), Bytes: 42}, strings.Repeat("b", 64))
	if err != nil {
		t.Fatal(err)
	}
	var image ingotv1.NodeImage
	if err := yaml.UnmarshalStrict(out, &image); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	artefact := image.Spec.Artefacts[0]
	switch {
	case image.Name != "ingot-os-v1.2.3", image.Kind != "NodeImage", image.APIVersion != "ingot.dev/v1alpha1":
		t.Errorf("identity: %s %s %s", image.APIVersion, image.Kind, image.Name)
	case image.Spec.NodeIdentity.OSImage != "Ingot OS v1.2.3 (Debian 12)", image.Spec.NodeIdentity.KernelVersion != "6.1.0-x":
		t.Errorf("a Node would be taken for a foreign one: %+v", image.Spec.NodeIdentity)
	case artefact.SHA256 != strings.Repeat("a", 64), artefact.SizeBytes != 42, artefact.VirtualSizeBytes != DiskBytes:
		t.Errorf("artefact: %+v", artefact)
	case artefact.Source != "file:///images/a%20b.qcow2":
		t.Errorf("source %s is no URL", artefact.Source)
	}
}
