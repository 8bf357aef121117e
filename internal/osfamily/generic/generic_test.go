// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package generic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/generic"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

func suite() osfamilytest.Suite {
	return osfamilytest.Suite{
		Family:        generic.New(),
		Format:        ingotv1.BootstrapFormatIgnition,
		Select:        selectGeneric,
		Validate:      ignition.Validate,
		Readable:      readable,
		SelfUpdateOff: selfUpdateOff,
		Testdata:      "testdata",
	}
}

func selectGeneric(spec *bootstrapv1.IngotConfigSpec) {
	spec.Ignition.Variant = bootstrapv1.IgnitionVariantGeneric
}

func TestConformance(t *testing.T) { osfamilytest.Run(t, suite()) }

func FuzzRender(f *testing.F) { osfamilytest.Fuzz(f, suite()) }

// readable writes files and units as a person would look at them on the machine. Masked units are one line.
func readable(data []byte) (string, error) {
	config, err := ignition.Decode(data)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if config.FetchTimeout > 0 {
		fmt.Fprintf(&out, "\n==> gives up fetching a file after %s\n", config.FetchTimeout)
	}
	for _, bundle := range config.Authorities {
		fmt.Fprintf(&out, "\n==> trusts for what it fetches\n%s", bundle)
	}
	for _, folder := range config.Folders {
		fmt.Fprintf(&out, "\n==> folder %s %04o\n", folder.Path, folder.Mode)
	}
	for _, file := range config.Files {
		kind := "file"
		if file.Append {
			kind = "append to"
		}
		fmt.Fprintf(&out, "\n==> %s %s %04o\n%s", kind, file.Path, file.Mode, file.Data)
		if file.Remote != (ignition.Remote{}) {
			fmt.Fprintf(&out, "from %s\nsha512 %s\n", file.Remote.URL, file.Remote.SHA512)
		}
	}
	var masked []string
	for _, unit := range config.Units {
		if unit.Masked {
			masked = append(masked, unit.Name)
			continue
		}
		fmt.Fprintf(&out, "\n==> unit %s enabled=%t\n%s", unit.Name, unit.Enabled, unit.Contents)
		for name, dropin := range unit.Dropins {
			fmt.Fprintf(&out, "--- drop-in %s\n%s", name, dropin)
		}
	}
	fmt.Fprintf(&out, "\n==> masked units: %s\n", strings.Join(masked, " "))
	return out.String(), nil
}

// selfUpdateOff asks for one unit of each world that the guard rails cover.
func selfUpdateOff(data []byte) bool {
	config, err := ignition.Decode(data)
	if err != nil {
		return false
	}
	for _, name := range []string{"systemd-sysupdate.timer", "apt-daily-upgrade.timer", "zincati.service", "update-engine.service", "bootc-fetch-apply-updates.timer"} {
		if !slices.ContainsFunc(config.Units, func(u ignition.Unit) bool { return u.Name == name && u.Masked }) {
			return false
		}
	}
	return true
}

// Units end up world-readable on the node and their output on a console that the platform keeps: neither may hold what
// lets a machine join.
func TestNothingSecretOutsideProtectedFiles(t *testing.T) {
	for _, c := range osfamilytest.Cases(selectGeneric) {
		t.Run(c.Name, func(t *testing.T) {
			bundle, report := generic.New().Render(c.Input)
			if err := report.Err(); err != nil {
				t.Fatal(err)
			}
			config, err := ignition.Decode(bundle.Data)
			if err != nil {
				t.Fatal(err)
			}
			_, secret, _ := strings.Cut(c.Input.Join.Token, ".")
			for _, file := range config.Files {
				if file.Mode&0o077 == 0 {
					continue
				}
				if strings.Contains(string(file.Data), secret) || strings.Contains(string(file.Data), "PRIVATE") {
					t.Errorf("%s holds a secret and has mode %04o", file.Path, file.Mode)
				}
			}
			for _, unit := range config.Units {
				if strings.Contains(fmt.Sprint(unit), secret) {
					t.Errorf("unit %s holds the token", unit.Name)
				}
			}
		})
	}
}

// Both ways of kubeadm to print a token stay shut, whatever phases the user skips.
func TestInitNeverPrintsItsToken(t *testing.T) {
	for _, c := range osfamilytest.Cases(selectGeneric) {
		if c.Input.Role != bootstrapv1.RoleInit {
			continue
		}
		bundle, _ := generic.New().Render(c.Input)
		text, err := readable(bundle.Data)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "- show-join-command\n") || !strings.Contains(text, "/usr/bin/kubeadm init --config /etc/ingot/kubeadm.yaml --skip-token-print\n") {
			t.Errorf("%s: kubeadm init would print its token", c.Name)
		}
	}
}
