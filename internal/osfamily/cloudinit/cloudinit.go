// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloudinit is the family of every image that runs cloud-init on first boot and carries containerd, kubelet and
// kubeadm in /usr/bin: Photon, images derived by bootc, any distribution turned read-only. The package writes the node of
// package kubeadm as a cloud-config. It never talks to anything, and it knows no platform.
package cloudinit

import (
	"fmt"
	"reflect"

	"sigs.k8s.io/yaml"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/cloudconfig"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Family implements osfamily.Family.
type Family struct{}

// guestInfoKey is where cloud-init looks for its user data under vSphere.
const guestInfoKey = "guestinfo.userdata"

var (
	_ osfamily.Family   = Family{}
	_ osfamily.Declarer = Family{}
	_ osfamily.Reader   = Family{}
)

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyCloudInit }

// Channels implements osfamily.Family. NoCloud comes first: it says the identity of the machine and its network in
// cloud-init's own words.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatCloudConfig {
		return nil
	}
	return []delivery.Channel{
		{Kind: delivery.NoCloud},
		{Kind: delivery.ConfigDrive},
		{
			Kind: delivery.GuestInfo, Key: guestInfoKey, Encoding: delivery.GzipBase64, EncodingKey: guestInfoKey + ".encoding",
			MetadataKey: "guestinfo.metadata",
		},
	}
}

// Declarations implements osfamily.Declarer.
func (Family) Declarations(in osfamily.Input) []osfamily.Declaration { return kubeadm.Declarations(in) }

// Render implements osfamily.Family.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	return kubeadm.Render(in, check(in), ingotv1.BootstrapFormatCloudConfig, func(node kubeadm.Node) ([]byte, error) {
		return configuration(node, in.Config).Encode()
	})
}

// Readable implements osfamily.Reader.
func (Family) Readable(bundle osfamily.Bundle) (string, error) {
	config, err := cloudconfig.Decode(bundle.Data)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("\n==> cloud-init keeps packages=%t reads once=%t\n", config.KeepPackages, config.ReadOnce)
	if !reflect.ValueOf(config.Additions).IsZero() {
		added, err := yaml.Marshal(config.Additions)
		if err != nil {
			return "", err
		}
		text += "\n==> what the user adds\n" + string(added)
	}
	return text + kubeadm.Readable(node(config)), nil
}

// Read reads the node back from a bundle.
func Read(data []byte) (kubeadm.Node, error) {
	config, err := cloudconfig.Decode(data)
	if err != nil {
		return kubeadm.Node{}, err
	}
	return node(config), nil
}

func node(config cloudconfig.Config) kubeadm.Node {
	node := kubeadm.Node{Hostname: config.Hostname}
	for _, f := range config.Files {
		node.Files = append(node.Files, kubeadm.File(f))
	}
	for _, u := range config.Units {
		node.Units = append(node.Units, kubeadm.Unit(u))
	}
	return node
}

// Support is what the family makes of the portable settings.
func Support() settings.Support {
	table := kubeadm.Support()
	table.Refuse("cloud-init runs when the root is mounted already, and encrypts nothing: build an image whose root is encrypted, or let the platform encrypt its storage",
		settings.DiskEncryption, settings.DiskEncryptionNodeID)
	return table
}

// check refuses to restore. cloud-init can fetch files, but it compares no digest, and goes on when it cannot fetch: the
// machine would make an empty cluster, or one of whatever the address served.
func check(in osfamily.Input) osfamily.Report {
	report := kubeadm.Check(in, ingotv1.OSFamilyCloudInit, Support())
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		var masked []string
		for _, unit := range guardRails() {
			masked = append(masked, unit.Name)
		}
		kubeadm.CheckMasked(&report, in.Config, masked)
	}
	_, problems := additions(in.Config)
	for _, problem := range problems {
		report.Errorf("spec.cloudInit.userData", "%s", problem)
	}
	if in.Restore != nil {
		report.Errorf("spec.restoreFrom", "an image that runs cloud-init cannot be restored, because cloud-init compares no digest of what it fetches: "+
			"remove it, or give the control plane an image that runs Ignition")
	}
	return report
}

// additions are what the user adds, or what is wrong with it.
func additions(spec bootstrapv1.IngotConfigSpec) (cloudconfig.Additions, []string) {
	if spec.CloudInit == nil || spec.CloudInit.UserData == "" {
		return cloudconfig.Additions{}, nil
	}
	return cloudconfig.ReadAdditions(spec.CloudInit.UserData)
}

// configuration writes the node in cloud-init's words. It has nothing to fetch. What carries it is taken away once the
// node has joined.
func configuration(node kubeadm.Node, spec bootstrapv1.IngotConfigSpec) cloudconfig.Config {
	config := cloudconfig.Config{
		Hostname:     node.Hostname,
		KeepPackages: spec.SelfUpdate != bootstrapv1.SelfUpdateAllowed,
		ReadOnce:     true,
	}
	config.Additions, _ = additions(spec)
	for _, f := range node.Files {
		config.Files = append(config.Files, cloudconfig.File(f))
	}
	for _, u := range node.Units {
		config.Units = append(config.Units, cloudconfig.Unit(u))
	}
	if config.KeepPackages {
		config.Units = append(config.Units, guardRails()...)
	}
	return config
}

// guardRails are those that the node does not have, for images that only this family knows. What Generic's images got
// cannot change any more.
func guardRails() []cloudconfig.Unit {
	return []cloudconfig.Unit{
		{Name: "bootc-fetch-apply-updates.service", Masked: true},
		{Name: "tdnf-automatic-install.timer", Masked: true},
	}
}
