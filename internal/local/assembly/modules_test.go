// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// A wrong order of modules shows only as a machine that never finds its disk.

func TestLoadOrder(t *testing.T) {
	dep := "kernel/virtio/virtio_blk.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n" +
		"kernel/virtio/virtio_ring.ko:\n" +
		"kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n" +
		"kernel/virtio/virtio-scsi.ko: kernel/scsi/scsi_mod.ko kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n" +
		"kernel/scsi/scsi_mod.ko:\n"
	cases := map[string]struct {
		why     string
		names   []string
		dep     string
		want    []string
		wantErr string
	}{
		"what a module needs comes first": {
			why:   "insmod knows no dependencies",
			names: []string{"virtio_blk"},
			want:  []string{"virtio.ko", "virtio_ring.ko", "virtio_blk.ko"},
		},
		"shared dependencies are loaded once": {
			why:   "loading a module twice is an error, and an error stops the boot",
			names: []string{"virtio_blk", "virtio_scsi"},
			want:  []string{"virtio.ko", "virtio_ring.ko", "virtio_blk.ko", "scsi_mod.ko", "virtio-scsi.ko"},
		},
		"built-in modules are skipped": {
			why:   "they have no file",
			names: []string{"ext4"},
		},
		"a module that does not exist is named": {
			why:     "another kernel may have renamed it",
			names:   []string{"virtio_disk"},
			wantErr: "virtio_disk",
		},
		"a damaged index is refused": {
			why:     "half an index would give half an initramfs",
			dep:     "kernel/virtio/virtio_blk.ko\n",
			names:   []string{"virtio_blk"},
			wantErr: "no colon",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.dep == "" {
				c.dep = dep
			}
			order, err := assembly.LoadOrder([]byte(c.dep), []byte("kernel/fs/ext4/ext4.ko\n"), c.names)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("%s: error = %v, want one with %q", c.why, err, c.wantErr)
				}
				return
			}
			var got []string
			for _, path := range order {
				got = append(got, filepath.Base(path))
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Fatalf("%s: got %v, %v; want %v", c.why, got, err, c.want)
			}
		})
	}
}
