// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kairos

import portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"

// Support is what the family makes of the portable settings: nothing yet. Most of them can be written in the words of
// Kairos.
func Support() portable.Support {
	table := portable.RefusesAll("write it in spec.kairos.cloudConfig")
	for _, setting := range []portable.Setting{portable.RegistryLogin, portable.RegistryMirrorLogin, portable.FileContentFrom} {
		table[setting] = portable.Refused("Ingot writes no secrets for it yet, and spec.kairos.cloudConfig must not hold them")
	}
	table[portable.IdentityReport] = portable.Refused("Ingot renders no report for it: declare nodeIdentity.osImage in the NodeImage")
	return table
}
