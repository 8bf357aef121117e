// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDirs are where Debian on amd64 keeps shared libraries.
func libraryDirs() []string {
	return []string{"usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib", "lib64"}
}

// sharedObjects returns the program loader and all libraries that the program needs to run, directly or not: a map
// from path in the image to path on this host. Program is relative to root.
func sharedObjects(root, program string) (map[string]string, error) {
	found := map[string]string{}
	queue := []string{program}
	for len(queue) > 0 {
		interpreter, needed, err := dynamicSection(filepath.Join(root, queue[0]))
		if err != nil {
			return nil, err
		}
		queue = queue[1:]
		if interpreter != "" {
			found[interpreter] = filepath.Join(root, interpreter)
		}
		for _, name := range needed {
			at := "/usr/lib/x86_64-linux-gnu/" + name
			if found[at] != "" || slices.ContainsFunc([]string{interpreter}, func(i string) bool { return filepath.Base(i) == name }) {
				continue
			}
			path, err := findLibrary(root, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", program, err)
			}
			found[at] = filepath.Join(root, path)
			queue = append(queue, path)
		}
	}
	return found, nil
}

func findLibrary(root, name string) (string, error) {
	for _, dir := range libraryDirs() {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s is in none of the image's packages", name)
}

// dynamicSection reads the loader and the direct libraries of an ELF file.
func dynamicSection(path string) (interpreter string, needed []string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("reading program %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			name, err := io.ReadAll(segment.Open())
			if err != nil {
				return "", nil, fmt.Errorf("reading program %s: %w", path, err)
			}
			interpreter = strings.TrimRight(string(name), "\x00")
		}
	}
	needed, err = f.ImportedLibraries()
	if err != nil {
		return "", nil, fmt.Errorf("reading program %s: %w", path, err)
	}
	return interpreter, needed, nil
}
