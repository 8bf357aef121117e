// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// The disk: GRUB for BIOS in a partition of its own, and a FAT file system with everything else.
const (
	mib      = 1 << 20
	sector   = 512
	biosMiB  = 1 // first MiB of GRUB's partition, which is as large as what is before it
	espMiB   = 2
	espSize  = 48
	diskMiB  = espMiB + espSize + 1 // the copy of the partition table is at the end
	espLabel = "INGOT-PROBE"        // by which the guest knows its own volume
)

// Identifiers of the disk, always the same; nothing looks the disk up by them.
const (
	diskID = "6d8a3f52-7d2b-4c0e-9f55-1b2f4e6a7c01"
	biosID = "6d8a3f52-7d2b-4c0e-9f55-1b2f4e6a7c02"
	espID  = "6d8a3f52-7d2b-4c0e-9f55-1b2f4e6a7c03"
	fatID  = "6d8a3f52"
)

// assemble writes the image.
func (r *build) assemble(ctx context.Context, scratch, image string) error {
	raw, esp := filepath.Join(scratch, "disk.raw"), filepath.Join(scratch, "esp.img")
	if err := partitionTable(ctx, raw); err != nil {
		return err
	}
	staging := filepath.Join(scratch, "esp")
	if err := r.fillESP(staging); err != nil {
		return err
	}
	if err := (assembly.FAT{Label: espLabel, Serial: fatID, MiB: espSize}).Write(ctx, staging, esp); err != nil {
		return err
	}
	if err := assembly.Place(raw, esp, espMiB*mib); err != nil {
		return err
	}
	if err := r.placeBIOS(ctx, scratch, raw); err != nil {
		return fmt.Errorf("GRUB for BIOS: %w", err)
	}
	return assembly.Tool{Name: "qemu-img", Args: []string{"convert", "-f", "raw", "-O", "qcow2", raw, image}}.Run(ctx)
}

func partitionTable(ctx context.Context, raw string) error {
	if err := os.WriteFile(raw, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(raw, diskMiB*mib); err != nil {
		return err
	}
	return assembly.Tool{Name: "sgdisk", Args: []string{
		"--disk-guid=" + diskID,
		fmt.Sprintf("--new=1:%dM:+%dM", biosMiB, espMiB-biosMiB), "--typecode=1:EF02", "--partition-guid=1:" + biosID,
		fmt.Sprintf("--new=2:%dM:+%dM", espMiB, espSize), "--typecode=2:EF00", "--partition-guid=2:" + espID,
		raw,
	}}.Run(ctx)
}

// fillESP writes the files of the EFI system partition below staging. Debian's GRUB reads its configuration from
// EFI/debian, wherever it is started from itself.
func (r *build) fillESP(staging string) error {
	unpacked := filepath.Join(r.packages, "unpacked")
	release, err := kernelRelease(r.packages)
	if err != nil {
		return err
	}
	initramfs, err := r.initramfs(release)
	if err != nil {
		return err
	}
	files := map[string][]byte{"probe/initramfs.img": initramfs}
	for name, from := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI": filepath.Join(unpacked, "usr/lib/shim/shimx64.efi.signed"),
		"EFI/BOOT/grubx64.efi": filepath.Join(unpacked, "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
		"EFI/debian/grub.cfg":  r.source("grub.cfg"),
		"probe/vmlinuz":        filepath.Join(unpacked, "boot/vmlinuz-"+release),
	} {
		if files[name], err = os.ReadFile(from); err != nil {
			return err
		}
	}
	for name, content := range files {
		target := filepath.Join(staging, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// initramfs is the guest's whole root: its program, and the modules as Debian signed them.
func (r *build) initramfs(release string) ([]byte, error) {
	dir := filepath.Join(r.packages, "unpacked/lib/modules", release)
	names, err := assembly.ReadList(r.source("modules.txt"))
	if err != nil {
		return nil, err
	}
	dependencies, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	order, err := assembly.LoadOrder(dependencies, builtin, names)
	if err != nil {
		return nil, err
	}
	archive := &assembly.Archive{}
	for _, folder := range []string{"dev", "modules.d", "proc", "sys", "volume"} {
		archive.Dir(folder)
	}
	archive.Console()
	program, err := os.ReadFile(filepath.Join(r.program, "init"))
	if err != nil {
		return nil, err
	}
	archive.File("init", 0o755, program)
	var list strings.Builder
	for _, module := range order {
		content, err := os.ReadFile(filepath.Join(dir, module))
		if err != nil {
			return nil, err
		}
		archive.File("modules.d/"+path.Base(module), 0o644, content)
		list.WriteString("/modules.d/" + path.Base(module) + "\n")
	}
	archive.File("modules", 0o644, []byte(list.String()))
	return archive.End(), nil
}

// placeBIOS writes GRUB for BIOS: its first sector into that of the disk, before the partition table, and its image,
// which has grub.cfg built in, into the partition for it. GRUB's own installer wants a block device and root for the
// same; what it would write are the two sector numbers below.
func (r *build) placeBIOS(ctx context.Context, scratch, raw string) error {
	modules := filepath.Join(r.packages, "unpacked/usr/lib/grub/i386-pc")
	image := filepath.Join(scratch, "core.img")
	mkimage := assembly.Tool{
		Name: filepath.Join(r.packages, "unpacked/usr/bin/grub-mkimage"),
		Args: []string{
			"--directory", modules, "--format", "i386-pc", "--output", image,
			"--prefix", "(,gpt2)/EFI/debian", "--config", r.source("grub.cfg"),
			"biosdisk", "part_gpt", "fat", "linux", "boot",
		},
	}
	if err := mkimage.Run(ctx); err != nil {
		return err
	}
	first, err := os.ReadFile(filepath.Join(modules, "boot.img"))
	if err != nil {
		return err
	}
	core, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	if err := linkGRUB(first, core, biosMiB*mib/sector); err != nil {
		return err
	}
	disk, err := os.OpenFile(raw, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = disk.Close() }()
	if _, err := disk.WriteAt(first[:bootCodeBytes], 0); err != nil {
		return err
	}
	if _, err := disk.WriteAt(core, biosMiB*mib); err != nil {
		return err
	}
	return disk.Close()
}

// Where GRUB keeps what its installer fills in: in its first sector the number of the image's first sector, and in that
// the number of the sector after it.
const (
	bootCodeBytes = 440
	coreNumber    = 0x5c
	restNumber    = sector - 12
)

// linkGRUB fills in where the image lies.
func linkGRUB(first, core []byte, at uint64) error {
	if len(first) != sector || len(core) < 2*sector || len(core) > (espMiB-biosMiB)*mib {
		return errors.New("the parts of GRUB have unexpected sizes")
	}
	binary.LittleEndian.PutUint64(first[coreNumber:], at)
	binary.LittleEndian.PutUint64(core[restNumber:], at+1)
	return nil
}
