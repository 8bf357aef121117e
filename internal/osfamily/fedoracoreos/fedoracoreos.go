// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fedoracoreos is the family of Fedora CoreOS, of images derived from it, and of RHCOS outside of OpenShift.
// kubelet and kubeadm are in the image, or come as a system extension. The package says what these images are like; package
// ignitionnode writes the node. It never talks to anything, and it knows no platform.
package fedoracoreos

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

// zincati turns Zincati off in its own words, in case something starts it in spite of its mask.
const zincati = `[updates]
enabled = false
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
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyFedoraCoreOS }

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

// image is what these images are like: /usr is read-only but for /usr/local, which is a link into /var, as is /opt.
// systemd-sysext looks into /var/lib/extensions itself, so there are no links.
func image() ignitionnode.Image {
	return ignitionnode.Image{
		Variant: bootstrapv1.IgnitionVariantFedoraCoreOS,
		Dialect: ignition.DialectFedoraCoreOS,
		GuardRails: ignitionnode.GuardRails{
			Files: []ignition.File{{Path: "/etc/zincati/config.d/90-disable.toml", Mode: 0o644, Data: []byte(zincati)}},
			Masks: []string{"rpm-ostreed-automatic.service", "bootc-fetch-apply-updates.service", "bootloader-update.service"},
			Paths: []string{"/etc/zincati", "/etc/rpm-ostreed.conf*"},
		},
		Forwards:      true,
		VolumePlugins: "/etc/kubernetes/kubelet-plugins/volume/exec",
		WritableUsr:   "/usr/local",
		Sysexts:       ignitionnode.SysextFolders{Images: "/var/lib/extensions"},
		// As Butane's boot_device.luks has it.
		EncryptedRoot: ignition.EncryptedVolume{Name: "root", Device: "/dev/disk/by-partlabel/root", Label: "luks-root", Format: "xfs", FilesystemLabel: "root"},
	}
}
