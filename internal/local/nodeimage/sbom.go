// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// The types below are the part of SPDX 2.3 that an image needs.
type (
	spdxDocument struct {
		SPDXVersion       string             `json:"spdxVersion"`
		DataLicense       string             `json:"dataLicense"`
		SPDXID            string             `json:"SPDXID"`
		Name              string             `json:"name"`
		DocumentNamespace string             `json:"documentNamespace"`
		CreationInfo      spdxCreation       `json:"creationInfo"`
		Packages          []spdxPackage      `json:"packages"`
		Relationships     []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		SPDXID           string            `json:"SPDXID"`
		Name             string            `json:"name"`
		VersionInfo      string            `json:"versionInfo"`
		Supplier         string            `json:"supplier"`
		DownloadLocation string            `json:"downloadLocation"`
		FilesAnalyzed    bool              `json:"filesAnalyzed"`
		LicenseConcluded string            `json:"licenseConcluded"`
		LicenseDeclared  string            `json:"licenseDeclared"`
		CopyrightText    string            `json:"copyrightText"`
		Checksums        []spdxChecksum    `json:"checksums,omitempty"`
		ExternalRefs     []spdxExternalRef `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm     string `json:"algorithm"`
		ChecksumValue string `json:"checksumValue"`
	}
	spdxExternalRef struct {
		ReferenceCategory string `json:"referenceCategory"`
		ReferenceType     string `json:"referenceType"`
		ReferenceLocator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		SPDXElementID      string `json:"spdxElementId"`
		RelationshipType   string `json:"relationshipType"`
		RelatedSPDXElement string `json:"relatedSpdxElement"`
	}
)

const (
	spdxDocumentID = "SPDXRef-DOCUMENT"
	spdxImageID    = "SPDXRef-Image"
	spdxNoAnswer   = "NOASSERTION"
)

// sbomInput is what an SBOM is made of.
type sbomInput struct {
	name     string
	version  string
	sha256   string
	debian   []debianPackage
	programs map[string]*buildinfo.BuildInfo
}

// sbom lists everything in an image: Debian packages, Go programs, and the modules and the standard library that each
// program was built from. The same input gives the same bytes.
func sbom(in sbomInput) ([]byte, error) {
	doc := &spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: spdxDocumentID,
		Name:              in.name + "-" + in.version,
		DocumentNamespace: fmt.Sprintf("https://ingot.dev/spdx/%s-%s-%s", in.name, in.version, in.sha256),
		CreationInfo: spdxCreation{
			Created:  assembly.EpochTime().Format(time.RFC3339),
			Creators: []string{"Organization: The Ingot Authors", "Tool: ingotctl"},
		},
	}
	image := newSPDXPackage(spdxImageID, in.name, in.version, "Organization: The Ingot Authors", "")
	image.Checksums = []spdxChecksum{{Algorithm: "SHA256", ChecksumValue: in.sha256}}
	doc.Packages = append(doc.Packages, image)
	doc.relate(spdxDocumentID, "DESCRIBES", spdxImageID)
	for _, p := range in.debian {
		doc.addDebian(p)
	}
	known := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(in.programs)) {
		doc.addProgram(name, in.programs[name], known)
	}
	out, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return nil, fmt.Errorf("SBOM: %w", err)
	}
	return append(out, '\n'), nil
}

func (d *spdxDocument) relate(from, how, to string) {
	d.Relationships = append(d.Relationships, spdxRelationship{from, how, to})
}

func (d *spdxDocument) addDebian(p debianPackage) {
	id := spdxID("deb", p.Name)
	supplier := spdxNoAnswer
	if p.Maintainer != "" {
		supplier = "Person: " + strings.NewReplacer("<", "(", ">", ")").Replace(p.Maintainer)
	}
	purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=debian-12", p.Name, url.QueryEscape(p.Version), p.Architecture)
	if p.Source != "" {
		purl += "&upstream=" + url.QueryEscape(strings.Fields(p.Source)[0])
	}
	d.Packages = append(d.Packages, newSPDXPackage(id, p.Name, p.Version, supplier, purl))
	d.relate(spdxImageID, "CONTAINS", id)
}

// addProgram adds a program and what it was built from. Modules that several programs share appear once.
func (d *spdxDocument) addProgram(name string, info *buildinfo.BuildInfo, known map[string]bool) {
	id := spdxID("program", name)
	version := info.Main.Version
	d.Packages = append(d.Packages, newSPDXPackage(id, name, version, spdxNoAnswer, ""))
	d.relate(spdxImageID, "CONTAINS", id)
	modules := []*debug.Module{{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}, &info.Main}
	for _, m := range append(modules, info.Deps...) {
		if m.Replace != nil {
			m = m.Replace
		}
		module := spdxID("go", m.Path+"-"+m.Version)
		if !known[module] {
			known[module] = true
			purl := "pkg:golang/" + m.Path + "@" + url.QueryEscape(m.Version)
			d.Packages = append(d.Packages, newSPDXPackage(module, m.Path, m.Version, spdxNoAnswer, purl))
		}
		d.relate(id, "DEPENDS_ON", module)
	}
}

func newSPDXPackage(id, name, version, supplier, purl string) spdxPackage {
	p := spdxPackage{
		SPDXID: id, Name: name, VersionInfo: version, Supplier: supplier,
		DownloadLocation: spdxNoAnswer, LicenseConcluded: spdxNoAnswer, LicenseDeclared: spdxNoAnswer, CopyrightText: spdxNoAnswer,
	}
	if purl != "" {
		p.ExternalRefs = []spdxExternalRef{{"PACKAGE-MANAGER", "purl", purl}}
	}
	return p
}

// spdxID makes an identifier of letters, digits, dots and hyphens; what else is in name is written as its code, so
// that two names never share one.
func spdxID(kind, name string) string {
	var id strings.Builder
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
			id.WriteRune(c)
		default:
			fmt.Fprintf(&id, "-%X-", c)
		}
	}
	return "SPDXRef-" + kind + "-" + id.String()
}

// sbomInput gathers what the SBOM of this build lists.
func (r *build) sbomInput(sha256 string) (sbomInput, error) {
	in := sbomInput{name: r.flavor.id(), version: r.version, sha256: sha256, programs: map[string]*buildinfo.BuildInfo{}}
	var err error
	if in.debian, err = r.debianPackages(); err != nil {
		return sbomInput{}, err
	}
	for _, name := range append(programNames(r.flavor), helperProbe) {
		info, err := buildinfo.ReadFile(r.program(name))
		if err != nil {
			return sbomInput{}, fmt.Errorf("SBOM: what %s was built from: %w", filepath.Base(name), err)
		}
		in.programs[name] = info
	}
	return in, nil
}
