// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Partition tables come from files that somebody downloaded; reading them must never panic and never believe them.

func tableOf(t *testing.T) []byte {
	t.Helper()
	needTools(t)
	raw := filepath.Join(t.TempDir(), "raw")
	if err := (&build{version: "v1.0.0"}).partitionTable(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, headBytes)
	if _, err := f.Read(head); err != nil {
		t.Fatal(err)
	}
	return head
}

func TestParseLayoutReadsWhatSgdiskWrote(t *testing.T) {
	layout, problem := parseLayout(tableOf(t), DiskBytes)
	if problem != "" {
		t.Fatal(problem)
	}
	for i, want := range partitions() {
		got := layout.partitions[i]
		if got.name != want.name || got.offset != int64(want.startMiB)*mib || got.size != int64(want.sizeMiB)*mib {
			t.Errorf("partition %d: got %+v, want %+v", i+1, got, want)
		}
	}
	if layout.partitions[0].kind != kindESP {
		t.Errorf("the EFI system partition has type %s", layout.partitions[0].kind)
	}
}

func TestParseLayoutRefusesATableThatCanNotBeTrue(t *testing.T) {
	head := tableOf(t)
	if _, problem := parseLayout(head, DiskBytes/2); !strings.Contains(problem, "truncated") {
		t.Errorf("half of the disk is missing, and the answer is %q", problem)
	}
	binary.LittleEndian.PutUint32(head[sector+80:], 1<<31)
	if _, problem := parseLayout(head, DiskBytes); problem == "" {
		t.Error("two thousand million partitions were believed")
	}
}

func FuzzParseLayout(f *testing.F) {
	head := make([]byte, 4096)
	head[510], head[511] = 0x55, 0xaa
	copy(head[sector:], "EFI PART")
	binary.LittleEndian.PutUint64(head[sector+72:], 2)
	binary.LittleEndian.PutUint32(head[sector+80:], 4)
	binary.LittleEndian.PutUint32(head[sector+84:], 128)
	f.Add(head, int64(4096))
	f.Add([]byte("short"), int64(5))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		layout, problem := parseLayout(head, size)
		if problem != "" {
			return
		}
		for _, p := range layout.partitions {
			if p.kind != "" && (p.offset < 0 || p.size <= 0 || p.offset+p.size > size) {
				t.Fatalf("partition %+v outside of a disk of %d bytes", p, size)
			}
		}
	})
}
