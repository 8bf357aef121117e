// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// osID is the ID in os-release of the images that this package builds, and what those of other flavors begin with.
const osID = "ingot-os"

// osRelease is the content of os-release. The kubelet reports PRETTY_NAME as the Node's osImage, so it must name the
// version.
func (r *build) osRelease() (string, error) {
	debian, err := os.ReadFile(filepath.Join(r.base, baseRoot, "etc/debian_version"))
	if err != nil {
		return "", err
	}
	major, _, _ := strings.Cut(strings.TrimSpace(string(debian)), ".")
	number := strings.TrimPrefix(r.version, "v")
	return strings.Join([]string{
		`NAME="Ingot OS"`,
		"ID=" + osID,
		"ID_LIKE=debian",
		fmt.Sprintf("PRETTY_NAME=%q", r.flavor.prettyName(r.version, major)),
		fmt.Sprintf("VERSION=%q", r.version),
		"VERSION_ID=" + number,
		"IMAGE_ID=" + r.flavor.id(),
		"IMAGE_VERSION=" + r.version,
		"INGOT_KUBERNETES_VERSION=" + r.kubernetes,
		`HOME_URL="https://ingot.dev"`,
		"",
	}, "\n"), nil
}

// makeRoot writes the read-only root with the version in it. The tree is not copied but linked, so that a new version
// costs only the writing of the file system.
func (r *build) makeRoot(ctx context.Context, scratch, image string) error {
	root := filepath.Join(scratch, "root")
	if err := (assembly.Tool{Name: "cp", Args: []string{"-al", filepath.Join(r.tree, treeRoot), root}}).Run(ctx); err != nil {
		return err
	}
	release, err := r.osRelease()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(root, "usr/lib/os-release"), []byte(release), 0o644); err != nil {
		return err
	}
	return makeErofs(ctx, root, image, r.id("root file system"))
}

// makeErofs writes an uncompressed read-only file system: nothing has to be decompressed by an emulated CPU, and the
// artefact around it is compressed.
func makeErofs(ctx context.Context, root, image, uuid string) error {
	return assembly.Tool{Name: "mkfs.erofs", Args: []string{
		"-T" + strconv.Itoa(assembly.Epoch), "-U" + uuid, "--quiet", image, root,
	}}.Run(ctx)
}

// makeESP writes the EFI system partition: boot loader, its entry, kernel and initramfs.
func (r *build) makeESP(ctx context.Context, scratch, image string) error {
	staging := filepath.Join(scratch, "esp")
	files, err := r.espFiles()
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(staging, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return espFormat(r.id("ESP")).Write(ctx, staging, image)
}

// espFiles maps names in the EFI system partition to their content.
func (r *build) espFiles() (map[string][]byte, error) {
	boot := filepath.Join(r.tree, treeBoot)
	release, err := r.osRelease()
	if err != nil {
		return nil, err
	}
	pretty := osReleaseValue(release, "PRETTY_NAME")
	fill := strings.NewReplacer("@PRETTY_NAME@", pretty, "@VERSION@", r.version)
	files := map[string][]byte{}
	for name, path := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI":      filepath.Join(boot, "bootx64.efi"),
		"ingot/vmlinuz":             filepath.Join(boot, "vmlinuz"),
		"loader/loader.conf":        r.source("esp", "loader.conf"),
		"loader/entries/ingot.conf": r.source("esp", "ingot.conf"),
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, ".conf") {
			content = []byte(fill.Replace(string(content)))
		}
		files[name] = content
	}
	scripts := map[string][]byte{}
	for _, name := range initramfsScripts() {
		content, err := os.ReadFile(r.source("initramfs", name))
		if err != nil {
			return nil, err
		}
		scripts[name] = []byte(fill.Replace(string(content)))
	}
	modules, err := assembly.ReadList(filepath.Join(boot, "modules.order"))
	if err != nil {
		return nil, err
	}
	files["ingot/initramfs.img"], err = initramfs(scripts, filepath.Join(boot, "busybox"), filepath.Join(boot, "modules"), modules)
	return files, err
}

// osReleaseValue is the value of a key in the text of an os-release file, without quotes, or "".
func osReleaseValue(text, key string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}
