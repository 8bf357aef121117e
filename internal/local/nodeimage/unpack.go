// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// unpacker copies files of a file system into a new folder, with a program that needs no mount.
type unpacker struct {
	program string // of the host
	debian  string // package that holds program
	files   func(ctx context.Context, part, dir string) error
}

// unpackers are the file systems that can be looked into.
func unpackers() map[string]unpacker {
	return map[string]unpacker{
		fsErofs: {"fsck.erofs", "erofs-utils", func(ctx context.Context, part, dir string) error {
			return assembly.Tool{Name: "fsck.erofs", Args: []string{"--extract=" + dir, "--no-preserve", part}}.Run(ctx)
		}},
		fsExt4: {"debugfs", "e2fsprogs", unpackExt4},
		fsFAT: {"mcopy", "mtools", func(ctx context.Context, part, dir string) error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			return assembly.Tool{Name: "mcopy", Args: []string{"-s", "-n", "-i", part, "::/", dir}}.Run(ctx)
		}},
		fsSquash: {"unsquashfs", "squashfs-tools", func(ctx context.Context, part, dir string) error {
			return assembly.Tool{Name: "unsquashfs", Args: []string{"-no-xattrs", "-dest", dir, part}}.Run(ctx)
		}},
	}
}

// unpackExt4 copies only the folders in which walk finds something: a file system of /var may hold gigabytes beside.
func unpackExt4(ctx context.Context, part, dir string) error {
	// debugfs tells nothing by its exit code, so damage is asked for first.
	check := assembly.Tool{Name: "e2fsck", Args: []string{"-n", "-f", part}}
	if err := check.Run(ctx); err != nil {
		return err
	}
	var commands strings.Builder
	for _, folder := range []string{
		"/etc", "/usr", "/bin", "/sbin", "/opt", "/lib/systemd",
		"/lib/containerd/io.containerd.metadata.v1.bolt", "/var/lib/containerd/io.containerd.metadata.v1.bolt",
	} {
		parent := filepath.Join(dir, path.Dir(folder))
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		fmt.Fprintf(&commands, "rdump %s \"%s\"\n", folder, parent)
	}
	return assembly.Tool{Name: "debugfs", Args: []string{"-f", "/dev/stdin", part}, Stdin: commands.String()}.Run(ctx)
}
