// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"

// Support is what Bottlerocket makes of the portable settings, each by a setting of its own. It writes no files and runs no
// units of anybody else.
func Support() portable.Support {
	table := portable.RendersAll()
	const (
		closed  = "Bottlerocket lets nobody write files or units: use a bootstrap container in spec.bottlerocket.settings"
		trusted = "an authority that Bottlerocket trusts, it trusts for everything: use additionalTrustBundle"
	)
	for _, setting := range []portable.Setting{portable.Files, portable.FileAppend, portable.FileContentFrom, portable.Units, portable.UnitDropins} {
		table[setting] = portable.Refused(closed)
	}
	for _, setting := range []portable.Setting{portable.RegistryAuthority, portable.RegistryMirrorAuthority} {
		table[setting] = portable.Refused(trusted)
	}
	table[portable.RegistryMirrorOverridePath] = portable.Refused("Bottlerocket documents mirrors without a path only: give the mirror a name of its own")
	table[portable.RegistrySkipFallback] = portable.Refused("Bottlerocket asks the registry itself when no mirror answers: close the way to it in the network")
	table[portable.HTTPProxy] = portable.Refused("Bottlerocket has a proxy for https only: use httpsProxy")
	table[portable.KernelModuleParameters] = portable.Refused("Bottlerocket takes none: use settings.boot.kernel-parameters in spec.bottlerocket.settings")
	table.Refuse("Bottlerocket has no setting that encrypts its disks: let the platform encrypt its storage", portable.DiskEncryption, portable.DiskEncryptionNodeID)
	table[portable.IdentityReport] = portable.Refused("the Node's osImage says the version of Bottlerocket already")
	return table
}
