// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

// NeededPrivileges are the rows of the table of privileges, as the page of the platform shows them.
func NeededPrivileges() []Needed {
	var all []Needed
	for _, n := range needs() {
		all = append(all, Needed{n.privilege, string(n.on), n.what, n.optional})
	}
	return all
}

// Needed is one row.
type Needed struct {
	Privilege, On, For string
	Optional           bool
}

// VMGroupName is the name of our group of virtual machines and of our rule.
var VMGroupName = vmGroupName
