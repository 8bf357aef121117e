// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ignitionnodetest holds what every family whose images run Ignition must pass beside the laws of the port: what
// users add with Butane and with system extensions, and what the real Ignition makes of a bundle. It holds no expectation
// about one operating system; a family brings the snippets that would undo its guard rails.
package ignitionnodetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// Suite is a family with what the suite must know to judge it.
type Suite struct {
	// Family is the family under test.
	Family osfamily.Family
	// Variant chooses the family.
	Variant bootstrapv1.IgnitionVariant
	// SelfUpdateOff says whether a node has its own updates off.
	SelfUpdateOff func(kubeadm.Node) bool
	// SelfUpdates are snippets that turn the updates of this operating system on. They are refused as long as the user did
	// not allow it to update itself, and good afterwards.
	SelfUpdates []string
	// ReadOnly are paths that no image of this operating system lets anybody write.
	ReadOnly []string
	// SysextFolder is where the images of system extensions lie. Empty means that the family takes none.
	SysextFolder string
}

// Port is the family as the suite of the port judges it.
func (s Suite) Port() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:   s.Family,
		Format:   ingotv1.BootstrapFormatIgnition,
		Select:   s.selectFamily,
		Validate: ignition.Validate,
		Readable: Readable,
		SelfUpdateOff: func(data []byte) bool {
			node, err := Read(data)
			return err == nil && s.SelfUpdateOff(node)
		},
		Testdata: "testdata",
		Support:  kubeadm.Support(),
	}
}

// Node is the family as a kubeadm node.
func (s Suite) Node() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: s.Family, Select: s.selectFamily, Read: Read}
}

func (s Suite) selectFamily(spec *bootstrapv1.IngotConfigSpec) { spec.Ignition.Variant = s.Variant }

// Run checks what users add: good cases have golden files below testdata/additions, and what breaks the law is refused
// where it stands.
func Run(t *testing.T, s Suite) {
	t.Helper()
	port := s.Port()
	port.Testdata = "testdata/additions"
	osfamilytest.RunCases(t, port, s.Cases(t), s.brokenSysexts(t))
	s.checkLaw(t)
}

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
	out.WriteString(kubeadmtest.Readable(node))
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
