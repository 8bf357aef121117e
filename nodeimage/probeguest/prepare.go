// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// prepare mounts what the kernel shows of the machine.
func prepare() error {
	for _, m := range []struct{ kind, at string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"securityfs", "/sys/kernel/security"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.kind, err)
		}
	}
	return nil
}

// loadModules loads the modules of the initramfs in the order in which the build listed them. A module whose device is
// not there is no error.
func loadModules() error {
	list, err := os.ReadFile("/modules")
	if err != nil {
		return err
	}
	var all []error
	for file := range strings.FieldsSeq(string(list)) {
		parameters := ""
		if path.Base(file) == "scsi_mod.ko" {
			parameters = "scan=sync" // all disks are there when the last module is loaded
		}
		if err := loadModule(file, parameters); err != nil && !errors.Is(err, unix.ENODEV) {
			all = append(all, fmt.Errorf("%s: %w", path.Base(file), err))
		}
	}
	return errors.Join(all...)
}

func loadModule(file, parameters string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.FinitModule(int(f.Fd()), parameters, 0)
}
