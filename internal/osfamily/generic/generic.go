// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package generic is the family of every image that runs Ignition 3.x on first boot and carries containerd, kubelet and
// kubeadm in /usr/bin. Ingot OS, the image that this repository builds, is its worked example. The package turns an
// osfamily.Input into an Ignition configuration that writes kubeadm's configuration, the certificates of a control
// plane and the few units that start it all. It never talks to anything, and it knows no platform.
package generic

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/delivery"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// Paths on the node that more than one file of the bundle speaks of.
const (
	kubeadmPath    = "/etc/ingot/kubeadm.yaml"
	patchesPath    = "/etc/ingot/kubeadm-patches"
	pkiPath        = "/etc/kubernetes/pki"
	sentinelFolder = "/run/cluster-api"
	sentinelName   = "bootstrap-success.complete"
)

// fwCfgKey is where Ignition looks under QEMU.
const fwCfgKey = "opt/com.coreos/config"

// Family implements osfamily.Family.
type Family struct{}

var _ osfamily.Family = Family{}

// New returns the family.
func New() Family { return Family{} }

// Name implements osfamily.Family.
func (Family) Name() ingotv1.OSFamily { return ingotv1.OSFamilyGeneric }

// Channels implements osfamily.Family.
func (Family) Channels(format ingotv1.BootstrapFormat) []delivery.Channel {
	if format != ingotv1.BootstrapFormatIgnition {
		return nil
	}
	return []delivery.Channel{{Kind: delivery.FWCfg, Key: fwCfgKey}}
}

// Render implements osfamily.Family. It returns the zero Bundle where the report holds an Error.
func (Family) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	report := check(in)
	if report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	config, err := compose(in)
	if err != nil {
		report.Errorf("spec", "cannot be written as kubeadm configuration: %v", err)
		return osfamily.Bundle{}, report
	}
	data, err := config.Encode()
	if err != nil {
		report.Errorf("spec", "cannot be written as Ignition configuration: %v", err)
		return osfamily.Bundle{}, report
	}
	return osfamily.Bundle{Data: data, Format: ingotv1.BootstrapFormatIgnition}, report
}

// compose puts the configuration together. Its input was checked.
func compose(in osfamily.Input) (ignition.Config, error) {
	kubeadm, err := kubeadmYAML(in)
	if err != nil {
		return ignition.Config{}, err
	}
	config := ignition.Config{
		Files: []ignition.File{
			{Path: "/etc/hostname", Mode: 0o644, Data: []byte(in.Machine.Name + "\n")},
			// The kubelet takes the address that its own host name resolves to for the Node's address. A loopback address
			// makes it ask the interface with the default route instead, which no name server and no virtual address
			// can change.
			{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.1.1 " + in.Machine.Name + "\n"), Append: true},
			{Path: kubeadmPath, Mode: 0o600, Data: kubeadm},
		},
		Units: []ignition.Unit{bootstrapUnit(in.Role)},
	}
	if isControlPlane(in.Role) {
		config.Files = append(config.Files, pkiFiles(*in.Certificates)...)
		config.Files = append(config.Files, patchFiles(in.Config.ControlPlane)...)
	}
	if in.Restore != nil {
		addRestore(&config, *in.Restore)
	}
	if in.Role == bootstrapv1.RoleControlPlane {
		config.Files = append(config.Files, ignition.File{Path: joinPath, Mode: 0o700, Data: []byte(joinScript)})
	}
	if wantsVIP(in) {
		addVIP(&config, in)
	}
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		config.Units = append(config.Units, guardRails()...)
	}
	return config, nil
}

func isControlPlane(role bootstrapv1.Role) bool { return role != bootstrapv1.RoleWorker }

// pkiFiles are the authorities where kubeadm looks for them; it then makes only the certificates below them.
func pkiFiles(certs osfamily.Certificates) []ignition.File {
	var files []ignition.File
	add := func(pair osfamily.KeyPair, public, private string) {
		files = append(files,
			ignition.File{Path: pkiPath + "/" + public, Mode: 0o644, Data: pair.Cert},
			ignition.File{Path: pkiPath + "/" + private, Mode: 0o600, Data: pair.Key})
	}
	add(certs.ClusterCA, "ca.crt", "ca.key")
	add(certs.EtcdCA, "etcd/ca.crt", "etcd/ca.key")
	add(certs.FrontProxyCA, "front-proxy-ca.crt", "front-proxy-ca.key")
	add(certs.ServiceAccount, "sa.pub", "sa.key")
	return files
}
