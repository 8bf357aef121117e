// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode/ignitionnodetest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() osfamilytest.Suite { return additionsSuite().Port() }

func nodeSuite() kubeadmtest.Suite { return additionsSuite().Node() }

// additionsSuite is the family as one whose images run Ignition.
func additionsSuite() ignitionnodetest.Suite {
	return ignitionnodetest.Suite{
		Family:        generic.New(),
		Variant:       bootstrapv1.IgnitionVariantGeneric,
		Support:       generic.Support(),
		SelfUpdateOff: kubeadmtest.SelfUpdateOff,
		SelfUpdates: []string{
			"systemd: {units: [{name: apt-daily-upgrade.timer, enabled: true}]}",
			"storage: {files: [{path: /etc/systemd/system/zincati.service.d/a.conf, contents: {inline: '[Service]'}}]}",
		},
		ReadOnly: []string{"/usr/share/a", "/bin/a"},
	}
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite()) }

func FuzzSettings(f *testing.F) { osfamilytest.FuzzSettings(f, suite()) }

func TestNode(t *testing.T) { kubeadmtest.Run(t, nodeSuite()) }

func TestAdditions(t *testing.T) { ignitionnodetest.Run(t, additionsSuite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite()) }

func FuzzButane(f *testing.F) { ignitionnodetest.Fuzz(f, additionsSuite()) }

func BenchmarkRender(b *testing.B) { ignitionnodetest.Benchmark(b, additionsSuite()) }
