// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"fmt"
	"slices"
	"strings"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// Flavor is what configures a machine with the image on its first boot.
type Flavor string

const (
	// FlavorIgnition is the image of the family Generic.
	FlavorIgnition Flavor = "ignition"
	// FlavorCloudInit is the same image for the family CloudInit.
	FlavorCloudInit Flavor = "cloud-init"
)

// Flavors lists all flavors.
func Flavors() []string { return []string{string(FlavorIgnition), string(FlavorCloudInit)} }

// checkFlavor refuses what is no flavor.
func checkFlavor(f Flavor) error {
	if !slices.Contains(Flavors(), string(f)) {
		return fmt.Errorf("flavor %q: use %s", f, strings.Join(Flavors(), " or "))
	}
	return nil
}

// id is the ID in os-release, and the name of the image without its version.
func (f Flavor) id() string {
	if f == FlavorCloudInit {
		return osID + "-" + string(f)
	}
	return osID
}

// prettyName is the name that a Node with an image of this version reports as osImage.
func (f Flavor) prettyName(version, debianMajor string) string {
	if f == FlavorCloudInit {
		return fmt.Sprintf("Ingot OS %s (Debian %s, %s)", version, debianMajor, f)
	}
	return fmt.Sprintf("Ingot OS %s (Debian %s)", version, debianMajor)
}

// family is the operating system family that renders for the image, and the format that it renders.
func (f Flavor) family() (ingotv1.OSFamily, ingotv1.BootstrapFormat) {
	if f == FlavorCloudInit {
		return ingotv1.OSFamilyCloudInit, ingotv1.BootstrapFormatCloudConfig
	}
	return ingotv1.OSFamilyGeneric, ingotv1.BootstrapFormatIgnition
}

// overlay is the folder of the sources with what the flavor adds, or "" where it adds nothing.
func (r *build) overlay() string {
	if r.flavor == FlavorCloudInit {
		return r.source("flavors", string(r.flavor))
	}
	return ""
}

// installedPackages are the names of the Debian packages to install.
func (r *build) installedPackages() ([]string, error) {
	packages, err := assembly.ReadList(r.source("packages.txt"))
	if err != nil || r.overlay() == "" {
		return packages, err
	}
	more, err := assembly.ReadList(r.source("flavors", string(r.flavor), "packages.txt"))
	return append(packages, more...), err
}
