// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package generic is the family of every image that runs Ignition 3.x on first boot and carries containerd, kubelet and
// kubeadm in /usr/bin. Ingot OS, the image that this repository builds, is its worked example. Nothing is known of such an
// image beside that, so the package adds nothing to the node. It never talks to anything, and it knows no platform.
package generic

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// fwCfgKey is where Ignition looks under QEMU.
const fwCfgKey = "opt/com.coreos/config"

// Family implements osfamily.Family.
type Family struct{}

var (
	_ osfamily.Family   = Family{}
	_ osfamily.Declarer = Family{}
	_ osfamily.Reader   = Family{}
	_ osfamily.Weigher  = Family{}
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
	return []delivery.Channel{{Kind: delivery.FWCfg, Key: fwCfgKey}, ignitionnode.GuestInfo()}
}

// Declarations implements osfamily.Declarer.
func (Family) Declarations(in osfamily.Input) []osfamily.Declaration { return kubeadm.Declarations(in) }

// Readable implements osfamily.Reader.
func (Family) Readable(bundle osfamily.Bundle) (string, error) {
	return ignitionnode.Readable(bundle.Data)
}

// Weigh implements osfamily.Weigher.
func (Family) Weigh(config bootstrapv1.IngotConfigSpec) osfamily.Report {
	return ignitionnode.Weigh(config)
}

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	return ignitionnode.Render(in, image())
}

// Support is what the family makes of the portable settings.
func Support() settings.Support { return image().Support() }

func image() ignitionnode.Image {
	return ignitionnode.Image{
		Variant:     bootstrapv1.IgnitionVariantGeneric,
		Dialect:     ignition.DialectFlatcar,
		WritableUsr: "/usr/local",
	}
}
