// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// width is how long lines may be.
const width = 100

// WriteJSON writes the Report for programs.
func (r Report) WriteJSON(out io.Writer) error { return encode(out, r) }

func encode(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // placeholders are <new-1>
	return encoder.Encode(value)
}

// WriteText writes the Report for people.
func (r Report) WriteText(out io.Writer) error {
	p := &page{}
	r.writeHeader(p)
	r.writeMachines(p)
	for _, a := range r.UnderWay {
		p.heading("Under way")
		p.paragraph("  ", "  ", happening(a))
	}
	r.writeSteps(p)
	for _, held := range r.Held {
		p.heading("Held")
		p.paragraph("  ", "  ", held.Reason+": "+held.Message)
	}
	for _, unknown := range r.Unknown {
		p.heading("Not known")
		p.paragraph("  ", "  ", unknown)
	}
	for _, note := range r.Notes {
		p.heading("Notes")
		p.paragraph("  ", "  ", note)
	}
	p.heading(r.Summary)
	_, err := io.WriteString(out, p.String())
	return err
}

func (r Report) writeHeader(p *page) {
	version := r.WantedVersion
	if !slices.Equal(r.Versions, []string{r.WantedVersion}) && len(r.Versions) > 0 {
		version = strings.Join(r.Versions, ", ") + " -> " + r.WantedVersion
	}
	present := 0
	for _, m := range r.Machines {
		if m.Outcome != plan.Added {
			present++
		}
	}
	machines := strconv.Itoa(present)
	if present != int(r.WantedReplicas) {
		machines = fmt.Sprintf("%d -> %d", present, r.WantedReplicas)
	}
	p.line("Cluster        %s", strings.TrimPrefix(r.Namespace+"/"+r.Cluster, "/"))
	p.line("Control plane  %s", r.ControlPlane)
	p.line("Version        %s", version)
	p.line("Machines       %s", machines)
	for i, proposed := range r.Change {
		label := "               "
		if i == 0 {
			label = "Change         "
		}
		p.line("%s%s: %s", label, proposed.Object, strings.ToLower(string(proposed.Effect)))
	}
}

func (r Report) writeMachines(p *page) {
	longest, longestVersion := 0, 0
	for _, m := range r.Machines {
		longest, longestVersion = max(longest, len(m.Name)), max(longestVersion, len(cmp.Or(m.Version, r.WantedVersion)))
	}
	for _, m := range r.Machines {
		p.heading("Machines")
		mark, fate := m.fate()
		p.line("  %-3s %-*s  %-*s  %s", mark, longest, m.Name, longestVersion, cmp.Or(m.Version, r.WantedVersion), fate)
		for _, why := range m.Why {
			p.paragraph("      ", "      ", why)
		}
	}
}

// fate is what becomes of a Machine: a mark as in other tools, and words.
func (m Machine) fate() (mark, words string) {
	switch m.Outcome {
	case plan.Replaced:
		return "-/+", "is replaced by " + m.Partner
	case plan.Removed:
		return "-", "is removed"
	case plan.Kept:
		return "!", "is kept, because something is held"
	case plan.Added:
		if m.Partner != "" {
			return "+", "is made in the place of " + m.Partner
		}
		return "+", "is made"
	default:
		return "", "stays"
	}
}

// writeSteps writes what a Machine is made of and the Machine in one.
func (r Report) writeSteps(p *page) {
	number := 0
	for i, step := range r.Steps {
		p.heading("Steps, if all goes well")
		if r.isPart(i) {
			continue
		}
		number++
		p.paragraph(fmt.Sprintf("  %2d. ", number), "      ", step.Text)
		p.paragraph("      ", "      ", step.why())
		if step.Disruption != "" {
			p.paragraph("    ! ", "      ", step.Disruption)
		}
		for _, a := range step.Then {
			p.paragraph("      ... ", "      ", happening(a))
		}
	}
}

// why is what a step is for; what is written above about the Machine is not said again.
func (s Step) why() string {
	switch {
	case s.Replaces != "":
		return "it takes the place of " + s.Replaces
	case s.Type == "DeleteMachine" && s.Cause == plan.CauseOutdated:
		return "it is not as declared"
	default:
		return strings.Join(s.Why, "; ")
	}
}

// isPart is whether a step makes a part of a Machine that is made in the same round.
func (r Report) isPart(i int) bool {
	part := r.Steps[i]
	if part.Type != "CreateInfraMachine" && part.Type != "CreateBootstrapConfig" {
		return false
	}
	return slices.ContainsFunc(r.Steps[i:], func(s Step) bool { return s.Type == "CreateMachine" && s.Round == part.Round })
}

// page is text in the making. Errors come when it is written.
type page struct {
	strings.Builder

	// part is the heading of the last part.
	part string
}

func (p *page) line(format string, args ...any) {
	_, _ = p.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// heading begins a part, unless it has begun.
func (p *page) heading(text string) {
	if p.part != text {
		p.part = text
		p.line("")
		p.paragraph("", "", text)
	}
}

// paragraph breaks lines between words, before they are too long.
func (p *page) paragraph(first, rest, text string) {
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > width:
			p.line("%s", line)
			line = rest + word
		default:
			line += " " + word
		}
	}
	p.line("%s", line)
}
