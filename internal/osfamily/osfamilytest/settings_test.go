// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamilytest_test

import (
	"slices"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// forgetful is a family that does not know of some settings.
type forgetful struct{ osfamily.Family }

func (f forgetful) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	in.Config = *in.Config.DeepCopy()
	in.Config.Sysctls = nil
	for i := range in.Config.Files {
		in.Config.Files[i].Append = nil
	}
	return f.Family.Render(in)
}

// The suite must find a family that drops what its users ask for.
func TestSuiteFindsWhatAFamilyDrops(t *testing.T) {
	suite := osfamilytest.Suite{
		Family: forgetful{generic.New()},
		Select: func(c *bootstrapv1.IngotConfigSpec) { c.Ignition.Variant = bootstrapv1.IgnitionVariantGeneric },
	}
	if want, got := []settings.Setting{settings.Sysctls, settings.FileAppend}, suite.Dropped(); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
