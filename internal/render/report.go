// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// FormatVersion is the version of the Report's JSON. Fields may be added without a new one.
const FormatVersion = "1"

// Report is what ingotctl render prints; -o json prints it as it is.
type Report struct {
	// FormatVersion is the version of this structure.
	FormatVersion string `json:"formatVersion"`
	// Machines are in the order of the file.
	Machines []Machine `json:"machines"`
}

// Machine is the configuration of one machine, or of any machine that is made from an object.
type Machine struct {
	// Object is what it is rendered for, as Kind/name, and Namespace its namespace, if it has one.
	Object    string `json:"object"`
	Namespace string `json:"namespace,omitempty"`
	// Role is what the node does.
	Role bootstrapv1.Role `json:"role"`
	// Family and Format say who renders it and how it is written. They are empty where nothing is rendered.
	Family ingotv1.OSFamily        `json:"family,omitempty"`
	Format ingotv1.BootstrapFormat `json:"format,omitempty"`
	// Findings are what is wrong, or should be looked at.
	Findings []Finding `json:"findings"`
	// Notes say what is not known and what stands for it.
	Notes []string `json:"notes,omitempty"`
	// Config is the configuration as a person reads it; empty where a finding is an Error.
	Config string `json:"config,omitempty"`

	raw []byte
}

// Finding is one thing that is wrong, or should be looked at.
type Finding struct {
	// Severity is Error or Warning. With an Error there is no configuration.
	Severity osfamily.Severity `json:"severity"`
	// Path is the path in the user's document.
	Path string `json:"path"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
}

// newMachine reports on what was rendered.
func newMachine(object, namespace string, r controller.Rendering, notes []string) Machine {
	m := Machine{Object: object, Namespace: namespace, Role: r.Role, Findings: []Finding{}, Notes: notes}
	for _, f := range r.Report {
		m.Findings = append(m.Findings, Finding(f))
	}
	if r.Family == nil {
		return m
	}
	m.Family = r.Family.Name()
	return m.with(r.Family, r.Bundle)
}

// with shows a bundle in the words of its family.
func (m Machine) with(family osfamily.Family, bundle osfamily.Bundle) Machine {
	if len(bundle.Data) == 0 {
		return m
	}
	m.Format, m.raw, m.Config = bundle.Format, bundle.Data, string(bundle.Data)
	if reader, encoded := family.(osfamily.Reader); encoded {
		text, err := reader.Readable(bundle)
		if err != nil {
			m.Notes = append(m.Notes, fmt.Sprintf("the configuration cannot be decoded, and is shown as it is: %v", err))
			return m
		}
		m.Config = text
	}
	return m
}

// Err is not nil if something cannot be rendered.
func (r Report) Err() error {
	var objects []string
	for _, m := range r.Machines {
		if slices.ContainsFunc(m.Findings, func(f Finding) bool { return f.Severity == osfamily.Error }) {
			objects = append(objects, fmt.Sprintf("%s (%s)", m.Object, m.Role))
		}
	}
	if len(objects) == 0 {
		return nil
	}
	return fmt.Errorf("no machine can be made from %s", strings.Join(objects, ", "))
}

// Only keeps what is rendered for the objects, each named as Kind/name.
func (r Report) Only(objects ...string) (Report, error) {
	kept := Report{FormatVersion: r.FormatVersion, Machines: []Machine{}}
	for _, object := range objects {
		if !slices.ContainsFunc(r.Machines, func(m Machine) bool { return m.Object == object }) {
			return Report{}, fmt.Errorf("nothing is rendered for %s, only for %s", object, strings.Join(r.objects(), ", "))
		}
	}
	for _, m := range r.Machines {
		if slices.Contains(objects, m.Object) {
			kept.Machines = append(kept.Machines, m)
		}
	}
	return kept, nil
}

// WithRole keeps what is rendered for a role; empty keeps all.
func (r Report) WithRole(role bootstrapv1.Role) Report {
	if role != "" {
		r.Machines = slices.DeleteFunc(slices.Clone(r.Machines), func(m Machine) bool { return m.Role != role })
	}
	return r
}

func (r Report) objects() []string {
	var names []string
	for _, m := range r.Machines {
		names = append(names, m.Object)
	}
	return slices.Compact(names)
}

// WriteJSON writes the report for programs.
func (r Report) WriteJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteRaw writes the one configuration that there is, byte by byte as the machine reads it.
func (r Report) WriteRaw(out io.Writer) error {
	var found []Machine
	for _, m := range r.Machines {
		if len(m.raw) > 0 {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return errors.New("nothing can be rendered")
	case 1:
		_, err := out.Write(found[0].raw)
		return err
	}
	return fmt.Errorf("-o raw writes one configuration, and there are %d: name one of %s, and with --role its role", len(found), strings.Join(r.objects(), ", "))
}

// WriteText writes the report for people.
func (r Report) WriteText(out io.Writer) error {
	var text strings.Builder
	for i, m := range r.Machines {
		if i > 0 {
			text.WriteString("\n")
		}
		m.writeText(&text)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

func (m Machine) writeText(text *strings.Builder) {
	fmt.Fprintf(text, "######## %s, role %s\n", m.Object, m.Role)
	if m.Family != "" {
		fmt.Fprintf(text, "Family    %s\n", m.Family)
	}
	if m.Format != "" {
		fmt.Fprintf(text, "Format    %s, %d bytes\n", m.Format, len(m.raw))
	}
	for _, note := range m.Notes {
		fmt.Fprintf(text, "Note      %s\n", note)
	}
	for _, f := range m.Findings {
		fmt.Fprintf(text, "%-9s %s: %s\n", f.Severity, f.Path, f.Message)
	}
	if m.Config != "" {
		text.WriteString(m.Config)
	}
}
