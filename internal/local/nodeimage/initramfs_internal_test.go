// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A malformed archive shows only as a machine that never finds its disk.

func TestTheInitramfsIsAnArchiveThatOthersCanReadAndAlwaysTheSame(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"busybox": "program", "a.ko": "module a", "b.ko": "module bb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pack := func() []byte {
		archive, err := initramfs(map[string][]byte{"init": []byte("#!/bin/busybox sh\n"), "dhcp": []byte("case")}, filepath.Join(dir, "busybox"), dir, []string{"a.ko", "b.ko"})
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	first := pack()
	if !bytes.Equal(first, pack()) {
		t.Error("two runs give different bytes")
	}
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Fatal("cpio is not installed")
	}
	list := exec.CommandContext(t.Context(), "cpio", "-i", "--quiet", "--to-stdout", "dhcp", "init", "modules", "modules.d/b.ko")
	list.Stdin = bytes.NewReader(first)
	out, err := list.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/modules.d/a.ko\n/modules.d/b.ko\n") || !strings.Contains(string(out), "module bb") ||
		!strings.Contains(string(out), "case#!/bin/busybox sh\n") {
		t.Fatalf("cpio reads %q, %v", out, err)
	}
}

func TestScriptsOfTheInitramfsAreThoseThatAShellAccepts(t *testing.T) {
	for _, name := range initramfsScripts() {
		check := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join("..", "..", "..", "nodeimage", "initramfs", name))
		if out, err := check.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}
