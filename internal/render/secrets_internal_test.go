// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"encoding/base64"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/talossecrets"
)

// selectFamily sets the operating system block of a family, which a distribution divides where there is one.
func selectFamily(t *testing.T, name ingotv1.OSFamily, distribution bootstrapv1.KairosDistribution) func(*bootstrapv1.IngotConfigSpec) {
	t.Helper()
	blocks := map[ingotv1.OSFamily]func(*bootstrapv1.IngotConfigSpec){
		ingotv1.OSFamilyGeneric:   func(s *bootstrapv1.IngotConfigSpec) { s.Ignition.Variant = bootstrapv1.IgnitionVariantGeneric },
		ingotv1.OSFamilyCloudInit: func(s *bootstrapv1.IngotConfigSpec) { s.CloudInit = &bootstrapv1.CloudInitConfig{} },
		ingotv1.OSFamilyFlatcar:   func(s *bootstrapv1.IngotConfigSpec) { s.Ignition.Variant = bootstrapv1.IgnitionVariantFlatcar },
		ingotv1.OSFamilyFedoraCoreOS: func(s *bootstrapv1.IngotConfigSpec) {
			s.Ignition.Variant = bootstrapv1.IgnitionVariantFedoraCoreOS
		},
		ingotv1.OSFamilyBottlerocket: func(s *bootstrapv1.IngotConfigSpec) {
			s.Bottlerocket = &bootstrapv1.BottlerocketConfig{Release: "1.50"}
		},
		ingotv1.OSFamilyTalos:  func(s *bootstrapv1.IngotConfigSpec) { s.Talos = &bootstrapv1.TalosConfig{Contract: "1.14"} },
		ingotv1.OSFamilyKairos: func(s *bootstrapv1.IngotConfigSpec) { s.Kairos.Distribution = distribution },
	}
	block, known := blocks[name]
	if !known {
		t.Fatalf("say here which block chooses family %s", name)
	}
	return block
}

// secretsOf are all values of an input that nobody may see, and parts of them.
func secretsOf(in osfamily.Input) []string {
	id, secret, _ := strings.Cut(in.Join.Token, ".")
	secrets := []string{id, secret}
	if in.Config.Talos == nil { // its machinery reads keys, so those that everybody knows stand for them
		secrets = append(secrets, "PRIVATE")
	}
	secrets = append(secrets, in.Join.CACertHashes...)
	if c := in.Certificates; c != nil {
		for _, pair := range []osfamily.KeyPair{c.ClusterCA, c.EtcdCA, c.FrontProxyCA, c.ServiceAccount} {
			secrets = append(secrets, strings.TrimSpace(string(pair.Key)), strings.TrimSpace(string(pair.Cert)))
		}
	}
	if in.Talos != nil {
		for key, value := range in.Talos.Data() {
			if key != talossecrets.CACertKey && key != talossecrets.ClusterIDKey {
				secrets = append(secrets, strings.TrimSpace(string(value)))
			}
		}
	}
	if in.Restore != nil {
		for _, f := range in.Restore.Files {
			secrets = append(secrets, f.URL, f.SHA512)
		}
	}
	for _, keys := range in.Secrets {
		for _, value := range keys {
			secrets = append(secrets, string(value))
		}
	}
	return secrets
}

// leaks are the secrets that a text holds, as they are or in base64, whatever stands before them.
func leaks(text string, secrets []string) []string {
	var found []string
	for _, secret := range secrets {
		forms := []string{secret}
		for before := range 3 {
			// What is encoded together with its neighbours is cut off at both ends.
			encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			if len(encoded) > 12 {
				forms = append(forms, encoded[4:len(encoded)-4])
			}
		}
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
			found = append(found, secret)
		}
	}
	return found
}

// outputs are what is printed of a rendering, in every form.
func outputs(t *testing.T, r controller.Rendering) string {
	t.Helper()
	report := Report{FormatVersion: FormatVersion, Machines: []Machine{newMachine("Machine/any", "team", r, nil)}}
	var out bytes.Buffer
	for _, write := range []func(io.Writer) error{report.WriteText, report.WriteJSON} {
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Bundle.Data) > 0 {
		if err := report.WriteRaw(&out); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// TestNoSecretIsShown renders every portable case of every family as ingotctl render does, and searches everything that is
// printed for everything that is secret in it. What is shown with secrets holds them, or the search would prove nothing.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	for name, family := range registry.Families() {
		cases := casesOf(t, name, bootstrapv1.KairosDistributionK3s)
		if name == ingotv1.OSFamilyKairos {
			cases = append(cases, casesOf(t, name, bootstrapv1.KairosDistributionKubeadm)...)
		}
		for _, c := range cases {
			t.Run(string(name)+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				secrets := secretsOf(c.Input)
				secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
				hidden := controller.Rendering{Role: c.Input.Role, Family: family}
				hidden.Bundle, hidden.Report = family.Render(osfamily.WithPlaceholders(c.Input))
				if found := leaks(outputs(t, hidden), secrets); len(found) > 0 {
					t.Errorf("%d secrets are shown", len(found))
				}
				shown := controller.Rendering{Role: c.Input.Role, Family: family}
				shown.Bundle, shown.Report = family.Render(c.Input)
				if len(shown.Bundle.Data) == 0 {
					return
				}
				if len(hidden.Bundle.Data) == 0 {
					t.Errorf("placeholders are refused: %v", hidden.Report)
				}
				if len(leaks(outputs(t, shown), secrets)) == 0 {
					t.Error("the search finds nothing in what holds every secret")
				}
			})
		}
	}
}

// casesOf are the portable cases of a family, good and bad.
func casesOf(t *testing.T, name ingotv1.OSFamily, distribution bootstrapv1.KairosDistribution) []osfamilytest.Case {
	t.Helper()
	block := selectFamily(t, name, distribution)
	return slices.Concat(osfamilytest.Cases(block), osfamilytest.BrokenCases(block))
}

// TestEveryFieldOfTheInputIsJudged fails when a family is given something new, until somebody has decided whether it is
// secret: what is must have a placeholder in osfamily.WithPlaceholders, and be in secretsOf.
func TestEveryFieldOfTheInputIsJudged(t *testing.T) {
	t.Parallel()
	judged := []string{
		"Cluster", "Machine", "Image", "Role", "Config", // told by objects that all may read who may read the config
		"Certificates", "Talos", "Join", "Restore", "Secrets", // secret
	}
	for field := range reflect.TypeFor[osfamily.Input]().Fields() {
		if !slices.Contains(judged, field.Name) {
			t.Errorf("osfamily.Input.%s is new: is it secret?", field.Name)
		}
	}
}
