// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package osfamily

import (
	"fmt"
	"strings"
)

// Severity says how bad a finding is.
type Severity string

const (
	// Error means that there is no usable bundle.
	Error Severity = "Error"
	// Warning means that the bundle is usable and a person should look.
	Warning Severity = "Warning"
)

// Finding is one thing to say about an input.
type Finding struct {
	// Severity says how bad it is.
	Severity Severity
	// Path is the path in the user's document, for example spec.controlPlane.vip.interface.
	Path string
	// Message says what is wrong and what to do.
	Message string
}

// String formats the finding for a condition message.
func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.Path, f.Message) }

// Report is everything that there is to say about an input, in a stable order.
type Report []Finding

// Errorf adds an Error.
func (r *Report) Errorf(path, format string, args ...any) {
	*r = append(*r, Finding{Severity: Error, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Warnf adds a Warning.
func (r *Report) Warnf(path, format string, args ...any) {
	*r = append(*r, Finding{Severity: Warning, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Err returns an error that lists the Error findings, or nil if there is none.
func (r *Report) Err() error {
	var lines []string
	for _, f := range *r {
		if f.Severity == Error {
			lines = append(lines, f.String())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return &ReportError{Findings: lines}
}

// ReportError is the error of a report that holds Error findings.
type ReportError struct {
	// Findings are the formatted Error findings.
	Findings []string
}

// Error lists the findings.
func (e *ReportError) Error() string { return strings.Join(e.Findings, "; ") }
