// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ignitionnode writes the node of package kubeadm as an Ignition configuration, with what a kind of image needs
// beside it and with what the user adds. Families whose images run Ignition share it; each says what its images are like.
// The package holds the law of additions: what the user may not write, and why. It names no operating system, and it never
// talks to anything.
package ignitionnode

import (
	"fmt"
	"slices"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/kubeadm"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Image is what a family knows of its images.
type Image struct {
	// Variant chooses the family. An empty variant means Generic.
	Variant bootstrapv1.IgnitionVariant
	// Dialect is the variant of Butane that its users write.
	Dialect ignition.Dialect
	// GuardRails keep the operating system from changing itself, beside those that every node has.
	GuardRails GuardRails
	// Forwards has the node load the kernel modules of containers and forward packets. It is for images that do not by
	// themselves.
	Forwards bool
	// VolumePlugins is a folder that can be written, for images whose /usr holds no such folder. Empty means kubeadm's own.
	VolumePlugins string
	// WritableUsr is the one path below /usr that can be written. Empty means none.
	WritableUsr string
	// Sysexts is where system extensions lie. The zero value means that the images take none.
	Sysexts SysextFolders
	// EncryptedRoot is the root as it is where it is encrypted. The zero value means that it cannot be.
	EncryptedRoot ignition.EncryptedVolume
}

// Support is what the images make of the portable settings.
func (i Image) Support() settings.Support {
	table := kubeadm.Support()
	if i.EncryptedRoot == (ignition.EncryptedVolume{}) {
		const why = "nobody knows where the root of such an image lies and whether its initramfs has Clevis: use an image of Flatcar or Fedora CoreOS, or let the platform encrypt its storage"
		table.Refuse(why, settings.DiskEncryption, settings.DiskEncryptionNodeID)
		return table
	}
	table[settings.DiskEncryption] = settings.Rendered()
	table[settings.DiskEncryptionNodeID] = settings.Refused("Clevis computes no key from the machine's UUID: use TPM2")
	return table
}

// GuardRails keep an operating system from changing itself.
type GuardRails struct {
	// Files are its own settings.
	Files []ignition.File
	// Masks are units that exist on these images only.
	Masks []string
	// Paths are patterns of paths where further settings could turn its updates on again.
	Paths []string
}

// Render implements osfamily.Family.Render.
func Render(in osfamily.Input, image Image) (osfamily.Bundle, osfamily.Report) {
	report := kubeadm.Check(in, ingotv1.OSFamily(image.Variant), image.Support())
	checkGuardRails(&report, in.Config, image.GuardRails)
	checkVariant(&report, in.Config.Ignition, image)
	checkSysexts(&report, in.Config.Ignition.Sysexts, image)
	additions := translate(&report, in.Config.Ignition.Butane, image.Dialect)

	var clashes osfamily.Report
	bundle, report := kubeadm.Render(image.settle(in), report, ingotv1.BootstrapFormatIgnition, func(node kubeadm.Node) ([]byte, error) {
		config := encode(node)
		image.complete(&config, in)
		if clashes = check(additions, claims(config, image, in.Config)); len(clashes) > 0 {
			return nil, nil
		}
		config.Additions = additions
		return config.Encode()
	})
	if len(clashes) > 0 {
		return osfamily.Bundle{}, append(report, clashes...)
	}
	return bundle, report
}

func checkVariant(report *osfamily.Report, config bootstrapv1.IgnitionConfig, image Image) {
	variant := config.Variant
	if variant == "" {
		variant = bootstrapv1.IgnitionVariantGeneric
	}
	if variant != image.Variant {
		report.Errorf("spec.ignition.variant", "%q is not rendered by the %s family", config.Variant, image.Variant)
	}
}

// checkGuardRails refuses files and units of the user that would undo what keeps the operating system from changing itself.
func checkGuardRails(report *osfamily.Report, config bootstrapv1.IngotConfigSpec, rails GuardRails) {
	if config.SelfUpdate == bootstrapv1.SelfUpdateAllowed {
		return
	}
	kubeadm.CheckMasked(report, config, rails.Masks)
	paths := slices.Clone(rails.Paths)
	for _, f := range rails.Files {
		paths = append(paths, f.Path)
	}
	for i, file := range config.Files {
		for _, path := range paths {
			if at := compare(file.Path, path); at != elsewhere {
				report.Errorf(fmt.Sprintf("spec.files[%d].path", i), "%s keeps the operating system from changing itself: remove the file, or set selfUpdate to Allowed", path)
			}
		}
	}
}

// settle chooses what kubeadm would choose wrongly for these images, where the user did not.
func (i Image) settle(in osfamily.Input) osfamily.Input {
	if i.VolumePlugins == "" {
		return in
	}
	in.Config.Node.KubeletExtraArgs = withArg(in.Config.Node.KubeletExtraArgs, "volume-plugin-dir", i.VolumePlugins)
	manager := &in.Config.ControlPlane.ControllerManager
	manager.ExtraArgs = withArg(manager.ExtraArgs, "flex-volume-plugin-dir", i.VolumePlugins)
	return in
}

// withArg leaves args as they are, and returns a longer list where the flag is missing.
func withArg(args []bootstrapv1.Arg, name, value string) []bootstrapv1.Arg {
	if slices.ContainsFunc(args, func(a bootstrapv1.Arg) bool { return a.Name == name }) {
		return args
	}
	return append(slices.Clone(args), bootstrapv1.Arg{Name: name, Value: value})
}

// encode writes the node in Ignition's words. Ignition fetches before the root is up, so before any unit runs.
func encode(node kubeadm.Node) ignition.Config {
	config := ignition.Config{
		Files:        []ignition.File{{Path: "/etc/hostname", Mode: 0o644, Data: []byte(node.Hostname + "\n")}},
		FetchTimeout: node.Fetch.Patience,
	}
	for _, f := range node.Files {
		config.Files = append(config.Files, ignition.File{Path: f.Path, Mode: f.Mode, Data: f.Data, Append: f.Append})
	}
	for _, f := range node.Fetch.Files {
		config.Files = append(config.Files, ignition.File{Path: f.Path, Mode: f.Mode, Remote: ignition.Remote{URL: f.URL, SHA512: f.SHA512}})
	}
	for _, f := range node.Fetch.Folders {
		config.Folders = append(config.Folders, ignition.Folder(f))
	}
	for _, u := range node.Units {
		config.Units = append(config.Units, ignition.Unit(u))
	}
	if node.Fetch.Authority != "" {
		config.Authorities = []string{node.Fetch.Authority}
	}
	return config
}

// complete adds what the images need beside the node.
func (i Image) complete(config *ignition.Config, in osfamily.Input) {
	if in.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed {
		config.Files = append(config.Files, i.GuardRails.Files...)
		for _, name := range i.GuardRails.Masks {
			config.Units = append(config.Units, ignition.Unit{Name: name, Masked: true})
		}
	}
	if i.Forwards {
		config.Files = append(config.Files, forwarding(in.Cluster)...)
	}
	if in.Config.DiskEncryption.Key != "" {
		config.Encrypted = append(config.Encrypted, i.EncryptedRoot)
	}
	i.Sysexts.add(config, in.Config.Ignition.Sysexts)
}
