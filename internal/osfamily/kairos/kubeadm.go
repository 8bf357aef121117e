// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	"slices"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
)

const (
	bootstrapUnit = "ingot-bootstrap.service"
	// bootstrapDropin has kubeadm run where Kairos is done with the machine, and where the machine is what was described.
	bootstrapDropin = `[Unit]
After=cos-setup-boot.service cos-setup-network.service

[Service]
ExecStartPre=/bin/sh ` + provePath + `
`
)

// kairosRelease is where an image of Kairos says its own version; os-release has that of the distribution that it was made of.
func kairosRelease() kubeadm.ReleaseFile {
	return kubeadm.ReleaseFile{Path: "/etc/kairos-release", Fields: []string{"KAIROS_VERSION", "KAIROS_FLAVOR"}}
}

// renderKubeadm writes the node of package kubeadm in the words of yip.
func renderKubeadm(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	report := checkKubeadm(in)
	user := userConfig(&report, in.Config)
	ours := map[string]bool{}
	bundle, report := kubeadm.Render(in, report, ingotv1.BootstrapFormatCloudConfig, func(node kubeadm.Node) ([]byte, error) {
		complete(&node, in.Config)
		for _, f := range slices.Concat(node.Files, filesOfUnits(node.Units)) {
			ours[f.Path] = true
		}
		return encode(composeNode(user, node, in.Role))
	})
	if checkOverwritten(&report, user, ours); report.Err() != nil {
		return osfamily.Bundle{}, report
	}
	return bundle, report
}

// checkKubeadm finds what is wrong with a node of kubeadm, and what Kairos cannot do with one.
func checkKubeadm(in osfamily.Input) osfamily.Report {
	report := kubeadm.Check(in, ingotv1.OSFamilyKairos, Support(bootstrapv1.KairosDistributionKubeadm))
	checkPaths(&report, in.Config)
	if in.Restore != nil {
		report.Errorf("spec.restoreFrom", "an image of Kairos cannot be restored, because Kairos compares no digest of what it fetches: "+
			"remove it, or give the control plane an image that runs Ignition")
	}
	return report
}

// complete adds what only images of Kairos need. Those that are made for Kairos' own plug-in leave containerd and the kubelet
// disabled.
func complete(node *kubeadm.Node, config bootstrapv1.IngotConfigSpec) {
	for i, f := range node.Files {
		if f.Path == kubeadm.IdentityPath {
			node.Files[i].Data = []byte(kubeadm.IdentityScript(kairosRelease()))
		}
	}
	for _, name := range []string{"containerd.service", "kubelet.service"} {
		unitOf(node, name).Enabled = true
	}
	unitOf(node, bootstrapUnit).Dropins = map[string]string{"10-ingot-kairos.conf": bootstrapDropin}
	if config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		for _, name := range reconcileUnits() {
			unitOf(node, name).Dropins = map[string]string{"ingot.conf": reconcileDropin}
		}
	}
}

// unitOf is a unit of the node, which gets it if it has none of that name.
func unitOf(node *kubeadm.Node, name string) *kubeadm.Unit {
	at := slices.IndexFunc(node.Units, func(u kubeadm.Unit) bool { return u.Name == name })
	if at < 0 {
		node.Units = append(node.Units, kubeadm.Unit{Name: name})
		at = len(node.Units) - 1
	}
	return &node.Units[at]
}
