// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package bottlerocket

import portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"

// Support is what Bottlerocket makes of the portable settings. It has words of its own for many of them, which the user
// writes until the family does; it writes no files and runs no units of anybody else.
func Support() portable.Support {
	table := portable.RefusesAll("write it in spec.bottlerocket.settings, as far as Bottlerocket has it")
	const closed = "Bottlerocket lets nobody write files or units: use a bootstrap container in spec.bottlerocket.settings"
	for _, setting := range []portable.Setting{portable.Files, portable.FileAppend, portable.FileContentFrom, portable.Units, portable.UnitDropins} {
		table[setting] = portable.Refused(closed)
	}
	for _, setting := range []portable.Setting{portable.RegistryLogin, portable.RegistryMirrorLogin} {
		table[setting] = portable.Refused("Ingot writes no credentials for it yet, and spec.bottlerocket.settings must not hold them")
	}
	table[portable.IdentityReport] = portable.Refused("the Node's osImage says the version of Bottlerocket already")
	return table
}
