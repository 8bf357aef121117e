// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

// Read reads the node back from a bundle. The host name stays the file that it is.
func Read(data []byte) (kubeadm.Node, error) {
	config, err := ignition.Decode(data)
	if err != nil {
		return kubeadm.Node{}, err
	}
	node := kubeadm.Node{Fetch: kubeadm.Fetch{Authority: strings.Join(config.Authorities, ""), Patience: config.FetchTimeout}}
	for _, f := range config.Folders {
		node.Fetch.Folders = append(node.Fetch.Folders, kubeadm.Folder(f))
	}
	for _, f := range config.Files {
		if f.Remote == (ignition.Remote{}) {
			node.Files = append(node.Files, kubeadm.File{Path: f.Path, Mode: f.Mode, Data: f.Data, Append: f.Append})
		} else if f.Remote.SHA512 != "" {
			node.Fetch.Files = append(node.Fetch.Files, kubeadm.RemoteFile{Path: f.Path, Mode: f.Mode, URL: f.Remote.URL, SHA512: f.Remote.SHA512})
		}
	}
	for _, u := range config.Units {
		node.Units = append(node.Units, kubeadm.Unit(u))
	}
	return node, nil
}

// Readable writes the node as a person would look at it on the machine, and what is no part of a node as it stands in the
// bundle.
func Readable(data []byte) (string, error) {
	node, err := Read(data)
	if err != nil {
		return "", err
	}
	config, err := ignition.Decode(data)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(kubeadm.Readable(node))
	for _, f := range config.Files {
		if f.Remote.SHA256 != "" {
			fmt.Fprintf(&out, "\n==> file %s %04o\nfrom %s\nsha256 %s\n", f.Path, f.Mode, f.Remote.URL, f.Remote.SHA256)
		}
	}
	for _, l := range config.Links {
		fmt.Fprintf(&out, "\n==> link %s -> %s\n", l.Path, l.Target)
	}
	rest, err := restOf(data)
	out.WriteString(rest)
	return out.String(), err
}

// restOf is what only additions write.
func restOf(data []byte) (string, error) {
	var tree map[string]map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return "", err
	}
	delete(tree, "ignition")
	delete(tree, "systemd")
	for _, known := range []string{"files", "directories", "links"} {
		delete(tree["storage"], known)
	}
	if len(tree["storage"]) == 0 {
		delete(tree, "storage")
	}
	if len(tree) == 0 {
		return "", nil
	}
	text, err := json.MarshalIndent(tree, "", "  ")
	return "\n==> beside it\n" + string(text) + "\n", err
}
