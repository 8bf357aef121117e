// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:        generic.New(),
		Format:        ingotv1.BootstrapFormatIgnition,
		Select:        selectGeneric,
		Validate:      ignition.Validate,
		Readable:      readable,
		SelfUpdateOff: selfUpdateOff,
		Testdata:      "testdata",
		Support:       kubeadm.Support(),
	}
}

func selectGeneric(spec *bootstrapv1.IngotConfigSpec) {
	spec.Ignition.Variant = bootstrapv1.IgnitionVariantGeneric
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite()) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite()) }

// nodeSuite is the family as a kubeadm node.
func nodeSuite() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: generic.New(), Select: selectGeneric, Read: read}
}

func TestNode(t *testing.T) { kubeadmtest.Run(t, nodeSuite()) }

// read reads the node back. The host name stays the file that it is.
func read(data []byte) (kubeadm.Node, error) {
	config, err := ignition.Decode(data)
	if err != nil {
		return kubeadm.Node{}, err
	}
	node := kubeadm.Node{Fetch: kubeadm.Fetch{Authority: strings.Join(config.Authorities, ""), Patience: config.FetchTimeout}}
	for _, f := range config.Folders {
		node.Fetch.Folders = append(node.Fetch.Folders, kubeadm.Folder(f))
	}
	for _, f := range config.Files {
		if f.Remote != (ignition.Remote{}) {
			node.Fetch.Files = append(node.Fetch.Files, kubeadm.RemoteFile{Path: f.Path, Mode: f.Mode, URL: f.Remote.URL, SHA512: f.Remote.SHA512})
			continue
		}
		node.Files = append(node.Files, kubeadm.File{Path: f.Path, Mode: f.Mode, Data: f.Data, Append: f.Append})
	}
	for _, u := range config.Units {
		node.Units = append(node.Units, kubeadm.Unit(u))
	}
	return node, nil
}

func readable(data []byte) (string, error) {
	node, err := read(data)
	return kubeadmtest.Readable(node), err
}

func selfUpdateOff(data []byte) bool {
	node, err := read(data)
	return err == nil && kubeadmtest.SelfUpdateOff(node)
}
