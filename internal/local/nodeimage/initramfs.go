// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bootModules are the kernel modules that the initramfs loads to reach the disk and the bootstrap data. Those that
// the kernel has built in are skipped.
func bootModules() []string {
	return []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "nvme", "erofs", "ext4", "crc32c_generic", "overlay", "qemu_fw_cfg"}
}

// moduleOrder returns the paths of the named modules and of all that they depend on, relative to the kernel's module
// folder, in an order in which they can be loaded. It reads what depmod wrote.
func moduleOrder(modulesDep, modulesBuiltin []byte, names []string) ([]string, error) {
	builtin := map[string]bool{}
	for line := range strings.FieldsSeq(string(modulesBuiltin)) {
		builtin[moduleName(line)] = true
	}
	paths, needs := map[string]string{}, map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(modulesDep))
	for lines.Scan() {
		path, dependencies, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep: line %q has no colon", lines.Text())
		}
		paths[moduleName(path)] = path
		needs[path] = strings.Fields(dependencies)
	}
	var order []string
	for _, name := range names {
		path, ok := paths[name]
		switch {
		case builtin[name]:
			continue
		case !ok:
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		// depmod lists direct and indirect dependencies, the first to load at the end.
		dependencies := slices.Clone(needs[path])
		slices.Reverse(dependencies)
		for _, p := range append(dependencies, path) {
			if !slices.Contains(order, p) {
				order = append(order, p)
			}
		}
	}
	return order, nil
}

// moduleName is the name of a module by its path: modprobe treats - and _ alike.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// initramfs writes an archive with the script init as the first process, busybox, and the modules (paths relative to
// moduleDir, in loading order).
func initramfs(init []byte, busybox, moduleDir string, modules []string) ([]byte, error) {
	var out bytes.Buffer
	archive := &cpioWriter{out: &out}
	for _, dir := range []string{"bin", "dev", "modules.d"} {
		archive.dir(dir)
	}
	archive.console()
	archive.file("init", 0o755, init)
	program, err := os.ReadFile(busybox)
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	archive.file("bin/busybox", 0o755, program)
	var list strings.Builder
	for _, module := range modules {
		content, err := os.ReadFile(filepath.Join(moduleDir, module))
		if err != nil {
			return nil, fmt.Errorf("initramfs: %w", err)
		}
		archive.file("modules.d/"+filepath.Base(module), 0o644, content)
		fmt.Fprintf(&list, "/modules.d/%s\n", filepath.Base(module))
	}
	archive.file("modules", 0o644, []byte(list.String()))
	archive.end()
	return out.Bytes(), nil
}

// cpioWriter writes the archive format that the kernel unpacks ("newc"). All entries belong to root and carry the
// fixed time.
type cpioWriter struct {
	out   *bytes.Buffer
	inode int
}

func (w *cpioWriter) dir(name string) { w.entry(name, 0o040755, 0, 0, nil) }
func (w *cpioWriter) file(name string, mode int, content []byte) {
	w.entry(name, 0o100000|mode, 0, 0, content)
}
func (w *cpioWriter) end() { w.entry("TRAILER!!!", 0, 0, 0, nil) }

// console is the device that the kernel opens for init before anything is mounted.
func (w *cpioWriter) console() { w.entry("dev/console", 0o020600, 5, 1, nil) }

func (w *cpioWriter) entry(name string, mode, major, minor int, content []byte) {
	w.inode++
	fmt.Fprintf(w.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		w.inode, mode, 0, 0, 1, epoch, len(content), 0, 0, major, minor, len(name)+1, 0)
	w.out.WriteString(name + "\x00")
	w.align()
	w.out.Write(content)
	w.align()
}

func (w *cpioWriter) align() {
	for w.out.Len()%4 != 0 {
		w.out.WriteByte(0)
	}
}
