// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// diskLayout is what the first sectors of a disk say.
type diskLayout struct {
	bytes      int64
	bootCode   bool // a BIOS finds code in the first sector, and a partition to boot
	partitions []diskPartition
}

// diskPartition is one partition; offset and size are in bytes.
type diskPartition struct {
	name   string
	kind   string // type GUID, lower case, or "" in an MBR
	offset int64
	size   int64
}

// Types of partitions that matter for booting.
const (
	kindESP      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	kindBIOSBoot = "21686148-6449-6e6f-744e-656564454649"
)

const sector = 512

// headBytes is how much of a disk parseLayout needs: the MBR, the GPT header and 128 entries fit easily.
const headBytes = 1 << 20

// parseLayout reads the partition table in the first bytes of a disk. A disk without a table has no partitions. A
// problem is a sentence about a table that can not be true.
func parseLayout(head []byte, size int64) (layout diskLayout, problem string) {
	layout = diskLayout{bytes: size}
	if len(head) < 2*sector || head[510] != 0x55 || head[511] != 0xaa {
		return layout, ""
	}
	hasCode := !bytes.Equal(head[:64], make([]byte, 64))
	if !bytes.Equal(head[sector:sector+8], []byte("EFI PART")) {
		layout.partitions = parseMBR(head)
		layout.bootCode = hasCode && len(layout.partitions) > 0
		return layout, ""
	}
	entries := binary.LittleEndian.Uint64(head[sector+72:]) // first sector of the table
	count := binary.LittleEndian.Uint32(head[sector+80:])
	width := binary.LittleEndian.Uint32(head[sector+84:])
	if width < 128 || width > 4096 || count > 1024 || entries > headBytes/sector {
		return layout, fmt.Sprintf("the partition table is damaged: %d entries of %d bytes at sector %d", count, width, entries)
	}
	for i := range int(count) {
		at := int(entries)*sector + i*int(width)
		if at+128 > len(head) {
			return layout, fmt.Sprintf("the partition table ends after %d of %d entries", i, count)
		}
		p, ok := parseEntry(head[at : at+128])
		if !ok {
			continue
		}
		if p.size <= 0 || p.offset < 0 || p.offset+p.size > size {
			return layout, fmt.Sprintf("partition %d lies outside the disk: the image is truncated", i+1)
		}
		layout.bootCode = layout.bootCode || (hasCode && p.kind == kindBIOSBoot)
		layout.partitions = append(layout.partitions, p)
	}
	return layout, ""
}

// parseEntry reads one entry of a GPT; ok is false for an unused one.
func parseEntry(entry []byte) (p diskPartition, ok bool) {
	if bytes.Equal(entry[:16], make([]byte, 16)) {
		return diskPartition{}, false
	}
	first, last := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
	var name []uint16
	for at := 56; at < 128; at += 2 {
		c := binary.LittleEndian.Uint16(entry[at:])
		if c == 0 {
			break
		}
		name = append(name, c)
	}
	return diskPartition{
		name: string(utf16.Decode(name)), kind: guid(entry[:16]),
		offset: int64(first) * sector, size: (int64(last) - int64(first) + 1) * sector,
	}, true
}

// guid writes a GUID as GPT stores it: the first three groups are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

func parseMBR(head []byte) []diskPartition {
	var partitions []diskPartition
	for at := 446; at < 510; at += 16 {
		first, count := binary.LittleEndian.Uint32(head[at+8:]), binary.LittleEndian.Uint32(head[at+12:])
		if head[at+4] != 0 && count > 0 {
			partitions = append(partitions, diskPartition{offset: int64(first) * sector, size: int64(count) * sector})
		}
	}
	return partitions
}

// File systems that the check tells apart.
const (
	fsErofs  = "erofs"
	fsExt4   = "ext4"
	fsFAT    = "fat"
	fsSquash = "squashfs"
	fsXFS    = "xfs"
	fsBtrfs  = "btrfs"
)

// probeBytes is how much of a partition fileSystem needs.
const probeBytes = 128 << 10

// fileSystem names the file system that begins with these bytes, or "".
func fileSystem(head []byte) string {
	for _, known := range []struct {
		name  string
		at    int
		magic string
	}{
		{fsErofs, 1024, "\xe2\xe1\xf5\xe0"},
		{fsExt4, 1080, "\x53\xef"},
		{fsFAT, 82, "FAT32"},
		{fsFAT, 54, "FAT1"},
		{fsSquash, 0, "hsqs"},
		{fsXFS, 0, "XFSB"},
		{fsBtrfs, 0x10040, "_BHRfS_M"},
	} {
		end := known.at + len(known.magic)
		if len(head) >= end && string(head[known.at:end]) == known.magic {
			return known.name
		}
	}
	return ""
}
