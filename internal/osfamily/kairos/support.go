// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import (
	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Support is what the family makes of the portable settings on images that carry a distribution.
func Support(distribution bootstrapv1.KairosDistribution) portable.Support {
	table := portable.RendersAll()
	table.Refuse("Kairos encrypts partitions while it installs itself, and Ingot starts machines from an image that is installed: let the platform encrypt its storage",
		portable.DiskEncryption, portable.DiskEncryptionNodeID)
	if distribution == bootstrapv1.KairosDistributionKubeadm {
		return table
	}
	for _, setting := range []portable.Setting{portable.KubeletShutdown, portable.KubeletShutdownCritical} {
		table[setting] = portable.Refused("it has no flag of the kubelet, and k3s and k0s take nothing else in every version")
	}
	table[portable.RegistrySkipFallback] = portable.Refused("k3s knows it for all registries at once: write disable-default-registry-endpoint into /etc/rancher/k3s/config.yaml by spec.files")
	table[portable.FileAppend] = portable.Refused("files are written anew at every boot: write the whole file")
	table[portable.IdentityReport] = portable.Refused("Ingot renders no report for it: have PRETTY_NAME of the image name spec.os.version of its NodeImage; nodeIdentity.osImage helps only where it names that version")
	if distribution == bootstrapv1.KairosDistributionK3s {
		return table
	}
	for _, setting := range []portable.Setting{
		portable.RegistryAny, portable.RegistryMirrors, portable.RegistryMirrorOverridePath, portable.RegistryMirrorAuthority, portable.RegistryMirrorLogin,
		portable.RegistrySkipFallback, portable.RegistryAuthority, portable.RegistryLogin,
	} {
		table[setting] = portable.Refused("where k0s' containerd looks for registries depends on its version: write its files by spec.files")
	}
	return table
}
