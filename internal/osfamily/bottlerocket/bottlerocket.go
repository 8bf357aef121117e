// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bottlerocket is the family of Bottlerocket. It writes a worker as the settings that Bottlerocket reads on first
// boot, in TOML. It knows those settings as types, release by release, because Bottlerocket does not come up when it finds
// one that it does not know. It never talks to anything, it knows no platform, and it makes no control plane: upstream
// supports none.
package bottlerocket

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Family implements osfamily.Family.
type Family struct{}

var _ osfamily.Family = Family{}

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyBottlerocket }

// guestInfoKey is where Bottlerocket looks under VMware.
const guestInfoKey = "guestinfo.userdata"

// Channels implements osfamily.Family. Images for vSphere mount the first CD-ROM, whatever its label is, and read the file
// user-data in its root, which is where NoCloud has it. They read VMware's guestinfo as well. They look once, at their first
// boot, and read no network from either.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatBottlerocket {
		return nil
	}
	return []delivery.Channel{
		{Kind: delivery.NoCloud},
		{Kind: delivery.GuestInfo, Key: guestInfoKey, Encoding: delivery.GzipBase64, EncodingKey: guestInfoKey + ".encoding"},
	}
}

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	report := check(in)
	settings := userSettings(&report, in.Config)
	checkPortable(&report, settings, in)
	translateArgs(&report, &settings, in.Config)
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	if err := compose(&settings, in); err != nil {
		report.Errorf("spec", "cannot be written as settings of Bottlerocket: %v", err)
		return osfamily.Bundle{}, report
	}
	data, err := encode(settings)
	if err != nil {
		report.Errorf("spec", "cannot be written as settings of Bottlerocket: %v", err)
		return osfamily.Bundle{}, report
	}
	return osfamily.Bundle{Data: data, Format: ingotv1.BootstrapFormatBottlerocket}, report
}

// release is the release whose settings may be used.
func release(config bootstrapv1.IngotConfigSpec) bootstrapv1.BottlerocketRelease {
	if config.Bottlerocket == nil || config.Bottlerocket.Release == "" {
		return oldestRelease
	}
	return config.Bottlerocket.Release
}
