// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ignitionnodetest holds what every family whose images run Ignition must pass beside the laws of the port: what
// users add with Butane and with system extensions, and what the real Ignition makes of a bundle. It holds no expectation
// about one operating system; a family brings the snippets that would undo its guard rails.
package ignitionnodetest

import (
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignitionnode"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm/kubeadmtest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
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
	// Support is the family's table of portable settings.
	Support settings.Support
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
		Readable: ignitionnode.Readable,
		SelfUpdateOff: func(data []byte) bool {
			node, err := ignitionnode.Read(data)
			return err == nil && s.SelfUpdateOff(node)
		},
		Testdata: "testdata",
		Support:  s.Support,
	}
}

// Node is the family as a kubeadm node.
func (s Suite) Node() kubeadmtest.Suite {
	return kubeadmtest.Suite{Family: s.Family, Select: s.selectFamily, Read: ignitionnode.Read}
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
