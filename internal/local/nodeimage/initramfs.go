// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// bootModules are the kernel modules that the initramfs loads to reach the disk and the bootstrap data. Those that
// the kernel has built in are skipped.
func bootModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "nvme", "erofs", "ext4", "crc32c_generic", "overlay", "qemu_fw_cfg"}
}

// initramfs writes an archive with the script init as the first process, busybox, and the modules (paths relative to
// moduleDir, in loading order).
func initramfs(init []byte, busybox, moduleDir string, modules []string) ([]byte, error) {
	archive := &assembly.Archive{}
	for _, dir := range []string{"bin", "dev", "modules.d"} {
		archive.Dir(dir)
	}
	archive.Console()
	archive.File("init", 0o755, init)
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
