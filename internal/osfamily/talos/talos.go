// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package talos is the family of Talos Linux. It writes a node as the documents that Talos reads on first boot, release by
// release, with Talos' own machinery: it generates them, applies the user's patches, reads the result again and has the
// machinery judge it. It is the only place that knows the machinery. It never calls Talos' API, makes no secret, and knows no
// platform.
package talos

import (
	"fmt"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Family implements osfamily.Family.
type Family struct{}

var (
	_ osfamily.Family   = Family{}
	_ osfamily.Releaser = Family{}
)

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyTalos }

// Releases implements osfamily.Releaser.
func (Family) Releases() []string {
	var releases []string
	for minor := newestMinor; minor >= oldestMinor; minor-- {
		releases = append(releases, fmt.Sprintf("1.%d.0", minor))
	}
	return releases
}

// Channels implements osfamily.Family. An image of the platform nocloud looks for a file system that is called cidata or
// CIDATA and takes its user-data; one of the platform vmware reads this key of guestinfo, as plain base64. There it knows gateway4 and gateway6 and no
// routes, and no metadata without a network (as of Talos 1.12: platform/vmware in its source).
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatTalos {
		return nil
	}
	return []delivery.Channel{
		{Kind: delivery.NoCloud},
		{Kind: delivery.GuestInfo, Key: "guestinfo.talos.config", Encoding: delivery.Base64, MetadataKey: "guestinfo.metadata", OnlyGateways: true},
	}
}

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	var report osfamily.Report
	release := releaseOf(&report, in)
	check(&report, in, release)
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	documents, err := compose(in, release)
	if err != nil {
		report.Errorf("spec", "cannot be written as a machine configuration of Talos: %s", hide(in, err))
		return osfamily.Bundle{}, report
	}
	data := applyPatches(&report, in, release, documents)
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	return osfamily.Bundle{Data: data, Format: ingotv1.BootstrapFormatTalos}, report
}

// isControlPlane is whether the node holds the cluster's secrets.
func isControlPlane(role bootstrapv1.Role) bool {
	return role == bootstrapv1.RoleInit || role == bootstrapv1.RoleControlPlane
}
