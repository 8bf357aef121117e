// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	// maxDescriptor is how large an OVF descriptor may be. It is held in memory as a whole; the largest that are known, with
	// licences in ten languages, have a tenth of it.
	maxDescriptor = 1 << 20
	// maxMembers is how many files an OVA may have before its disk.
	maxMembers = 32

	formatTemplate = "template"
	formatOVA      = "ova"
	formatVMDK     = "vmdk"
)

// parcel is a disk that is ready to be streamed to a host: what is known of it before its first byte is sent, and its bytes.
type parcel struct {
	blueprint

	// capacity is the size of the disk that a guest sees, size that of the stream.
	capacity, size int64
	stream         io.Reader
}

// unpack finds the disk in an artefact of a size. Nothing is read of the disk but its beginning, and of everything else no
// more than maxDescriptor is held in memory.
func unpack(format string, artefact io.Reader, size int64) (*parcel, error) {
	p := &parcel{blueprint: blueprint{controller: pvSCSI}, size: size, stream: artefact}
	if format == formatOVA {
		var err error
		if p, err = openOVA(artefact, size); err != nil {
			return nil, err
		}
	}
	buffered := bufio.NewReaderSize(p.stream, diskHead)
	head, err := buffered.Peek(diskHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	p.stream = buffered
	p.capacity, err = vmdkCapacity(head)
	return p, err
}

// openOVA reads an OVA up to the beginning of its disk. An OVA is a tar file that begins with the descriptor.
func openOVA(artefact io.Reader, size int64) (*parcel, error) {
	files := tar.NewReader(artefact)
	p := &parcel{}
	wanted := ""
	for range maxMembers {
		header, err := files.Next()
		switch {
		case errors.Is(err, io.EOF) && wanted == "":
			return nil, errors.New("the OVA is empty")
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("the OVA does not hold the file %.100q, which its descriptor says is the disk", wanted)
		case err != nil:
			return nil, fmt.Errorf("the OVA is no tar file that can be read: %w", err)
		case header.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		name, err := memberOf(header, size)
		switch {
		case err != nil:
			return nil, err
		case wanted == "":
			if p.blueprint, wanted, err = descriptorIn(files, name, header.Size); err != nil {
				return nil, err
			}
		case name == wanted:
			p.size, p.stream = header.Size, files
			return p, nil
		}
	}
	return nil, fmt.Errorf("the disk is not among the first %d files of the OVA", maxMembers)
}

// memberOf is the name of a file in an OVA of a size. A file that says that it is larger than the OVA is none.
func memberOf(header *tar.Header, size int64) (string, error) {
	if header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("%.100q in the OVA is no regular file", header.Name)
	}
	for record := range header.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return "", fmt.Errorf("file %.100q in the OVA has holes: pack it without them", header.Name)
		}
	}
	if header.Size < 0 || header.Size > size {
		return "", fmt.Errorf("file %.100q says that it has %d bytes, and the OVA has %d", header.Name, header.Size, size)
	}
	return memberName(header.Name)
}

// descriptorIn reads the descriptor, which is the first file of an OVA.
func descriptorIn(file io.Reader, name string, size int64) (blueprint, string, error) {
	switch {
	case path.Ext(name) != ".ovf":
		return blueprint{}, "", fmt.Errorf("the OVA begins with %.100q, and not with its descriptor, a file that ends in .ovf", name)
	case size > maxDescriptor:
		return blueprint{}, "", fmt.Errorf("the OVF descriptor has %d bytes: at most %d are read", size, maxDescriptor)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxDescriptor))
	if err != nil {
		return blueprint{}, "", fmt.Errorf("the OVF descriptor cannot be read: %w", err)
	}
	return parseOVF(text)
}
