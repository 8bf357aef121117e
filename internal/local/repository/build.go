// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client/config"
	"sigs.k8s.io/yaml"
)

// Core is Cluster API's own release.
type Core struct {
	// Version is the release, with a leading v.
	Version string
	// Components is the content of core-components.yaml.
	Components []byte
	// Metadata is the content of metadata.yaml.
	Metadata []byte
}

// Options say what a local repository is made of.
type Options struct {
	// Repo is the root of the checkout.
	Repo string
	// Dir is the folder of the repository. It is created; files of an earlier Build are replaced.
	Dir string
	// Core is the Cluster API release to put beside Ingot.
	Core Core
}

// Build writes a clusterctl repository and returns the absolute path of the configuration file that makes clusterctl
// use it. It is safe to call again over an earlier or half-written repository.
func Build(options Options) (string, error) {
	if options.Core.Version == "" || len(options.Core.Components) == 0 || len(options.Core.Metadata) == 0 {
		return "", errors.New("a local repository needs Cluster API's version, components and metadata")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return "", err
	}
	assets, err := renderAssets(options.Repo)
	if err != nil {
		return "", err
	}
	settings, err := yaml.Marshal(newSettings(dir, options.Core.Version))
	if err != nil {
		return "", fmt.Errorf("encoding clusterctl's configuration: %w", err)
	}
	for folder, files := range layout(options.Core, assets) {
		if err := writeFiles(filepath.Join(dir, folder), files); err != nil {
			return "", fmt.Errorf("writing local clusterctl repository: %w", err)
		}
	}
	if err := writeFiles(dir, map[string][]byte{configFile: settings}); err != nil {
		return "", fmt.Errorf("writing clusterctl's configuration: %w", err)
	}
	return filepath.Join(dir, configFile), nil
}

const configFile = "clusterctl.yaml"

// layout assigns files to the folders <provider>/<version> of a repository.
func layout(core Core, assets map[string][]byte) map[string]map[string][]byte {
	folders := map[string]map[string][]byte{
		filepath.Join("cluster-api", core.Version): {
			metadataFile: core.Metadata, "core-components.yaml": core.Components,
		},
	}
	for _, role := range roles() {
		folder := map[string][]byte{metadataFile: assets[metadataFile], role.components(): assets[role.components()]}
		folders[filepath.Join(role.label(), Version)] = folder
		if role.kind != clusterctlv1.InfrastructureProviderType {
			continue
		}
		for name, content := range assets { // clusterctl looks for templates and classes beside the infrastructure components
			if strings.HasPrefix(name, "cluster-template") || strings.HasPrefix(name, "clusterclass-") {
				folder[name] = content
			}
		}
	}
	return folders
}

// role is one of the three providers that Ingot is.
type role struct {
	name string
	kind clusterctlv1.ProviderType
}

func (r role) label() string      { return r.name + "-" + providerName }
func (r role) components() string { return r.name + "-components.yaml" }

// WebhookServices are the Services that Ingot's webhook configurations name. Where the managers run as processes, the API
// server must be told so, by managementplane.RedirectWebhooks.
func WebhookServices() []types.NamespacedName {
	var services []types.NamespacedName
	for _, name := range []string{"bootstrap", "control-plane"} {
		prefix := providerName + "-" + name
		services = append(services, types.NamespacedName{Namespace: prefix + "-system", Name: prefix + "-webhook-service"})
	}
	return services
}

func roles() []role {
	return []role{
		{name: "infrastructure", kind: clusterctlv1.InfrastructureProviderType},
		{name: "bootstrap", kind: clusterctlv1.BootstrapProviderType},
		{name: "control-plane", kind: clusterctlv1.ControlPlaneProviderType},
	}
}

// settings is clusterctl's configuration file.
type settings struct {
	Providers       []provider          `json:"providers"`
	CertManager     certManagerSettings `json:"cert-manager"`
	OverridesFolder string              `json:"overridesFolder"`
}

type provider struct {
	Name string                    `json:"name"`
	Type clusterctlv1.ProviderType `json:"type"`
	URL  string                    `json:"url"`
}

// certManagerSettings keep clusterctl from installing cert-manager. It still insists on the kinds, which
// managementplane.InstallCertManagerKinds provides: a local management plane gives all webhooks its own certificates.
type certManagerSettings struct {
	ExternallyProvisioned string `json:"externallyProvisioned"`
}

func newSettings(dir, coreVersion string) settings {
	s := settings{
		Providers: []provider{{
			Name: config.ClusterAPIProviderName,
			Type: clusterctlv1.CoreProviderType,
			URL:  filepath.Join(dir, "cluster-api", coreVersion, "core-components.yaml"),
		}},
		CertManager:     certManagerSettings{ExternallyProvisioned: "true"},
		OverridesFolder: filepath.Join(dir, "overrides"),
	}
	for _, role := range roles() {
		s.Providers = append(s.Providers, provider{
			Name: providerName,
			Type: role.kind,
			URL:  filepath.Join(dir, role.label(), Version, role.components()),
		})
	}
	return s
}
