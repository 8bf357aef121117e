// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
)

// A streamOptimized VMDK begins with a header of one sector and the descriptor, a text, in the sectors after it; grains that
// are compressed one by one follow. The layout is that of VMware's "Virtual Disk Format 5.0".
const (
	sector = 512
	// diskHead is how much of a disk is looked at before it is taken: the header, and descriptors as tools write them.
	diskHead = 64 << 10
	// maxDiskBytes is the largest disk that vSphere knows: 62 TiB.
	maxDiskBytes = 62 << 40

	vmdkMagic           = "KDMV"
	vmdkLastVersion     = 3
	vmdkCompressedFlag  = 1 << 16
	vmdkMarkersFlag     = 1 << 17
	vmdkDeflate         = 1
	vmdkStreamOptimized = "streamOptimized"
	vmdkNoParent        = "ffffffff"

	convertIt = "convert it (qemu-img convert -O vmdk -o subformat=streamOptimized)"
)

var (
	createTypePattern = regexp.MustCompile(`(?m)^createType="([^"\n]{0,64})"`)
	parentPattern     = regexp.MustCompile(`(?mi)^parentCID=([0-9a-f]{1,8})\s*$`)
)

// vmdkCapacity returns the size of the disk that a guest sees, from the first bytes of a VMDK. It refuses what cannot be
// streamed to a host, and what is a layer over another file.
func vmdkCapacity(head []byte) (int64, error) {
	switch {
	case bytes.HasPrefix(head, []byte("# Disk DescriptorFile")):
		return 0, errors.New("it is the descriptor of a VMDK whose data are in other files: " + convertIt)
	case len(head) < sector || string(head[:4]) != vmdkMagic:
		return 0, errors.New("the disk is no VMDK")
	}
	word := binary.LittleEndian.Uint32
	long := binary.LittleEndian.Uint64
	version, flags := word(head[4:]), word(head[8:])
	sectors, from, length := long(head[12:]), long(head[28:]), long(head[36:])
	switch {
	case version < 1 || version > vmdkLastVersion:
		return 0, fmt.Errorf("VMDK version %d is not known", version)
	case flags&vmdkCompressedFlag == 0, flags&vmdkMarkersFlag == 0, binary.LittleEndian.Uint16(head[77:]) != vmdkDeflate:
		return 0, errors.New("the VMDK is not streamOptimized: " + convertIt)
	case sectors == 0 || sectors > maxDiskBytes/sector:
		return 0, fmt.Errorf("the VMDK says that it has %d sectors: at least one and at most 62 TiB are possible", sectors)
	case from == 0 || length == 0 || from > diskHead/sector || length > diskHead/sector || (from+length)*sector > uint64(len(head)):
		return 0, errors.New("the VMDK does not begin with its descriptor: " + convertIt)
	}
	text := bytes.TrimRight(head[from*sector:(from+length)*sector], "\x00")
	if m := createTypePattern.FindSubmatch(text); m == nil || string(m[1]) != vmdkStreamOptimized {
		return 0, errors.New("the descriptor of the VMDK does not say that it is streamOptimized: " + convertIt)
	}
	if m := parentPattern.FindSubmatch(text); m != nil && string(bytes.ToLower(m[1])) != vmdkNoParent {
		return 0, errors.New("the VMDK is a layer over another one: " + convertIt)
	}
	return int64(sectors) * sector, nil
}
