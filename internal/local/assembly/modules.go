// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"bufio"
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// LoadOrder returns the paths of the named modules and of all that they depend on, relative to the kernel's module
// folder, in an order in which they can be loaded. It reads what depmod wrote.
func LoadOrder(modulesDep, modulesBuiltin []byte, names []string) ([]string, error) {
	builtin := map[string]bool{}
	for line := range strings.FieldsSeq(string(modulesBuiltin)) {
		builtin[moduleName(line)] = true
	}
	paths, needs := map[string]string{}, map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(modulesDep))
	for lines.Scan() {
		path, dependencies, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep: line %q has no colon", lines.Text())
		}
		paths[moduleName(path)] = path
		needs[path] = strings.Fields(dependencies)
	}
	var order []string
	for _, name := range names {
		path, ok := paths[name]
		switch {
		case builtin[name]:
			continue
		case !ok:
			return nil, fmt.Errorf("the kernel has no module %s", name)
		}
		// depmod lists direct and indirect dependencies, the first to load at the end.
		dependencies := slices.Clone(needs[path])
		slices.Reverse(dependencies)
		for _, p := range append(dependencies, path) {
			if !slices.Contains(order, p) {
				order = append(order, p)
			}
		}
	}
	return order, nil
}

// moduleName is the name of a module by its path: modprobe treats - and _ alike.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
