// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hardware says how many processors and how much memory the kernel uses.
func (p *probe) hardware() error {
	p.say("cpus", strconv.Itoa(runtime.NumCPU()))
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		if text, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			if err != nil {
				return err
			}
			p.say("memory-usable", strconv.FormatUint(kib<<10, 10))
		}
	}
	return nil
}

// disks says what disks and drives there are, without partitions.
func (p *probe) disks() error {
	if err := awaitSCSI(); err != nil {
		return err
	}
	found, err := filepath.Glob("/sys/block/*/device") // what is only software has no device
	if err != nil {
		return err
	}
	var all []error
	for _, device := range found {
		dir := filepath.Dir(device)
		bytes, err := diskBytes(dir)
		if err != nil {
			all = append(all, err)
			continue
		}
		p.say("disk", fmt.Sprintf("%s,%d,%s", filepath.Base(dir), bytes, diskSerial(dir)))
	}
	return errors.Join(all...)
}

// awaitSCSI waits until each SCSI disk and drive has its block device, which the kernel makes in the background.
func awaitSCSI() error {
	for range 100 {
		late, err := lateSCSI()
		if err != nil {
			return err
		}
		if len(late) == 0 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("a SCSI device has no block device after 5 s")
}

func lateSCSI() ([]string, error) {
	kinds, err := filepath.Glob("/sys/bus/scsi/devices/*:*:*:*/type")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(kinds, func(kind string) bool {
		text, err := os.ReadFile(kind)
		const disk, drive = "0", "5"
		if err != nil || !slices.Contains([]string{disk, drive}, strings.TrimSpace(string(text))) {
			return true
		}
		_, err = os.Stat(filepath.Join(filepath.Dir(kind), "block"))
		return err == nil
	}), nil
}

// diskBytes is the size of a disk, or 0 for a drive without a medium, of which the kernel knows an invented size.
func diskBytes(dir string) (int64, error) {
	device, err := os.Open("/dev/" + filepath.Base(dir))
	if errors.Is(err, unix.ENOMEDIUM) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_ = device.Close()
	text, err := os.ReadFile(dir + "/size")
	if err != nil {
		return 0, err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return sectors * 512, err
}

// diskSerial is a disk's serial number, or "".
func diskSerial(dir string) string {
	for _, name := range []string{"serial", "device/serial"} { // virtio, NVMe
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80")) // SCSI: four bytes of header
	if err != nil || len(page) < 4 {
		return ""
	}
	return strings.TrimSpace(strings.Trim(string(page[4:]), "\x00"))
}
