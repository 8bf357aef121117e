// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package generic is the family of every image that runs Ignition 3.x on first boot and carries containerd, kubelet and
// kubeadm in /usr/bin. Ingot OS, the image that this repository builds, is its worked example. The package writes the node
// of package kubeadm as an Ignition configuration. It never talks to anything, and it knows no platform.
package generic

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

// fwCfgKey is where Ignition looks under QEMU.
const fwCfgKey = "opt/com.coreos/config"

// Family implements osfamily.Family.
type Family struct{}

var (
	_ osfamily.Family   = Family{}
	_ osfamily.Declarer = Family{}
)

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyGeneric }

// Channels implements osfamily.Family.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatIgnition {
		return nil
	}
	return []delivery.Channel{{Kind: delivery.FWCfg, Key: fwCfgKey}}
}

// Declarations implements osfamily.Declarer.
func (Family) Declarations(in osfamily.Input) []osfamily.Declaration { return kubeadm.Declarations(in) }

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	return kubeadm.Render(in, check(in), ingotv1.BootstrapFormatIgnition, encode)
}

func check(in osfamily.Input) osfamily.Report {
	report := kubeadm.Check(in, ingotv1.OSFamilyGeneric, kubeadm.Support())
	switch in.Config.Ignition.Variant {
	case "", bootstrapv1.IgnitionVariantGeneric:
	default:
		report.Errorf("spec.ignition.variant", "%q is not rendered by the Generic family", in.Config.Ignition.Variant)
	}
	return report
}

// encode writes the node in Ignition's words. Ignition fetches before the root is up, so before any unit runs.
func encode(node kubeadm.Node) ([]byte, error) {
	config := ignition.Config{
		Files:        []ignition.File{{Path: "/etc/hostname", Mode: 0o644, Data: []byte(node.Hostname + "\n")}},
		FetchTimeout: node.Fetch.Patience,
	}
	for _, f := range node.Files {
		config.Files = append(config.Files, ignition.File{Path: f.Path, Mode: f.Mode, Data: f.Data, Append: f.Append})
	}
	for _, f := range node.Fetch.Files {
		config.Files = append(config.Files, ignition.File{Path: f.Path, Mode: f.Mode, Remote: ignition.Remote{URL: f.URL, SHA512: f.SHA512}})
	}
	for _, f := range node.Fetch.Folders {
		config.Folders = append(config.Folders, ignition.Folder(f))
	}
	for _, u := range node.Units {
		config.Units = append(config.Units, ignition.Unit(u))
	}
	if node.Fetch.Authority != "" {
		config.Authorities = []string{node.Fetch.Authority}
	}
	return config.Encode()
}
