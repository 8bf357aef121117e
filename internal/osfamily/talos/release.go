// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package talos

import (
	"fmt"
	"strings"

	"github.com/blang/semver/v4"
	machineapi "github.com/siderolabs/talos/pkg/machinery/api/machine"
	"github.com/siderolabs/talos/pkg/machinery/compatibility"
	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/gendata"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// release says what the image is, and what is written for it.
type release struct {
	// contract is the release whose documents are written.
	contract *config.VersionContract
	// image is the release that reads them. It is that of the contract where the image is not known.
	image *config.VersionContract
	// version is the version of the image, or the first one of the contract.
	version string
}

const (
	oldestMinor = 12
	newestMinor = 14
)

// releaseOf follows the image, which was declared once, and the user where he holds on to older documents.
func releaseOf(report *osfamily.Report, in osfamily.Input) release {
	const path = "spec.talos.contract"
	var wanted bootstrapv1.TalosContract
	if in.Config.Talos != nil {
		wanted = in.Config.Talos.Contract
	}
	var r release
	if version := in.Image.OSVersion; version != "" {
		r.image, r.version = minorOf(version), version
		if r.image == nil {
			report.Errorf("NodeImage.spec.os.version", "%q is not of a release of Talos that this version of Ingot writes for: 1.%d to 1.%d", version, oldestMinor, newestMinor)
			return r
		}
		r.contract = r.image
	}
	switch contract := minorOf(string(wanted) + ".0"); {
	case wanted == "" && r.image == nil:
		report.Errorf(path, "no NodeImage says which release of Talos the machine runs, because another provider makes it: set the contract to that release, or to an older one")
	case wanted == "":
	case contract == nil:
		report.Errorf(path, "%q is not a release of Talos that this version of Ingot writes for: use 1.%d to 1.%d", wanted, oldestMinor, newestMinor)
	case r.image != nil && contract.Greater(r.image):
		report.Errorf(path, "%s is newer than the image, which is of %s and does not read it: remove the contract, or use a newer image", wanted, r.version)
	default:
		r.contract = contract
		if r.image == nil {
			r.image, r.version = contract, string(wanted)+".0"
		}
	}
	return r
}

// minorOf is the release that a version belongs to; nil where it is not one that is written for.
func minorOf(version string) *config.VersionContract {
	parsed, err := semver.Parse(strings.TrimPrefix(version, "v"))
	if err != nil || parsed.Major != 1 || parsed.Minor < oldestMinor || parsed.Minor > newestMinor {
		return nil
	}
	return &config.VersionContract{Major: 1, Minor: int(parsed.Minor)}
}

// checkKubernetes holds the version to what the image runs, as its own makers have it.
func (r release) checkKubernetes(report *osfamily.Report, version string) {
	const path = "Machine.spec.version"
	image, err := compatibility.ParseTalosVersion(&machineapi.VersionInfo{Tag: r.tag()})
	if err != nil {
		report.Errorf("NodeImage.spec.os.version", "%q is not a version of Talos", r.version)
		return
	}
	kubernetes, err := compatibility.ParseKubernetesVersion(strings.TrimPrefix(version, "v"))
	if err != nil {
		report.Errorf(path, "%q is not a Kubernetes version: write it like v1.36.3", version)
		return
	}
	if err := kubernetes.SupportedWith(image); err != nil {
		report.Errorf(path, "Talos %s does not run it: %v", r.version, err)
		return
	}
	// The machinery refuses what the newest release does not run, also where it writes for an older one.
	ours, err := compatibility.ParseTalosVersion(&machineapi.VersionInfo{Tag: gendata.VersionTag})
	if err == nil {
		err = kubernetes.SupportedWith(ours)
	}
	if err != nil {
		report.Errorf(path, "Talos %s runs it, but what Ingot writes is judged by the machinery of %s, which does not take it: %v", r.version, gendata.VersionTag, err)
	}
}

// tag is the version as Talos writes it in the names of its images.
func (r release) tag() string { return "v" + strings.TrimPrefix(r.version, "v") }

// String names the release for a sentence.
func (r release) String() string { return fmt.Sprintf("%d.%d", r.image.Major, r.image.Minor) }
