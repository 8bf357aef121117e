// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package iso9660 encodes a few small files as a CD-ROM image, in memory: the carrier of bootstrap data for guests that
// look for a file system. The same input gives the same bytes, and no byte of it, which is secret, touches a disk of ours.
//
// The names are Rock Ridge's, so that guests see them as they are. A reader without Rock Ridge sees them in capitals, and
// Linux shows those in small letters. Only root of the guest may read the files.
package iso9660

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
)

const (
	// sector is the unit in which everything lies on a CD-ROM.
	sector = 2048

	// Where things lie, in sectors. What is before belongs to boot loaders.
	volumeAt     = 16
	terminatorAt = 17
	littleAt     = 18 // path table
	bigAt        = 19 // path table
	foldersAt    = 20

	maxLabel = 32
	// maxName keeps a name with its suffix inside the 31 characters of ISO 9660.
	maxName = 28
	maxFile = 1 << 30
)

var (
	labelPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
)

// node is a file or a folder.
type node struct {
	name, id string
	parent   *node
	folder   bool
	children []*node
	content  []byte
	// at is the first sector.
	at int
	// number is the place of a folder in the path table, from 1.
	number int
}

// Encode returns the image of a file system.
func Encode(fs delivery.FileSystem) ([]byte, error) {
	if !labelPattern.MatchString(fs.Label) || len(fs.Label) > maxLabel {
		return nil, fmt.Errorf("label %q of the file system: at most %d letters, digits, - and _", fs.Label, maxLabel)
	}
	root := &node{folder: true, id: "\x00"}
	root.parent = root
	for _, path := range slices.Sorted(maps.Keys(fs.Files)) {
		if err := root.add(path, fs.Files[path]); err != nil {
			return nil, fmt.Errorf("file %q: %w", path, err)
		}
	}
	folders, files := root.walk()
	end := place(folders, files)

	image := make([]byte, end*sector)
	at := func(n int) []byte { return image[n*sector:] }
	little, big := pathTables(folders)
	if len(little) > sector {
		return nil, errors.New("there are too many folders")
	}
	copy(at(volumeAt), volume(fs.Label, root, end, len(little)))
	copy(at(terminatorAt), "\xffCD001\x01")
	copy(at(littleAt), little)
	copy(at(bigAt), big)
	for _, f := range folders {
		listing := f.listing()
		if len(listing) > sector {
			return nil, fmt.Errorf("folder %q holds too many files", f.name)
		}
		copy(at(f.at), listing)
	}
	for _, f := range files {
		copy(at(f.at), f.content)
	}
	return image, nil
}

// add makes a file with the folders above it.
func (n *node) add(path string, content []byte) error {
	if len(content) > maxFile {
		return fmt.Errorf("%d bytes are more than a carrier is for", len(content))
	}
	parts := strings.Split(path, "/")
	for i, name := range parts {
		if !namePattern.MatchString(name) || len(name) > maxName {
			return fmt.Errorf("name %q: at most %d letters, digits, -, _ and . after the first", name, maxName)
		}
		c := &node{name: name, id: strings.ToUpper(name), folder: i < len(parts)-1}
		if !c.folder {
			c.id = fileID(c.id)
		}
		if n = n.adopt(c); n == nil {
			return fmt.Errorf("name %q is there twice, in whatever capitals, or is a file and a folder", name)
		}
	}
	n.content = append([]byte{}, content...)
	return nil
}

// fileID adds what ISO 9660 wants in the name of every file: an ending, and a version.
func fileID(id string) string {
	if !strings.Contains(id, ".") {
		id += "."
	}
	return id + ";1"
}

// adopt makes c a child of n and returns it, or the folder that is there already. It returns nil when the name is taken.
func (n *node) adopt(c *node) *node {
	for _, have := range n.children {
		switch {
		case have.name == c.name && have.folder && c.folder:
			return have
		case have.id == c.id || strings.EqualFold(have.name, c.name):
			return nil
		}
	}
	c.parent = n
	n.children = append(n.children, c)
	slices.SortFunc(n.children, func(a, b *node) int { return strings.Compare(a.id, b.id) })
	return c
}

// walk returns all folders in the order of the path table, which is by depth, and all files.
func (n *node) walk() (folders, files []*node) {
	folders = []*node{n}
	for i := 0; i < len(folders); i++ {
		folders[i].number = i + 1
		for _, c := range folders[i].children {
			if c.folder {
				folders = append(folders, c)
			} else {
				files = append(files, c)
			}
		}
	}
	return folders, files
}

// place gives everything its sectors and returns the first that is free.
func place(folders, files []*node) (end int) {
	end = foldersAt
	for _, f := range folders {
		f.at = end
		end++
	}
	for _, f := range files {
		f.at = end
		end += (len(f.content) + sector - 1) / sector
	}
	return end
}
