// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// debianPackage is one entry of a dpkg status file.
type debianPackage struct {
	Name, Version, Architecture, Source, Maintainer string
}

// parseStatus reads the text of a dpkg status file. Packages that are not installed are left out; an entry without a
// Status field counts as installed.
func parseStatus(text string) ([]debianPackage, error) {
	var packages []debianPackage
	for entry := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(entry) {
			name, value, ok := strings.Cut(line, ":")
			if ok && !strings.HasPrefix(line, " ") {
				fields[name] = strings.TrimSpace(value)
			}
		}
		status, stated := fields["Status"]
		if fields["Package"] == "" || (stated && status != "install ok installed") {
			continue
		}
		if fields["Version"] == "" {
			return nil, fmt.Errorf("package %s has no version in the package database", fields["Package"])
		}
		packages = append(packages, debianPackage{
			Name: fields["Package"], Version: fields["Version"], Architecture: fields["Architecture"],
			Source: fields["Source"], Maintainer: fields["Maintainer"],
		})
	}
	slices.SortFunc(packages, func(a, b debianPackage) int { return strings.Compare(a.Name, b.Name) })
	return packages, nil
}

// debianPackages are all packages of the base, installed and unpacked ones, by name.
func (r *build) debianPackages() ([]debianPackage, error) {
	var all []debianPackage
	for _, path := range []string{
		filepath.Join(r.base, baseRoot, "var/lib/dpkg/status"),
		filepath.Join(r.base, unpackedStatus),
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("package database: %w", err)
		}
		packages, err := parseStatus(string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, packages...)
	}
	slices.SortFunc(all, func(a, b debianPackage) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// lockFileName holds the exact package versions that the image was last tested with.
const lockFileName = "packages.lock"

// lockText is the content of a lock file: one line "name version" for each package.
func lockText(packages []debianPackage) string {
	var text strings.Builder
	text.WriteString("# Exact versions of all Debian packages that Ingot OS was last tested with. Written by `ingotctl image build --update-lock`.\n")
	for _, p := range packages {
		text.WriteString(p.Name + " " + p.Version + "\n")
	}
	return text.String()
}

// lockDrift says how the packages differ from a lock, one sorted line for each difference.
func lockDrift(lock []string, packages []debianPackage) []string {
	locked, found := map[string]string{}, map[string]string{}
	for _, line := range lock {
		name, version, _ := strings.Cut(line, " ")
		locked[name] = version
	}
	for _, p := range packages {
		found[p.Name] = p.Version
	}
	names := map[string]bool{}
	for name := range maps.Keys(locked) {
		names[name] = true
	}
	for name := range maps.Keys(found) {
		names[name] = true
	}
	var drift []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch was, is := locked[name], found[name]; {
		case was == is:
		case was == "":
			drift = append(drift, fmt.Sprintf("%s %s is new", name, is))
		case is == "":
			drift = append(drift, fmt.Sprintf("%s %s is gone", name, was))
		default:
			drift = append(drift, fmt.Sprintf("%s %s instead of %s", name, is, was))
		}
	}
	return drift
}

// compareLock reports packages that differ from those that the image was tested with. A mirror serves only the newest
// version of a package, so this is no error; whoever needs the tested versions builds from a snapshot mirror.
func (r *build) compareLock() error {
	packages, err := r.debianPackages()
	if err != nil {
		return err
	}
	path := filepath.Join(cmp.Or(r.overlay(), r.sources), lockFileName)
	if r.updateLock {
		return os.WriteFile(path, []byte(lockText(packages)), 0o644)
	}
	lock, err := assembly.ReadList(path)
	if err != nil {
		return err
	}
	if drift := lockDrift(lock, packages); len(drift) > 0 {
		r.stages.Report("%d Debian packages differ from those this image was tested with (%s, first: %s)", len(drift), lockFileName, drift[0])
	}
	return nil
}
