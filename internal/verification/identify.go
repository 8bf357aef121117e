// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification

import (
	"slices"
	"strings"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
)

// Identity is what an osImage says.
type Identity struct {
	// Family is the operating system.
	Family ingotv1.OSFamily
	// Version is its version as it is written.
	Version string
	// Variant is what follows, without brackets: the variant of Bottlerocket, the code name of Flatcar.
	Variant string
}

// shape is what the osImage of a family begins with. Then come words that are left out, and the version.
type shape struct {
	family ingotv1.OSFamily
	begin  string
	skip   int
}

// shapes are the osImages that name a family and its version. Families whose images are named by whoever builds them have
// none.
func shapes() []shape {
	return []shape{
		{ingotv1.OSFamilyTalos, "Talos ", 0},
		{ingotv1.OSFamilyFlatcar, "Flatcar Container Linux by ", 1},
		{ingotv1.OSFamilyFedoraCoreOS, "Fedora CoreOS ", 0},
		{ingotv1.OSFamilyFedoraCoreOS, "Red Hat Enterprise Linux CoreOS ", 0},
		{ingotv1.OSFamilyBottlerocket, "Bottlerocket OS ", 0},
	}
}

// identifiable is whether a family names itself and its version in osImage.
func identifiable(family ingotv1.OSFamily) bool {
	return slices.ContainsFunc(shapes(), func(s shape) bool { return s.family == family })
}

// Identify reads an osImage. It is false where no family is known by it.
func Identify(osImage string) (Identity, bool) {
	for _, s := range shapes() {
		rest, is := strings.CutPrefix(osImage, s.begin)
		words := strings.Fields(rest)
		if !is || len(words) <= s.skip || strings.Trim(words[s.skip], "()") == "" {
			continue
		}
		identity := Identity{Family: s.family, Version: strings.Trim(words[s.skip], "()")}
		if len(words) > s.skip+1 {
			identity.Variant = strings.Trim(strings.Join(words[s.skip+1:], " "), "()")
		}
		return identity, true
	}
	return Identity{}, false
}

// names is whether an osImage has the version as a word of its own, with a leading v or without.
func names(osImage, version string) bool {
	for word := range strings.FieldsFuncSeq(osImage, func(r rune) bool { return !inVersion(r) }) {
		if sameVersion(word, version) {
			return true
		}
	}
	return false
}

func inVersion(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._+~^-", r)
}

// sameVersion compares versions of operating systems, which people write with a leading v and without.
func sameVersion(a, b string) bool { return strings.TrimPrefix(a, "v") == strings.TrimPrefix(b, "v") }
