// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cloudinit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudinit"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:        cloudinit.New(),
		Format:        ingotv1.BootstrapFormatCloudConfig,
		Select:        selectCloudInit,
		Validate:      cloudconfig.Validate,
		Readable:      readable,
		SelfUpdateOff: selfUpdateOff,
		Refuses:       refused(),
		Testdata:      "testdata",
		Support:       cloudinit.Support(),
	}
}

func nodeSuite() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: cloudinit.New(), Select: selectCloudInit, Read: cloudinit.Read, Refuses: refused()}
}

func selectCloudInit(spec *bootstrapv1.IngotConfigSpec) {
	spec.CloudInit = &bootstrapv1.CloudInitConfig{}
}

// refused are the cases that fetch something.
func refused() map[string]string {
	return map[string]string{"init-restore": "spec.restoreFrom", "init-restore-own-authority": "spec.restoreFrom"}
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite()) }

func TestNode(t *testing.T) { kubeadmtest.Run(t, nodeSuite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite()) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite()) }

// This family masks more than others. Who opts out of the guard rails may have the unit.
func TestOwnGuardRailsHold(t *testing.T) {
	in := nodeSuite().Input(t, "worker")
	in.Config.Units = []bootstrapv1.Unit{{Name: "tdnf-automatic-install.timer", Enabled: new(true)}}
	_, report := cloudinit.New().Render(in)
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "spec.units[0].name: ") {
		t.Errorf("got %v, want the unit refused", err)
	}
	in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
	if _, report := cloudinit.New().Render(in); report.Err() != nil {
		t.Error(report.Err())
	}
}

func BenchmarkRender(b *testing.B) { osfamilytest.Benchmark(b, suite()) }

// The programs of the node read what cloud-init would write for them.
func TestRealKubeadmAcceptsEveryConfiguration(t *testing.T) {
	programs := kubeadmtest.RealPrograms(t, "kubeadm")
	nodeSuite().Each(t, func(t *testing.T, in osfamily.Input, _ []byte) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "kubeadm.yaml")
		if err := os.WriteFile(path, fileOf(t, nodeSuite().Node(t, in), "/etc/ingot/kubeadm.yaml").Data, 0o600); err != nil {
			t.Fatal(err)
		}
		programs.Run(t, "kubeadm", "config", "validate", "--config", path)
	})
}

func fileOf(t *testing.T, node kubeadm.Node, path string) kubeadm.File {
	t.Helper()
	for _, file := range node.Files {
		if file.Path == path {
			return file
		}
	}
	t.Fatalf("no file %s", path)
	return kubeadm.File{}
}

func readable(data []byte) (string, error) {
	return cloudinit.New().Readable(osfamily.Bundle{Data: data})
}

// selfUpdateOff asks for cloud-init itself, and for what the guard rails of the node leave out.
func selfUpdateOff(data []byte) bool {
	config, err := cloudconfig.Decode(data)
	if err != nil || !config.KeepPackages {
		return false
	}
	node, err := cloudinit.Read(data)
	return err == nil && kubeadmtest.SelfUpdateOff(node)
}
