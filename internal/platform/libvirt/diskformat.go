// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// headerSize is how much of a disk must be seen to judge it.
const headerSize = 80

const (
	qcow2Magic        = "QFI\xfb"
	externalDataFlag  = 1 << 2
	qcow2FirstVersion = 2
)

// checkDisk judges the first bytes of a disk. A disk that points at other files would read them on the host, with the
// rights of QEMU, so only self-contained ones are let in.
func checkDisk(format string, header []byte) error {
	isQCOW2 := strings.HasPrefix(string(header), qcow2Magic)
	switch {
	case format == "raw" && isQCOW2:
		return errors.New("it is declared as raw and holds a qcow2 disk")
	case format == "raw":
		return nil
	case !isQCOW2:
		return fmt.Errorf("it is declared as %s and holds something else", format)
	case len(header) < headerSize:
		return errors.New("it ends within the qcow2 header")
	}
	if version := binary.BigEndian.Uint32(header[4:]); version < qcow2FirstVersion {
		return fmt.Errorf("qcow2 version %d is not supported", version)
	} else if version > qcow2FirstVersion && binary.BigEndian.Uint64(header[72:])&externalDataFlag != 0 {
		return errors.New("its data is in another file: convert it to a self-contained qcow2 (qemu-img convert)")
	}
	if binary.BigEndian.Uint64(header[8:]) != 0 {
		return errors.New("it is a layer over another file: convert it to a self-contained qcow2 (qemu-img convert)")
	}
	return nil
}
