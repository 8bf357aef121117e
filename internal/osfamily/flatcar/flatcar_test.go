// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package flatcar_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/coreos/butane/config/common"
	newest "github.com/coreos/butane/config/flatcar/v1_2_exp"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/flatcar"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() ignitionnodetest.Suite {
	return ignitionnodetest.Suite{
		Family:        flatcar.New(),
		Variant:       bootstrapv1.IgnitionVariantFlatcar,
		Support:       flatcar.Support(),
		SelfUpdateOff: selfUpdateOff,
		SelfUpdates: []string{
			"systemd: {units: [{name: update-engine.service, enabled: true}, {name: locksmithd.service, enabled: true}]}",
			"storage: {files: [{path: /etc/flatcar/update.conf, contents: {inline: 'GROUP=stable'}}]}",
			"systemd: {units: [{name: update-engine-stub.timer, enabled: true}]}",
		},
		ReadOnly:     []string{"/usr/local/bin/a", "/sbin/a"},
		SysextFolder: "/opt/extensions",
	}
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite().Port()) }

func TestNode(t *testing.T) { kubeadmtest.Run(t, suite().Node()) }

func TestAdditions(t *testing.T) { ignitionnodetest.Run(t, suite()) }

// The words are those of Flatcar's guide to encrypted disks. Butane knows Clevis on Flatcar from the version on that comes
// after the one that snippets are written in.
func TestEncryptedRootIsThatOfFlatcarsGuide(t *testing.T) {
	const config = `variant: flatcar
version: 1.2.0-experimental
storage:
  luks: [{name: rootencrypted, wipe_volume: true, device: /dev/disk/by-partlabel/ROOT, clevis: {tpm2: true}}]
  filesystems: [{device: /dev/mapper/rootencrypted, format: ext4, label: ROOT, wipe_filesystem: true}]
`
	data, report, err := newest.ToIgn3_7Bytes([]byte(config), common.TranslateBytesOptions{})
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

// selfUpdateOff asks for Flatcar's own settings beside the masks.
func selfUpdateOff(node kubeadm.Node) bool {
	for _, name := range []string{"update-engine.service", "update-engine-stub.timer", "locksmithd.service", "systemd-sysupdate.timer"} {
		if !slices.ContainsFunc(node.Units, func(u kubeadm.Unit) bool { return u.Name == name && u.Masked }) {
			return false
		}
	}
	return slices.ContainsFunc(node.Files, func(f kubeadm.File) bool {
		return f.Path == "/etc/flatcar/update.conf" && string(f.Data) == "SERVER=disabled\nREBOOT_STRATEGY=off\n"
	})
}

// What keeps the operating system from changing itself is not undone by a file or a unit, unless the user said that it may.
func TestGuardRailsHold(t *testing.T) {
	for path, change := range map[string]func(*bootstrapv1.IngotConfigSpec){
		"spec.files[0].path": func(c *bootstrapv1.IngotConfigSpec) {
			c.Files = []bootstrapv1.File{{Path: "/etc/flatcar/update.conf", Content: new("SERVER=public\n")}}
		},
		"spec.units[0].name": func(c *bootstrapv1.IngotConfigSpec) {
			c.Units = []bootstrapv1.Unit{{Name: "update-engine-stub.timer", Enabled: new(true)}}
		},
	} {
		in := suite().Node().Input(t, "worker")
		change(&in.Config)
		_, report := flatcar.New().Render(in)
		if err := report.Err(); err == nil || !strings.Contains(err.Error(), path+": ") {
			t.Errorf("got %v, want %s refused", err, path)
		}
		in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		if _, report := flatcar.New().Render(in); report.Err() != nil {
			t.Error(report.Err())
		}
	}
}
