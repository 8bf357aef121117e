// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnode

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"time"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

// SysextFolders is where system extensions lie.
type SysextFolders struct {
	// Images is the folder for their images, which must be one that can be written and lasts.
	Images string
	// Links is the folder where systemd-sysext looks, for links to the images. Empty means that it looks into Images.
	Links string
}

// sysextPatience is how long a machine tries to fetch one extension.
const sysextPatience = 20 * time.Minute

// sysextService merges extensions into /usr. Not every image has it enabled.
const sysextService = "systemd-sysext.service"

// afterSysexts has kubeadm wait for what brings it. The unit is ordered before basic.target already; it fails with its
// own message where it is missing.
const afterSysexts = `[Unit]
Wants=` + sysextService + `
After=` + sysextService + `
`

const (
	sysextNamePattern = `^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`
	sha512Pattern     = `^[0-9a-f]{128}$`
	sha256Pattern     = `^[0-9a-f]{64}$`
)

func checkSysexts(report *osfamily.Report, sysexts []bootstrapv1.Sysext, image Image) {
	const path = "spec.ignition.sysexts"
	if len(sysexts) > 0 && image.Sysexts == (SysextFolders{}) {
		report.Errorf(path, "images of variant %s take no system extensions: build what they hold into the image", image.Variant)
		return
	}
	names := map[string]bool{}
	for i, s := range sysexts {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !regexp.MustCompile(sysextNamePattern).MatchString(s.Name) || len(s.Name) > 63 {
			report.Errorf(at+".name", "%q is not the name of an extension: use lower-case letters, digits, dots, dashes and underscores", s.Name)
		}
		if names[s.Name] {
			report.Errorf(at+".name", "%q is listed twice", s.Name)
		}
		names[s.Name] = true
		if address, err := url.Parse(s.URL); err != nil || address.Host == "" || address.Scheme != "https" && address.Scheme != "http" {
			report.Errorf(at+".url", "must be an address that begins with https:// or http://")
		}
		checkDigest(report, at, s)
	}
}

func checkDigest(report *osfamily.Report, at string, s bootstrapv1.Sysext) {
	switch {
	case (s.SHA512 == "") == (s.SHA256 == ""):
		report.Errorf(at, "needs a digest, sha512 or sha256: without one it could be another thing on the next machine")
	case s.SHA512 != "" && !regexp.MustCompile(sha512Pattern).MatchString(s.SHA512):
		report.Errorf(at+".sha512", "must be 128 hexadecimal digits in lower case")
	case s.SHA256 != "" && !regexp.MustCompile(sha256Pattern).MatchString(s.SHA256):
		report.Errorf(at+".sha256", "must be 64 hexadecimal digits in lower case")
	}
}

// add has the machine fetch the extensions before its root is up, and merge them before kubeadm runs.
func (f SysextFolders) add(config *ignition.Config, sysexts []bootstrapv1.Sysext) {
	if len(sysexts) == 0 {
		return
	}
	for _, s := range sysexts {
		image := f.Images + "/" + s.Name + ".raw"
		config.Files = append(config.Files, ignition.File{
			Path: image, Mode: 0o644, Remote: ignition.Remote{URL: s.URL, SHA512: s.SHA512, SHA256: s.SHA256},
		})
		if f.Links != "" {
			config.Links = append(config.Links, ignition.Link{Path: f.Links + "/" + s.Name + ".raw", Target: image})
		}
	}
	config.FetchTimeout = max(config.FetchTimeout, sysextPatience)
	config.Units = append(config.Units, ignition.Unit{Name: sysextService, Enabled: true})
	for i := range config.Units {
		if unit := &config.Units[i]; unit.Name == kubeadmUnit {
			unit.Dropins = maps.Clone(unit.Dropins)
			if unit.Dropins == nil {
				unit.Dropins = map[string]string{}
			}
			unit.Dropins["20-sysext.conf"] = afterSysexts
		}
	}
}
