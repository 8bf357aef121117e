// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// bootModules are the kernel modules that the initramfs loads to reach the disk and the bootstrap data. Those that
// the kernel has built in are skipped. cloud-init looks for a CD-ROM before anything waits for one.
func bootModules(flavor Flavor) []string {
	modules := []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "nvme", "erofs", "ext4", "crc32c_generic", "overlay", "qemu_fw_cfg"}
	if flavor == FlavorCloudInit {
		modules = append(modules, "sr_mod", "isofs")
	}
	return modules
}

// initramfsScripts are the files of the folder initramfs: the first process, and what the DHCP client calls.
func initramfsScripts() []string { return []string{"init", "dhcp"} }

// initramfs writes an archive with the scripts by their names, of which init is the first process, busybox, and the
// modules (paths relative to moduleDir, in loading order).
func initramfs(scripts map[string][]byte, busybox, moduleDir string, modules []string) ([]byte, error) {
	archive := &assembly.Archive{}
	for _, dir := range []string{"bin", "dev", "modules.d"} {
		archive.Dir(dir)
	}
	archive.Console()
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		archive.File(name, 0o755, scripts[name])
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	archive.File("bin/busybox", 0o755, program)
	var list strings.Builder
	for _, module := range modules {
		content, err := os.ReadFile(filepath.Join(moduleDir, module))
		if err != nil {
			return nil, fmt.Errorf("initramfs: %w", err)
		}
		archive.File("modules.d/"+filepath.Base(module), 0o644, content)
		fmt.Fprintf(&list, "/modules.d/%s\n", filepath.Base(module))
	}
	archive.File("modules", 0o644, []byte(list.String()))
	return archive.End(), nil
}
