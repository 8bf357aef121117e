// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ownLabel is the volume that the guest boots from.
const ownLabel = "INGOT-PROBE"

// digest is a SHA-256 in hexadecimal.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// fwCfg says what the hypervisor hands over in its configuration device.
func (p *probe) fwCfg() error {
	const byName = "/sys/firmware/qemu_fw_cfg/by_name"
	if _, err := os.Stat(byName + "/opt"); os.IsNotExist(err) {
		return nil
	}
	return filepath.WalkDir(byName+"/opt", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink { // each file is a link to a folder by its number
			return err
		}
		content, err := os.ReadFile(filepath.Join(path, "raw"))
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, byName+"/")
		p.mark(content)
		if name == "opt/ingot/probe" && strings.TrimSpace(string(content)) == "ignore-acpi" {
			p.ignoreACPI.Store(true)
		}
		p.say("fw_cfg:"+name, digest(content))
		return nil
	})
}

// volumes says what is on each ISO 9660 and FAT volume, of disks and of partitions.
func (p *probe) volumes() error {
	devices, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return err
	}
	var all []error
	for _, device := range devices {
		kind, label, err := readVolume("/dev/" + device.Name())
		if err == nil && kind != "" && label != ownLabel {
			err = p.volume("/dev/"+device.Name(), kind, label)
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", device.Name(), err))
		}
	}
	return errors.Join(all...)
}

func (p *probe) volume(device, kind, label string) error {
	const at = "/volume"
	if err := unix.Mount(device, at, kind, unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mounting %s as %s: %w", label, kind, err)
	}
	files := os.DirFS(at)
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		p.mark(content)
		p.say("iso:"+label+":"+path, digest(content))
		return nil
	})
	return errors.Join(err, unix.Unmount(at, 0))
}

// readVolume returns the file system on a device and its label. The file system is "" if it is none that counts, or
// the drive is empty.
func readVolume(device string) (kind, label string, err error) {
	f, err := os.Open(device)
	if errors.Is(err, unix.ENOMEDIUM) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, isoDescriptor+2048)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	kind, label = volumeKind(head[:n])
	return kind, label, nil
}

// isoDescriptor is where an ISO 9660 volume says that it is one.
const isoDescriptor = 16 * 2048

// volumeKind tells a file system and its label by the first bytes of a volume.
func volumeKind(head []byte) (kind, label string) {
	text := func(from, length int) string {
		if len(head) < from+length {
			return ""
		}
		return string(head[from : from+length])
	}
	name := func(from, length int) string { return strings.TrimRight(text(from, length), " \x00") }
	switch {
	case text(isoDescriptor, 6) == "\x01CD001":
		return "iso9660", name(isoDescriptor+40, 32)
	case text(510, 2) == "\x55\xaa" && text(82, 5) == "FAT32":
		return "vfat", name(71, 11)
	case text(510, 2) == "\x55\xaa" && text(54, 4) == "FAT1":
		return "vfat", name(43, 11)
	default:
		return "", ""
	}
}
