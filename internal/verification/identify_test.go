// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification_test

import (
	"testing"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/verification"
)

// TestIdentify holds the shapes of osImage, which are other people's and may be read only where they are certain.
func TestIdentify(t *testing.T) {
	t.Parallel()
	for osImage, want := range map[string]verification.Identity{
		"Talos (v1.14.1)": {Family: ingotv1.OSFamilyTalos, Version: "v1.14.1"},
		"Flatcar Container Linux by Kinvolk 4593.2.5 (Oklo)":    {Family: ingotv1.OSFamilyFlatcar, Version: "4593.2.5", Variant: "Oklo"},
		"Fedora CoreOS 43.20260601.3.0":                         {Family: ingotv1.OSFamilyFedoraCoreOS, Version: "43.20260601.3.0"},
		"Red Hat Enterprise Linux CoreOS 418.94.202601070845-0": {Family: ingotv1.OSFamilyFedoraCoreOS, Version: "418.94.202601070845-0"},
		"Red Hat Enterprise Linux CoreOS 9.6.20260107-0 (Plow)": {Family: ingotv1.OSFamilyFedoraCoreOS, Version: "9.6.20260107-0", Variant: "Plow"},
		"Bottlerocket OS 1.57.0 (vmware-k8s-1.33)":              {Family: ingotv1.OSFamilyBottlerocket, Version: "1.57.0", Variant: "vmware-k8s-1.33"},
		"Hadron Linux":                       {},
		"VMware Photon OS/Linux":             {},
		"Container-Optimized OS from Google": {},
		"Debian GNU/Linux 12 (bookworm)":     {},
		"Ingot OS v1.0.0 (Debian 12)":        {},
		"Talos":                              {},
		"Talos ()":                           {},
		"Flatcar Container Linux by Kinvolk": {},
		"Not Talos (v1.14.1)":                {},
		"Bottlerocket OS":                    {},
	} {
		got, known := verification.Identify(osImage)
		if got != want || known != (want != verification.Identity{}) {
			t.Errorf("%q is read as %+v (%t), want %+v", osImage, got, known, want)
		}
	}
}
