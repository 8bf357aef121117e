// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadm

import (
	"fmt"
	"slices"

	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Support is what files and units of a node can do. A family takes out what its format or its images cannot, and puts in what
// is done before there are files.
func Support() settings.Support {
	table := settings.RendersAll()
	delete(table, settings.DiskEncryption)
	delete(table, settings.DiskEncryptionNodeID)
	return table
}

// checkTaken refuses files and units of the user that would replace those of the node, or be replaced by them.
func checkTaken(report *osfamily.Report, node Node, config bootstrapv1.IngotConfigSpec) {
	taken := []string{"/etc/hostname"}
	for _, f := range node.Files {
		taken = append(taken, f.Path)
	}
	for _, f := range node.Fetch.Files {
		taken = append(taken, f.Path)
	}
	for i, file := range config.Files {
		for _, path := range taken {
			if settings.Below(path, file.Path) || settings.Below(file.Path, path) {
				report.Errorf(fmt.Sprintf("spec.files[%d].path", i), "Ingot writes %s itself: remove the file", path)
			}
		}
	}
	var masked []string
	for _, u := range node.Units {
		if u.Masked {
			masked = append(masked, u.Name)
		}
	}
	CheckMasked(report, config, masked)
	for i, own := range config.Units {
		at := slices.IndexFunc(node.Units, func(u Unit) bool { return u.Name == own.Name && !u.Masked })
		if own.Contents == "" {
			continue
		}
		if at >= 0 || own.Name == "containerd.service" || own.Name == "kubelet.service" {
			report.Errorf(fmt.Sprintf("spec.units[%d].contents", i), "%s is the image's own unit, and Ingot relies on it: extend it with dropins", own.Name)
		}
	}
}

// CheckMasked refuses units that are masked so that the image does not change itself.
func CheckMasked(report *osfamily.Report, config bootstrapv1.IngotConfigSpec, masked []string) {
	for i, own := range config.Units {
		if slices.Contains(masked, own.Name) {
			report.Errorf(fmt.Sprintf("spec.units[%d].name", i), "%s is masked, because it changes the operating system of a node: "+
				"remove it, or set selfUpdate to Allowed", own.Name)
		}
	}
}

// addOwn adds the files and units of the user, which were checked against those that are there.
func addOwn(node *Node, in osfamily.Input) {
	for _, file := range in.Config.Files {
		content, _ := settings.Content(file, in.Secrets)
		node.Files = append(node.Files, File{Path: file.Path, Mode: settings.Mode(file), Data: content, Append: ptr.Deref(file.Append, false)})
	}
	for _, own := range in.Config.Units {
		unit := Unit{Name: own.Name, Contents: own.Contents, Enabled: ptr.Deref(own.Enabled, false)}
		for _, dropin := range own.Dropins {
			if unit.Dropins == nil {
				unit.Dropins = map[string]string{}
			}
			unit.Dropins[dropin.Name] = dropin.Contents
		}
		node.Units = merged(node.Units, unit)
	}
}

// merged adds a unit, or what it says to the one that is there.
func merged(units []Unit, unit Unit) []Unit {
	at := slices.IndexFunc(units, func(u Unit) bool { return u.Name == unit.Name })
	if at < 0 {
		return append(units, unit)
	}
	units[at].Enabled = units[at].Enabled || unit.Enabled
	for name, contents := range unit.Dropins {
		if units[at].Dropins == nil {
			units[at].Dropins = map[string]string{}
		}
		units[at].Dropins[name] = contents
	}
	return units
}
