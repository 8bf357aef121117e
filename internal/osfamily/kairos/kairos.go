// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kairos is the family of Kairos and of Hadron, the distribution that its project builds. It writes the node of package
// kubeadm, or a worker of k3s or k0s, as Kairos' own superset of cloud-config: what the image carries decides. A worker
// joins with the token that every machine is lent: k3s and k0s know bootstrap tokens as kubeadm does. The package never talks
// to anything, and it makes no control plane of k3s or k0s: nobody here drives one.
package kairos

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

// Family implements osfamily.Family.
type Family struct{}

var (
	_ osfamily.Family   = Family{}
	_ osfamily.Declarer = Family{}
)

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyKairos }

// guestInfoKey is where yip looks under VMware.
const guestInfoKey = "guestinfo.userdata"

// Channels implements osfamily.Family. Kairos copies what it finds on the volume, or in the property, once, and never asks
// again. It reads no network from either.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatCloudConfig {
		return nil
	}
	return []delivery.Channel{
		{Kind: delivery.NoCloud},
		{Kind: delivery.GuestInfo, Key: guestInfoKey, Encoding: delivery.GzipBase64, EncodingKey: guestInfoKey + ".encoding"},
	}
}

// Declarations implements osfamily.Declarer. Only kubeadm reads what a cluster says of its control plane.
func (Family) Declarations(in osfamily.Input) []osfamily.Declaration {
	if !isKubeadm(in) {
		return nil
	}
	return kubeadm.Declarations(in)
}

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	if isKubeadm(in) {
		return renderKubeadm(in)
	}
	report := check(in)
	config := userConfig(&report, in.Config)
	checkOverwritten(&report, config, settingPaths(in))
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	data, err := render(config, in)
	if err != nil {
		report.Errorf("spec", "cannot be written as cloud-config of Kairos: %v", err)
		return osfamily.Bundle{}, report
	}
	return osfamily.Bundle{Data: data, Format: ingotv1.BootstrapFormatCloudConfig}, report
}

func render(config document, in osfamily.Input) ([]byte, error) {
	if err := compose(&config, in); err != nil {
		return nil, err
	}
	return encode(config)
}

// isKubeadm is whether kubeadm makes the node, so that Ingot can run its control plane.
func isKubeadm(in osfamily.Input) bool {
	return in.Config.Kairos.Distribution == bootstrapv1.KairosDistributionKubeadm
}

// isK3s is which of the two distributions the image carries that make workers only. Its input was checked.
func isK3s(in osfamily.Input) bool {
	return in.Config.Kairos.Distribution == bootstrapv1.KairosDistributionK3s
}
