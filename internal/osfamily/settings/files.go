// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
	"k8s.io/utils/ptr"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// maxBytes bounds what files and units add to a machine configuration. The Secret that holds it may have 1 MiB, and some
// formats encode content twice.
const maxBytes = 384 << 10

// Content is what a file holds; false where the Secret that it refers to was not read.
func Content(file bootstrapv1.File, secrets osfamily.Secrets) ([]byte, bool) {
	if file.Content != nil {
		return []byte(*file.Content), true
	}
	return secrets.Value(file.ContentFrom.Secret)
}

// Mode is the mode of a file whose permissions were checked. What comes from a Secret is for root only, unless the config
// says otherwise.
func Mode(file bootstrapv1.File) fs.FileMode {
	if mode, err := strconv.ParseUint(file.Permissions, 8, 9); err == nil {
		return fs.FileMode(mode)
	}
	if file.Content == nil {
		return 0o600
	}
	return 0o644
}

// Below is whether a path is a folder or below it.
func Below(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func checkFiles(report *osfamily.Report, in osfamily.Input) {
	total := 0
	for _, u := range in.Config.Units {
		total += len(u.Contents)
		for _, dropin := range u.Dropins {
			total += len(dropin.Contents)
		}
	}
	for i, file := range in.Config.Files {
		at := fmt.Sprintf("%s[%d]", Files, i)
		checkPath(report, at+".path", file.Path)
		for _, other := range in.Config.Files[:i] {
			if Below(file.Path, other.Path) || Below(other.Path, file.Path) {
				report.Errorf(at+".path", "%q and %q cannot both be files", other.Path, file.Path)
			}
		}
		if file.Permissions != "" && !regexp.MustCompile(`^0[0-7]{3}$`).MatchString(file.Permissions) {
			report.Errorf(at+".permissions", "%q are not permission bits: write them like 0644", file.Permissions)
		}
		if (file.Content != nil) == (file.ContentFrom != (bootstrapv1.ValueSource{})) {
			report.Errorf(at, "the content of a file is given in one place: set either content or contentFrom")
			continue
		}
		if file.Content == nil {
			readSecret(report, in.Secrets, at+".contentFrom.secret", file.ContentFrom.Secret)
		}
		content, _ := Content(file, in.Secrets)
		total += len(content)
	}
	if total > maxBytes {
		report.Errorf(string(Files), "files and units have %d bytes together, and a machine configuration has room for %d: "+
			"build large files into the image", total, maxBytes)
	}
}

func checkPath(report *osfamily.Report, at, name string) {
	if len(name) > 512 || !regexp.MustCompile(`^(/[A-Za-z0-9._@:+~-]+)+$`).MatchString(name) || path.Clean(name) != name {
		report.Errorf(at, "%q is not the path of a file: it begins with a slash, and its parts are letters, digits and ._@:+~-", name)
		return
	}
	for _, folder := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/var/run", "/var/tmp"} {
		if Below(name, folder) {
			report.Errorf(at, "what is written to %s is not kept: choose another path", folder)
		}
	}
	for _, folder := range []string{"/etc/ingot", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/etcd"} {
		if Below(name, folder) {
			report.Errorf(at, "%s belongs to Ingot and Kubernetes: choose another path", folder)
		}
	}
	for _, folder := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system"} {
		if Below(name, folder) {
			report.Errorf(at, "a unit is no file: list it in units")
		}
	}
}

const (
	unitPattern   = `^[A-Za-z0-9][A-Za-z0-9:_.-]*\.(service|socket|timer|path|target|mount|automount|swap|slice)$`
	dropinPattern = `^[A-Za-z0-9][A-Za-z0-9:_.-]*\.conf$`
)

func checkUnits(report *osfamily.Report, units []bootstrapv1.Unit) {
	var names []string
	for i, u := range units {
		at := fmt.Sprintf("%s[%d]", Units, i)
		switch {
		case len(u.Name) > 128 || !regexp.MustCompile(unitPattern).MatchString(u.Name):
			report.Errorf(at+".name", "%q is not the name of a systemd unit", u.Name)
		case strings.HasPrefix(u.Name, "ingot-"):
			report.Errorf(at+".name", "units whose names begin with ingot- are Ingot's: choose another name")
		case slices.Contains(names, u.Name):
			report.Errorf(at+".name", "%s is listed twice", u.Name)
		case u.Contents == "" && len(u.Dropins) == 0 && !ptr.Deref(u.Enabled, false):
			report.Errorf(at, "says nothing: set contents, dropins or enabled")
		}
		names = append(names, u.Name)
		if u.Contents != "" {
			checkUnitText(report, at+".contents", u.Contents)
			if ptr.Deref(u.Enabled, false) && !hasInstallSection(u.Contents) {
				report.Errorf(at+".contents", "a unit that is enabled needs a section [Install]: add one, for example with WantedBy=multi-user.target")
			}
		}
		checkDropins(report, at+".dropins", u.Dropins)
	}
}

func checkDropins(report *osfamily.Report, at string, dropins []bootstrapv1.UnitDropin) {
	var names []string
	for i, dropin := range dropins {
		path := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case len(dropin.Name) > 128 || !regexp.MustCompile(dropinPattern).MatchString(dropin.Name):
			report.Errorf(path+".name", "%q is not the name of a drop-in: it ends with .conf", dropin.Name)
		case strings.Contains(dropin.Name, "ingot"):
			report.Errorf(path+".name", "drop-ins with ingot in their names are Ingot's: choose another name")
		case slices.Contains(names, dropin.Name):
			report.Errorf(path+".name", "%s is listed twice", dropin.Name)
		}
		names = append(names, dropin.Name)
		if dropin.Contents == "" {
			report.Errorf(path+".contents", "must be set")
			continue
		}
		checkUnitText(report, path+".contents", dropin.Contents)
	}
}

// checkUnitText reads a unit as strictly as Ignition does. systemd drops what it does not understand.
func checkUnitText(report *osfamily.Report, at, text string) {
	if strings.ContainsRune(text, 0) {
		report.Errorf(at, "is not text")
		return
	}
	switch sections, err := unit.DeserializeSections(strings.NewReader(text)); {
	case err != nil:
		report.Errorf(at, "is not a unit as systemd reads it: %v", err)
	case len(sections) == 0 || !regexp.MustCompile(`^(\s*([#;].*)?\n)*\s*\[`).MatchString(text):
		report.Errorf(at, "is not a unit as systemd reads it: it must begin with a section, like [Service]")
	}
}

func hasInstallSection(text string) bool {
	return slices.Contains(strings.Split(text, "\n"), "[Install]")
}
