// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"debug/buildinfo"
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// The papers are what a security team works with after a CVE: a package that is missing there is a package that
// nobody patches.

const status = `Package: libc6
Status: install ok installed
Architecture: amd64
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Source: glibc
Version: 2.36-9+deb12u10
Description: a library
 Version: not a field but part of the text

Package: removed
Status: deinstall ok config-files
Version: 1

Package: busybox-static
Version: 1:1.35.0-4
Architecture: amd64
`

func TestParseStatus(t *testing.T) {
	packages, err := parseStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	want := []debianPackage{
		{Name: "busybox-static", Version: "1:1.35.0-4", Architecture: "amd64"},
		{
			Name: "libc6", Version: "2.36-9+deb12u10", Architecture: "amd64", Source: "glibc",
			Maintainer: "GNU Libc Maintainers <debian-glibc@lists.debian.org>",
		},
	}
	if !slices.Equal(packages, want) {
		t.Fatalf("got %+v\nwant %+v", packages, want)
	}
	if _, err := parseStatus("Package: half\nStatus: install ok installed\n"); err == nil {
		t.Fatal("an entry without a version was accepted")
	}
}

func TestLockDrift(t *testing.T) {
	lock := []string{"libc6 2.36-9", "runc 1.1.5", "gone 1"}
	found := []debianPackage{{Name: "libc6", Version: "2.36-10"}, {Name: "runc", Version: "1.1.5"}, {Name: "added", Version: "3"}}
	want := []string{"added 3 is new", "gone 1 is gone", "libc6 2.36-10 instead of 2.36-9"}
	if got := lockDrift(lock, found); !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
	var same []string
	for line := range strings.Lines(lockText(found)) {
		if !strings.HasPrefix(line, "#") {
			same = append(same, strings.TrimSpace(line))
		}
	}
	if got := lockDrift(same, found); len(got) != 0 {
		t.Fatalf("a lock differs from the packages it was written from: %q", got)
	}
}

func TestTheSBOMIsCompleteConsistentAndAlwaysTheSame(t *testing.T) {
	packages, err := parseStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	info := &buildinfo.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Path: "k8s.io/kubernetes", Version: "v1.36.3"},
		Deps: []*debug.Module{
			{Path: "k8s.io/utils", Version: "v0.1.0"},
			{Path: "k8s.io/api", Version: "v0.0.0", Replace: &debug.Module{Path: "k8s.io/api", Version: "v0.36.3"}},
		},
	}
	in := sbomInput{name: osID, version: "v1.0.0", sha256: strings.Repeat("a", 64), debian: packages, programs: map[string]*buildinfo.BuildInfo{"kubelet": info, "kubeadm": info}}
	first, err := sbom(in)
	if err != nil {
		t.Fatal(err)
	}
	second, err := sbom(in)
	if err != nil || string(first) != string(second) {
		t.Fatalf("two runs differ, or %v", err)
	}
	var doc spdxDocument
	if err := json.Unmarshal(first, &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{spdxDocumentID: true}
	var purls []string
	for _, p := range doc.Packages {
		if ids[p.SPDXID] {
			t.Errorf("two packages share the id %s", p.SPDXID)
		}
		ids[p.SPDXID] = true
		for _, ref := range p.ExternalRefs {
			purls = append(purls, ref.ReferenceLocator)
		}
	}
	for _, r := range doc.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("relationship %v names something that is not in the document", r)
		}
	}
	for _, want := range []string{
		"pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc",
		"pkg:deb/debian/busybox-static@1%3A1.35.0-4?arch=amd64&distro=debian-12",
		"pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go"),
		"pkg:golang/k8s.io/kubernetes@v1.36.3",
		"pkg:golang/k8s.io/utils@v0.1.0",
		"pkg:golang/k8s.io/api@v0.36.3", // what replaces a module is what was compiled
	} {
		if !slices.ContainsFunc(purls, func(p string) bool { return strings.HasPrefix(p, want) }) {
			t.Errorf("no package %s; a scanner would not see it", want)
		}
	}
}

func TestSPDXIdentifiersOfDifferentNamesDiffer(t *testing.T) {
	if a, b := spdxID("deb", "libstdc++6"), spdxID("deb", "libstdc--6"); a == b {
		t.Fatalf("both are %s", a)
	}
}
