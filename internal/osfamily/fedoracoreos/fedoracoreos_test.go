// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package fedoracoreos_test

import (
	"slices"
	"testing"

	"github.com/coreos/butane/config/common"
	fcos "github.com/coreos/butane/config/fcos/v1_5"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/fedoracoreos"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() ignitionnodetest.Suite {
	return ignitionnodetest.Suite{
		Family:        fedoracoreos.New(),
		Variant:       bootstrapv1.IgnitionVariantFedoraCoreOS,
		Support:       fedoracoreos.Support(),
		SelfUpdateOff: selfUpdateOff,
		SelfUpdates: []string{
			"systemd: {units: [{name: zincati.service, enabled: true}]}",
			"storage: {files: [{path: /etc/zincati/config.d/95-enable.toml, contents: {inline: '[updates]'}}]}",
			"storage: {links: [{path: /etc/zincati/config.d/90-disable.toml, target: /dev/null}]}",
			"systemd: {units: [{name: rpm-ostreed-automatic.timer, enabled: true}]}",
			"storage: {files: [{path: /etc/rpm-ostreed.conf, contents: {inline: '[Daemon]'}}]}",
		},
		ReadOnly:     []string{"/usr/lib/a", "/lib64/a"},
		SysextFolder: "/var/lib/extensions",
	}
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite().Port()) }

func TestNode(t *testing.T) { kubeadmtest.Run(t, suite().Node()) }

func TestAdditions(t *testing.T) { ignitionnodetest.Run(t, suite()) }

// Butane lays out the boot disk of Fedora CoreOS, so what it writes is what these images are known to come up with.
func TestEncryptedRootIsButanes(t *testing.T) {
	const config = "variant: fcos\nversion: 1.5.0\nboot_device: {luks: {tpm2: true}}\n"
	data, report, err := fcos.ToIgn3_4Bytes([]byte(config), common.TranslateBytesOptions{})
	if err != nil {
		t.Fatalf("%v: %s", err, report.String())
	}
	ignitionnodetest.RunEncryption(t, suite(), data)
}

func TestRealProgramsAcceptEveryBundle(t *testing.T) { ignitionnodetest.RunReal(t, suite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite().Port()) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite().Port()) }

func FuzzButane(f *testing.F) { ignitionnodetest.Fuzz(f, suite()) }

func BenchmarkRender(b *testing.B) { ignitionnodetest.Benchmark(b, suite()) }

// selfUpdateOff asks for Zincati's own settings beside the masks.
func selfUpdateOff(node kubeadm.Node) bool {
	for _, name := range []string{
		"zincati.service", "rpm-ostreed-automatic.timer", "rpm-ostreed-automatic.service", "bootc-fetch-apply-updates.timer",
		"bootc-fetch-apply-updates.service", "bootloader-update.service",
	} {
		if !slices.ContainsFunc(node.Units, func(u kubeadm.Unit) bool { return u.Name == name && u.Masked }) {
			return false
		}
	}
	return slices.ContainsFunc(node.Files, func(f kubeadm.File) bool {
		return f.Path == "/etc/zincati/config.d/90-disable.toml" && string(f.Data) == "[updates]\nenabled = false\n"
	})
}
