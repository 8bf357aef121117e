// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package iso9660

import (
	"encoding/binary"
	"strings"
)

const (
	// rockRidge names the extension that holds the real names and modes.
	rockRidge = "RRIP_1991A"

	modeFolder = 0o040500
	modeFile   = 0o100400

	flagFolder = 2
)

// listing returns the records of a folder: itself, its parent, and its children.
func (n *node) listing() []byte {
	own := n.attributes()
	if n.parent == n { // the root says which extensions are in use
		own = append([]byte("SP\x07\x01\xbe\xef\x00"), own...)
		own = append(own, "ER"+string(rune(8+len(rockRidge)))+"\x01"+string(rune(len(rockRidge)))+"\x00\x00\x01"+rockRidge...)
	}
	out := n.record("\x00", own)
	out = append(out, n.parent.record("\x01", n.parent.attributes())...)
	for _, c := range n.children {
		name := append([]byte{'N', 'M', byte(5 + len(c.name)), 1, 0}, c.name...)
		out = append(out, c.record(c.id, append(c.attributes(), name...))...)
	}
	return out
}

// attributes returns the mode, the number of links, and root as user and group.
func (n *node) attributes() []byte {
	mode, links := uint32(modeFile), uint32(1)
	if n.folder {
		mode, links = modeFolder, 2
		for _, c := range n.children {
			if c.folder {
				links++
			}
		}
	}
	out := []byte("PX\x24\x01")
	for _, v := range []uint32{mode, links, 0, 0} {
		out = append(out, both(v)...)
	}
	return out
}

// record returns a directory record with a system use area.
func (n *node) record(id string, use []byte) []byte {
	size, flags := len(n.content), byte(0)
	if n.folder {
		size, flags = sector, flagFolder
	}
	out := []byte{0, 0}
	out = append(out, both(uint32(n.at))...)
	out = append(out, both(uint32(size))...)
	out = append(out, recordTime()...)
	out = append(out, flags, 0, 0, 1, 0, 0, 1, byte(len(id)))
	out = append(out, id...)
	if len(out)%2 == 1 {
		out = append(out, 0)
	}
	out = append(out, use...)
	if len(out)%2 == 1 {
		out = append(out, 0)
	}
	out[0] = byte(len(out))
	return out
}

// pathTables returns the table of all folders in both orders of bytes.
func pathTables(folders []*node) (little, big []byte) {
	for _, f := range folders {
		little = append(little, byte(len(f.id)), 0)
		big = append(big, byte(len(f.id)), 0)
		little = binary.LittleEndian.AppendUint32(little, uint32(f.at))
		big = binary.BigEndian.AppendUint32(big, uint32(f.at))
		little = binary.LittleEndian.AppendUint16(little, uint16(f.parent.number))
		big = binary.BigEndian.AppendUint16(big, uint16(f.parent.number))
		little, big = append(little, f.id...), append(big, f.id...)
		if len(f.id)%2 == 1 {
			little, big = append(little, 0), append(big, 0)
		}
	}
	return little, big
}

// volume returns the primary volume descriptor.
func volume(label string, root *node, sectors, pathTable int) []byte {
	text := func(s string, width int) string { return s + strings.Repeat(" ", width-len(s)) }
	out := []byte("\x01CD001\x01\x00")
	out = append(out, text("LINUX", 32)+text(label, 32)...)
	out = append(out, make([]byte, 8)...)
	out = append(out, both(uint32(sectors))...)
	out = append(out, make([]byte, 32)...)
	out = append(out, both16(1)...) // volumes in the set
	out = append(out, both16(1)...) // number of this one
	out = append(out, both16(sector)...)
	out = append(out, both(uint32(pathTable))...)
	out = binary.LittleEndian.AppendUint32(out, littleAt)
	out = append(out, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, bigAt)
	out = append(out, 0, 0, 0, 0)
	out = append(out, root.record("\x00", nil)...)
	out = append(out, text("", 4*128+3*37)...) // names of people and files
	never := strings.Repeat("0", 16) + "\x00"
	out = append(out, volumeTime()+volumeTime()+never+never...)
	return append(out, 1) // version of the structure
}

// Carriers have no date of their own: the same data gives the same bytes whenever it is encoded.
func recordTime() []byte { return []byte{80, 1, 1, 0, 0, 0, 0} }

func volumeTime() string { return "1980010100000000\x00" }

// both writes a number in both orders of bytes, as the format wants it.
func both(v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, v), v)
}

func both16(v uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, v), v)
}
