// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const mib = 1 << 20

// FAT is a FAT32 file system.
type FAT struct {
	// Label is the volume's name, in capitals.
	Label string
	// Serial is the volume's number, eight hexadecimal digits.
	Serial string
	// MiB is the size; FAT32 needs 33 at least.
	MiB int64
}

// Write makes the file image with the files below staging, in an order that is always the same.
func (f FAT) Write(ctx context.Context, staging, image string) error {
	if err := os.WriteFile(image, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(image, f.MiB*mib); err != nil {
		return err
	}
	mkfs := Tool{Name: "mkfs.vfat", Args: []string{"-F", "32", "-n", f.Label, "-i", f.Serial, "--invariant", image}}
	if err := mkfs.Run(ctx); err != nil {
		return err
	}
	dirs, files, err := sortedTree(staging)
	if err != nil {
		return err
	}
	env := []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", Epoch)}
	for _, dir := range dirs {
		if err := (Tool{Name: "mmd", Env: env, Args: []string{"-i", image, "::" + dir}}).Run(ctx); err != nil {
			return err
		}
	}
	for _, file := range files {
		path := filepath.Join(staging, file)
		if err := os.Chtimes(path, EpochTime(), EpochTime()); err != nil {
			return err
		}
		if err := (Tool{Name: "mcopy", Env: env, Args: []string{"-m", "-i", image, path, "::" + file}}).Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sortedTree lists the folders and files below dir, relative to it.
func sortedTree(dir string) (dirs, files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, name)
		} else {
			files = append(files, name)
		}
		return nil
	})
	slices.Sort(dirs)
	slices.Sort(files)
	return dirs, files, err
}
