// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package osfamilytest holds what every operating system family must pass: the laws of the port, the portable inputs,
// and golden files that pin what is rendered. It holds no expectation about one format; a family brings a few functions
// that read its own.
package osfamilytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/settings"
)

// Suite is a family with what the suite must know to judge it.
type Suite struct {
	// Family is the family under test.
	Family osfamily.Family
	// Format is the format of its bundles.
	Format ingotv1.BootstrapFormat
	// Select sets the operating system block that chooses the family.
	Select func(*bootstrapv1.IngotConfigSpec)
	// Validate checks a bundle as strictly as the operating system does.
	Validate func(data []byte) error
	// Readable writes a bundle as text that a person can review; golden files hold it.
	Readable func(data []byte) (string, error)
	// SelfUpdateOff says whether a bundle turns the operating system's own updates off. It is nil for an operating system that
	// never updates itself.
	SelfUpdateOff func(data []byte) bool
	// Refuses lists the portable cases that the family cannot render: name of the case to the path that its report must
	// name.
	Refuses map[string]string
	// Own are cases that only this family has, for example those of its escape hatch. One with a path must be refused there.
	Own []Case
	// Testdata is the folder of the golden files.
	Testdata string
	// Support is the family's table of portable settings. Cases with a setting that it refuses must be refused where the
	// setting is used; any other setting must change what is rendered.
	Support settings.Support
	// Digests finds what a bundle says of its own parts, as hexadecimal digests, which differ wherever a part does. It is nil for
	// a family whose bundles say nothing of the kind.
	Digests *regexp.Regexp
}

// Minor releases of Kubernetes that somebody may ask for. The oldest is older than any that is set up.
const (
	oldestMinor = 30
	newestMinor = 37
)

// Run checks that the family keeps the laws of the port and that it renders what its golden files say.
func Run(t *testing.T, s Suite) {
	t.Helper()
	good, broken := s.cases()
	RunCases(t, s, good, broken)
	t.Run("names channels for its format only", s.checkChannels)
	t.Run("answers for every portable setting", s.checkSupport)
	t.Run("writes the same for every Kubernetes", s.checkKubernetes)
	t.Run("drops no portable setting", func(t *testing.T) {
		checkCases(t)
		if dropped := s.Dropped(); len(dropped) > 0 {
			t.Errorf("neither rendered nor refused: %v", dropped)
		}
	})
}

// RunCases checks the same for cases that a family has beside the portable ones. Their golden files need a folder of their
// own.
func RunCases(t *testing.T, s Suite, cases, broken []Case) {
	t.Helper()
	digests := map[string]string{}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			bundle := s.checkLaws(t, c)
			if len(bundle.Data) > 0 {
				s.checkGolden(t, c, bundle.Data)
				digests[c.Name] = digest(bundle.Data)
			}
		})
	}
	t.Run("digests", func(t *testing.T) { s.checkDigests(t, digests) })
	for _, c := range broken {
		t.Run("refuses "+c.Name, func(t *testing.T) { s.checkRefusal(t, c) })
	}
}

// cases are the portable cases and the family's own.
func (s Suite) cases() (good, broken []Case) {
	good, broken = Cases(s.Select), BrokenCases(s.Select)
	for _, c := range s.Own {
		if c.Path == "" {
			good = append(good, c)
		} else {
			broken = append(broken, c)
		}
	}
	return good, broken
}

// checkLaws checks one input and returns its bundle, which is zero where the family refuses the case.
func (s Suite) checkLaws(t *testing.T, c Case) osfamily.Bundle {
	t.Helper()
	before := snapshot(t, c.Input)
	bundle, report := s.Family.Render(c.Input)
	if after := snapshot(t, c.Input); !bytes.Equal(before, after) {
		t.Errorf("Render changed its input\nbefore: %s\nafter:  %s", before, after)
	}
	again, _ := s.Family.Render(c.Input)
	if !bytes.Equal(bundle.Data, again.Data) || bundle.Format != again.Format {
		t.Errorf("Render is not pure: the same input gave %d and %d other bytes", len(bundle.Data), len(again.Data))
	}
	checkNoSecrets(t, report)

	if path, refused := s.refusal(c); refused {
		checkFinding(t, report, path)
		return osfamily.Bundle{}
	}
	if err := report.Err(); err != nil {
		t.Fatalf("a good input was refused (%s): %v", c.Why, err)
	}
	if bundle.Format != s.Format {
		t.Errorf("format is %q, want %q", bundle.Format, s.Format)
	}
	if err := s.Validate(bundle.Data); err != nil {
		t.Errorf("the operating system would refuse the bundle: %v", err)
	}
	if s.SelfUpdateOff != nil {
		if off, want := s.SelfUpdateOff(bundle.Data), c.Input.Config.SelfUpdate != bootstrapv1.SelfUpdateAllowed; off != want {
			t.Errorf("self-update turned off: %t, want %t", off, want)
		}
	}
	return bundle
}

// checkRefusal checks an input that no family can render.
func (s Suite) checkRefusal(t *testing.T, c Case) {
	t.Helper()
	bundle, report := s.Family.Render(c.Input)
	checkFinding(t, report, s.brokenPath(c))
	checkNoSecrets(t, report)
	if len(bundle.Data) > 0 {
		t.Error("a report with an Error came with a bundle that somebody could use by mistake")
	}
}

// brokenPath is where an input that no family can render is refused. A family that makes no control planes need not look at
// one.
func (s Suite) brokenPath(c Case) string {
	base := map[bootstrapv1.Role]string{bootstrapv1.RoleInit: "init", bootstrapv1.RoleControlPlane: "control-plane"}[c.Input.Role]
	if path, refused := s.Refuses[base]; refused {
		return path
	}
	return c.Path
}

func (s Suite) checkChannels(t *testing.T) {
	if len(s.Family.Channels(s.Format)) == 0 {
		t.Errorf("no channel delivers format %q", s.Format)
	}
	for _, channel := range s.Family.Channels(s.Format) {
		if channel.Kind == "" {
			t.Errorf("channel %+v has no kind", channel)
		}
	}
	if channels := s.Family.Channels("no-such-format"); len(channels) > 0 {
		t.Errorf("channels %v are said to deliver an unknown format", channels)
	}
}

// checkKubernetes demands that the golden files hold for every minor release of Kubernetes: a node of another one differs in
// the version, and in nothing else. What the family does not run is refused as such, and not every other one is.
func (s Suite) checkKubernetes(t *testing.T) {
	rendered := 0
	for _, role := range []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane, bootstrapv1.RoleWorker} {
		in := Node(role, s.Select)
		ours := in.Cluster.KubernetesVersion
		bundle, report := s.Family.Render(in)
		if report.Err() != nil {
			continue // the family has no such role
		}
		want, err := s.Readable(bundle.Data)
		if err != nil {
			t.Fatal(err)
		}
		for minor := oldestMinor; minor <= newestMinor; minor++ {
			in.Cluster.KubernetesVersion = fmt.Sprintf("v1.%d.9", minor)
			bundle, report := s.Family.Render(in)
			if report.Err() != nil {
				checkFinding(t, report, "Machine.spec.version")
				continue
			}
			rendered++
			if err := s.Validate(bundle.Data); err != nil {
				t.Errorf("%s %s: the operating system would refuse the bundle: %v", role, in.Cluster.KubernetesVersion, err)
			}
			got, err := s.Readable(bundle.Data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.withoutDigests(want), s.withoutDigests(strings.ReplaceAll(got, in.Cluster.KubernetesVersion, ours))); diff != "" {
				t.Errorf("%s %s differs from %s in more than that (-want +got):\n%s", role, in.Cluster.KubernetesVersion, ours, diff)
			}
		}
	}
	if rendered < 3 {
		t.Errorf("%d nodes of Kubernetes 1.%d to 1.%d are rendered", rendered, oldestMinor, newestMinor)
	}
}

func (s Suite) withoutDigests(text string) string {
	if s.Digests == nil {
		return text
	}
	return s.Digests.ReplaceAllString(text, "digest")
}

// checkFinding demands an Error at path, and that all findings can be read.
func checkFinding(t *testing.T, report osfamily.Report, path string) {
	t.Helper()
	found := false
	for _, finding := range report {
		if finding.Path == "" || finding.Message == "" {
			t.Errorf("finding %+v lacks a path or a message", finding)
		}
		found = found || finding.Severity == osfamily.Error && finding.Path == path
	}
	if !found {
		t.Errorf("no Error at %s in report %q", path, report)
	}
}

// checkNoSecrets demands that no finding quotes what is secret in the portable cases.
func checkNoSecrets(t *testing.T, report osfamily.Report) {
	t.Helper()
	for _, finding := range report {
		for _, secret := range []string{tokenSecret, brokenToken, secretMark} {
			if strings.Contains(finding.String(), secret) {
				t.Errorf("finding at %s quotes a secret", finding.Path)
			}
		}
	}
}

func snapshot(t *testing.T, in osfamily.Input) []byte {
	t.Helper()
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
