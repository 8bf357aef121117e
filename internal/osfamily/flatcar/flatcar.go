// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flatcar is the family of Flatcar Container Linux. kubelet and kubeadm come as a system extension, or are in an
// image that was built with them. The package says what Flatcar's images are like; package ignitionnode writes the node. It
// never talks to anything, and it knows no platform.
package flatcar

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

// fwCfgKey is where Flatcar's Ignition looks under QEMU. It is not the key of other images.
const fwCfgKey = "opt/org.flatcar-linux/config"

// updateConf names no server to ask for updates, and lets nothing reboot the machine.
const updateConf = `SERVER=disabled
REBOOT_STRATEGY=off
`

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
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyFlatcar }

// Channels implements osfamily.Family. The config drive is read by the image for OpenStack only, so it comes second.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatIgnition {
		return nil
	}
	return []delivery.Channel{{Kind: delivery.FWCfg, Key: fwCfgKey}, {Kind: delivery.ConfigDrive}, ignitionnode.GuestInfo()}
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

// image is what Flatcar's images are like: all of /usr is read-only, /etc and /opt can be written.
func image() ignitionnode.Image {
	return ignitionnode.Image{
		Variant: bootstrapv1.IgnitionVariantFlatcar,
		Dialect: ignition.DialectFlatcar,
		GuardRails: ignitionnode.GuardRails{
			Files: []ignition.File{{Path: "/etc/flatcar/update.conf", Mode: 0o644, Data: []byte(updateConf)}},
			Masks: []string{"update-engine-stub.timer", "update-engine-stub.service"},
			Paths: []string{"/etc/coreos"}, // a link to /etc/flatcar
		},
		Forwards:      true,
		VolumePlugins: "/opt/libexec/kubernetes/kubelet-plugins/volume/exec",
		Sysexts:       ignitionnode.SysextFolders{Images: "/opt/extensions", Links: "/etc/extensions"},
		// As Flatcar's own guide has it, from 3913.0.1 on.
		EncryptedRoot: ignition.EncryptedVolume{Name: "rootencrypted", Device: "/dev/disk/by-partlabel/ROOT", Format: "ext4", FilesystemLabel: "ROOT"},
	}
}
