// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Version is the version of Ingot's providers in a local repository.
const Version = "v0.1.0"

// metadataFile maps release series to contracts of Cluster API, for clusterctl.
const metadataFile = "metadata.yaml"

// kustomizations are the release assets that kustomize makes: file name -> folder in the checkout. clusterctl finds a
// ClusterClass by its name in the name of the file, and adds it to what it generates of a Cluster of the class.
func kustomizations() map[string]string {
	assets := map[string]string{
		"infrastructure-components.yaml":       "config/infrastructure",
		"bootstrap-components.yaml":            "config/bootstrap",
		"control-plane-components.yaml":        "config/control-plane",
		"cluster-template.yaml":                "templates/libvirt",
		"cluster-template-emulated.yaml":       "templates/emulated",
		"cluster-template-flatcar.yaml":        "templates/flatcar",
		"cluster-template-fedora-coreos.yaml":  "templates/fedora-coreos",
		"cluster-template-cloud-init.yaml":     "templates/cloud-init",
		"cluster-template-kairos.yaml":         "templates/kairos",
		"cluster-template-kairos-workers.yaml": "templates/kairos-workers",
		"cluster-template-talos.yaml":          "templates/talos",

		"cluster-template-vsphere.yaml":            "templates/vsphere",
		"cluster-template-vsphere-flatcar.yaml":    "templates/vsphere-flatcar",
		"cluster-template-vsphere-cloud-init.yaml": "templates/vsphere-cloud-init",
	}
	for _, class := range []string{"flatcar", "fedora-coreos", "cloud-init", "kairos", "talos"} {
		assets["clusterclass-ingot-"+class+".yaml"] = "templates/classes/" + class
		assets["cluster-template-topology-"+class+".yaml"] = "templates/topology/" + class
	}
	return assets
}

// WriteAssets writes the release assets of the checkout at repo to the folder dir, which it creates.
func WriteAssets(repo, dir string) error {
	assets, err := renderAssets(repo)
	if err != nil {
		return err
	}
	return writeFiles(dir, assets)
}

// renderAssets makes the release assets of the checkout at repo: file name -> content.
func renderAssets(repo string) (map[string][]byte, error) {
	if err := checkAddons(repo); err != nil {
		return nil, err
	}
	metadata, err := os.ReadFile(filepath.Join(repo, metadataFile))
	if err != nil {
		return nil, fmt.Errorf("reading clusterctl metadata: %w", err)
	}
	assets := map[string][]byte{metadataFile: metadata}
	for name, folder := range kustomizations() {
		if assets[name], err = render(filepath.Join(repo, folder)); err != nil {
			return nil, fmt.Errorf("rendering %s from %s: %w", name, folder, err)
		}
	}
	return assets, nil
}

// render runs kustomize over one folder. Load restrictions are off because a role's CRDs and a template's addons lie
// beside their folder and are shared.
func render(folder string) ([]byte, error) {
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = kustomize.LoadRestrictionsNone
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}

// checkAddons refuses addons with a dollar sign: they become part of a cluster template, where clusterctl would take it
// for the start of a variable.
func checkAddons(repo string) error {
	addons, err := filepath.Glob(filepath.Join(repo, "templates", "addons", "*.yaml"))
	if err != nil {
		return err
	}
	for _, addon := range addons {
		content, err := os.ReadFile(addon)
		if err != nil {
			return fmt.Errorf("reading addon: %w", err)
		}
		if bytes.ContainsRune(content, '$') {
			return fmt.Errorf("addon %s contains a dollar sign, which clusterctl would expand: rewrite it without", addon)
		}
	}
	return nil
}

// writeFiles writes files to the folder dir, which it creates, in the order of their names.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}
