// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import portable "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"

// Support is what Talos makes of the portable settings: all but files and units, for which it has no place.
func Support() portable.Support {
	table := portable.RendersAll()
	for _, setting := range []portable.Setting{portable.Files, portable.FileAppend, portable.FileContentFrom} {
		table[setting] = portable.Refused("Talos lets nobody write files, but for some below /etc from 1.14 on: write an EtcFileConfig in spec.talos.patches")
	}
	for _, setting := range []portable.Setting{portable.Units, portable.UnitDropins} {
		table[setting] = portable.Refused("Talos has no systemd: use a DaemonSet, or a system extension in the image")
	}
	table[portable.IdentityReport] = portable.Refused("the Node's osImage says the version of Talos already")
	return table
}
