// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// treeRecipe changes whenever the code below would make something else of the same inputs.
const treeRecipe = 2

// The tree stage holds everything of an image that does not depend on its version.
const (
	treeRoot = "root" // the read-only root, without os-release
	treeVar  = "var"  // what /var starts with, without the containerd store
	treeBoot = "boot" // kernel, boot loader, busybox, and the initramfs's modules with their list
)

// buildTree puts packages, programs and our own files together.
func (r *build) buildTree(ctx context.Context) error {
	in := &assembly.Inputs{}
	in.Value("recipe", treeRecipe)
	in.Value("base", filepath.Base(r.base))
	in.Value("sandbox", r.sandboxImage())
	in.Value("modules", bootModules(r.flavor))
	in.Files(r.source("rootfs"), r.source("masked-units.txt"))
	if r.overlay() != "" {
		in.Files(filepath.Join(r.overlay(), "rootfs"))
	}
	for name := range nodePrograms(r.flavor) {
		in.Programs(r.programs[name])
	}
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.tree, err = r.stages.Run("tree", "assembling the root file system", key, func(dir string) error {
		root := filepath.Join(dir, treeRoot)
		copied := assembly.Tool{Name: "cp", Args: []string{"-a", "--reflink=auto", filepath.Join(r.base, baseRoot), root}}
		if err := copied.Run(ctx); err != nil {
			return err
		}
		for _, step := range []func(root string) error{
			removeUnused, r.installKernel(ctx, filepath.Join(dir, treeBoot)), r.installFiles, r.installPrograms, r.maskUnits, makeImmutable,
		} {
			if err := step(root); err != nil {
				return err
			}
		}
		// /var is the only writable place; the root keeps the mount point.
		if err := os.Rename(filepath.Join(root, "var"), filepath.Join(dir, treeVar)); err != nil {
			return err
		}
		return os.Mkdir(filepath.Join(root, "var"), 0o755)
	})
	return err
}

// removeUnused deletes what no package owner would miss on a node that nobody logs in to, and the package database's
// writable half.
func removeUnused(root string) error {
	for _, pattern := range []string{
		"usr/share/perl", "usr/share/perl5", "usr/lib/x86_64-linux-gnu/perl", "usr/share/snmp", "usr/share/bash-completion",
		"usr/lib/x86_64-linux-gnu/gconv", "usr/share/zsh", "usr/lib/ssl/misc",
		"var/cache/*", "var/log/*", "var/lib/apt", "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/tmp/*", "var/backups/*",
		"etc/apt", "etc/cron.d", "etc/cron.daily", "etc/cron.weekly", "etc/logrotate.d", "etc/init.d", "etc/rc?.d", "etc/motd",
		"etc/hostname", "etc/resolv.conf", "etc/fstab", "etc/machine-id", "var/lib/dbus/machine-id", "etc/keepalived",
		"etc/systemd/system/*", "boot", "home", "media", "opt", "root", "srv",
	} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	// The list of packages is part of the read-only root, as evidence of what is in it.
	to := filepath.Join(root, "usr/lib/sysimage")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(root, "var/lib/dpkg"), filepath.Join(to, "dpkg"))
}

// installKernel puts the modules into the root and everything else that boots it into the folder boot.
func (r *build) installKernel(ctx context.Context, boot string) func(root string) error {
	return func(root string) error {
		unpacked := filepath.Join(r.base, baseUnpacked)
		kernels, err := filepath.Glob(filepath.Join(unpacked, "boot", "vmlinuz-*"))
		if err != nil || len(kernels) != 1 {
			return fmt.Errorf("unpacked packages hold %d kernels, want 1", len(kernels))
		}
		release := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
		modules := filepath.Join(root, "usr/lib/modules", release)
		if err := os.MkdirAll(filepath.Join(boot, "modules"), 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(modules), 0o755); err != nil {
			return err
		}
		for from, to := range map[string]string{
			kernels[0]:                             filepath.Join(boot, "vmlinuz"),
			filepath.Join(unpacked, "bin/busybox"): filepath.Join(boot, "busybox"),
			filepath.Join(unpacked, "usr/lib/systemd/boot/efi/systemd-bootx64.efi"): filepath.Join(boot, "bootx64.efi"),
			filepath.Join(unpacked, "lib/modules", release):                         modules,
		} {
			if err := (assembly.Tool{Name: "cp", Args: []string{"-a", "--reflink=auto", from, to}}).Run(ctx); err != nil {
				return err
			}
		}
		if err := (assembly.Tool{Name: "depmod", Args: []string{"-b", root, release}}).Run(ctx); err != nil {
			return err
		}
		return keepBootModules(modules, boot, bootModules(r.flavor))
	}
}

// keepBootModules copies the modules that the initramfs wants, and those that they need, into boot/modules, and their order into boot/modules.order.
func keepBootModules(modules, boot string, wanted []string) error {
	dep, err := os.ReadFile(filepath.Join(modules, "modules.dep"))
	if err != nil {
		return err
	}
	builtin, err := os.ReadFile(filepath.Join(modules, "modules.builtin"))
	if err != nil {
		return err
	}
	order, err := assembly.LoadOrder(dep, builtin, wanted)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(order))
	for _, path := range order {
		names = append(names, filepath.Base(path))
		if err := copyFile(filepath.Join(modules, path), filepath.Join(boot, "modules", filepath.Base(path)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(boot, "modules.order"), []byte(strings.Join(names, "\n")+"\n"), 0o644)
}

// installFiles lays the folder rootfs of the sources over the root, and that of the flavor. Modes do not depend on the
// checkout's umask.
func (r *build) installFiles(root string) error {
	if err := r.installFolder(r.source("rootfs"), root); err != nil || r.overlay() == "" {
		return err
	}
	return r.installFolder(filepath.Join(r.overlay(), "rootfs"), root)
}

func (r *build) installFolder(from, root string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(root, name), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		filled := strings.ReplaceAll(string(content), "@SANDBOX_IMAGE@", r.sandboxImage())
		return writeFile(filepath.Join(root, name), []byte(filled), mode)
	})
}

func (r *build) installPrograms(root string) error {
	for name, to := range nodePrograms(r.flavor) {
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := copyFile(r.programs[name], to, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (r *build) maskUnits(root string) error {
	units, err := assembly.ReadList(r.source("masked-units.txt"))
	if err != nil {
		return err
	}
	for _, unit := range units {
		if err := symlink("/dev/null", filepath.Join(root, "etc/systemd/system", unit)); err != nil {
			return err
		}
	}
	return symlink("/dev/null", filepath.Join(root, "etc/systemd/system-generators/systemd-getty-generator"))
}

// makeImmutable gives everything that wants to be written a place below /var, /etc or /run.
func makeImmutable(root string) error {
	for name, target := range map[string]string{
		"etc/mtab":        "/proc/self/mounts",
		"etc/os-release":  "../usr/lib/os-release",
		"etc/resolv.conf": "/run/systemd/resolve/resolv.conf",
		"home":            "var/home",
		"opt":             "var/opt",
		"root":            "var/roothome",
		"srv":             "var/srv",
	} {
		if err := symlink(target, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, dir := range []string{
		"dev", "etc/kubernetes", "mnt", "proc", "run", "sys", "tmp", "usr/libexec/kubernetes/kubelet-plugins/volume/exec",
		"var/home", "var/lib/containerd", "var/lib/kubelet", "var/log/journal", "var/opt/cni/bin", "var/roothome", "var/srv",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(root, "var/roothome"), 0o700)
}

func symlink(target, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, name)
}

func copyFile(from, to string, mode fs.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, content, mode)
}

// writeFile replaces a file, whatever it was, and gives it exactly this mode.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(name, content, mode); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}
