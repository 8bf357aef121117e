// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification

import "strings"

// bootField is the word of a report that says in which boot it was made.
const bootField = "boot"

// Report is what a machine itself says of its root: fields of os-release, and the boot that they were read in.
type Report struct {
	// Boot is the ID of the boot.
	Boot string
	// Fields are by their names in os-release.
	Fields map[string]string
}

// ParseReport reads the annotation ingotv1.NodeIdentityAnnotation. Words that are no field are left out: a report can only
// say less than it should.
func ParseReport(annotation string) Report {
	report := Report{Fields: map[string]string{}}
	for word := range strings.FieldsSeq(annotation) {
		name, value, is := strings.Cut(word, "=")
		switch {
		case !is || name == "":
		case name == bootField:
			report.Boot = value
		default:
			report.Fields[name] = value
		}
	}
	return report
}
