// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package settings

import (
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Support is the table of a family: what it makes of each setting. A setting that is not in it is refused.
type Support map[Setting]Answer

// Answer is what a family makes of a setting. The zero value refuses it and knows no reason.
type Answer struct {
	rendered bool
	reason   string
}

// Rendered says that the family renders the setting as it is described.
func Rendered() Answer { return Answer{rendered: true} }

// Refused says that the family cannot render the setting: why, and what to do instead.
func Refused(reason string) Answer { return Answer{reason: reason} }

// Renders is whether the family renders a setting.
func (s Support) Renders(setting Setting) bool { return s[setting].rendered }

// Reason is why the family refuses a setting; empty where it renders it or does not say.
func (s Support) Reason(setting Setting) string { return s[setting].reason }

// Refuse puts one reason for several settings into the table.
func (s Support) Refuse(reason string, settings ...Setting) {
	for _, setting := range settings {
		s[setting] = Refused(reason)
	}
}

// RendersAll is a table in which every setting is rendered, for a family to take out what it refuses.
func RendersAll() Support {
	table := Support{}
	for _, setting := range All() {
		table[setting] = Rendered()
	}
	return table
}

// RefusesAll is a table in which every setting is refused for the same reason, for a family to put in what it renders.
func RefusesAll(reason string) Support {
	table := Support{}
	for _, setting := range All() {
		table[setting] = Refused(reason)
	}
	return table
}

// Check finds every setting that the family does not render, and every value that no operating system could take. A family
// calls it before it renders anything. No finding quotes what a Secret holds.
func Check(report *osfamily.Report, family ingotv1.OSFamily, support Support, in osfamily.Input) {
	for _, use := range Uses(in.Config) {
		switch {
		case support.Renders(use.Setting):
		case support.Reason(use.Setting) != "":
			report.Errorf(use.Path, "is not rendered for images of the family %s: %s", family, support.Reason(use.Setting))
		default:
			report.Errorf(use.Path, "is not rendered for images of the family %s by this version of Ingot: remove it", family)
		}
	}
	checkValues(report, in)
}
