// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Readable writes files and units as a person would look at them on the machine. Masked units are one line.
func Readable(node Node) string {
	var out strings.Builder
	if node.Hostname != "" {
		fmt.Fprintf(&out, "\n==> host name %s\n", node.Hostname)
	}
	if node.Fetch.Patience > 0 {
		fmt.Fprintf(&out, "\n==> gives up fetching a file after %s\n", node.Fetch.Patience)
	}
	if node.Fetch.Authority != "" {
		fmt.Fprintf(&out, "\n==> trusts for what it fetches\n%s", node.Fetch.Authority)
	}
	for _, folder := range node.Fetch.Folders {
		fmt.Fprintf(&out, "\n==> folder %s %04o\n", folder.Path, folder.Mode)
	}
	writeFiles(&out, node)
	var masked []string
	for _, unit := range node.Units {
		if unit.Masked {
			masked = append(masked, unit.Name)
			continue
		}
		fmt.Fprintf(&out, "\n==> unit %s enabled=%t\n%s", unit.Name, unit.Enabled, unit.Contents)
		for _, name := range slices.Sorted(maps.Keys(unit.Dropins)) {
			fmt.Fprintf(&out, "--- drop-in %s\n%s", name, unit.Dropins[name])
		}
	}
	fmt.Fprintf(&out, "\n==> masked units: %s\n", strings.Join(masked, " "))
	return out.String()
}

// writeFiles writes files in the order of their paths, wherever their content comes from.
func writeFiles(out *strings.Builder, node Node) {
	texts := map[string]string{}
	for _, file := range node.Files {
		kind := "file"
		if file.Append {
			kind = "append to"
		}
		texts[file.Path] = fmt.Sprintf("\n==> %s %s %04o\n%s", kind, file.Path, file.Mode, file.Data)
	}
	for _, file := range node.Fetch.Files {
		texts[file.Path] = fmt.Sprintf("\n==> file %s %04o\nfrom %s\nsha512 %s\n", file.Path, file.Mode, file.URL, file.SHA512)
	}
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		out.WriteString(texts[path])
	}
}
