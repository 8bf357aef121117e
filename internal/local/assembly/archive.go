// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"bytes"
	"fmt"
)

// Archive is the archive format that the kernel unpacks as initramfs ("newc"). All entries belong to root and carry
// the time Epoch. The zero Archive is empty.
type Archive struct {
	out   bytes.Buffer
	inode int
}

// Dir adds a folder. Folders come before what is in them.
func (w *Archive) Dir(name string) { w.entry(name, 0o040755, 0, 0, nil) }

// File adds a file.
func (w *Archive) File(name string, mode int, content []byte) {
	w.entry(name, 0o100000|mode, 0, 0, content)
}

// Console adds the device that the kernel opens for init before anything is mounted; its folder dev comes first.
func (w *Archive) Console() { w.entry("dev/console", 0o020600, 5, 1, nil) }

// End closes the archive and returns it.
func (w *Archive) End() []byte {
	w.entry("TRAILER!!!", 0, 0, 0, nil)
	return w.out.Bytes()
}

func (w *Archive) entry(name string, mode, major, minor int, content []byte) {
	w.inode++
	fmt.Fprintf(&w.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		w.inode, mode, 0, 0, 1, Epoch, len(content), 0, 0, major, minor, len(name)+1, 0)
	w.out.WriteString(name + "\x00")
	w.align()
	w.out.Write(content)
	w.align()
}

func (w *Archive) align() {
	for w.out.Len()%4 != 0 {
		w.out.WriteByte(0)
	}
}
