// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package ignitionnodetest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/coreos/ignition/v2/config/v3_4"
	"github.com/coreos/ignition/v2/config/v3_4/types"
	"github.com/google/go-cmp/cmp"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
)

// Fuzz feeds the escape hatch nonsense. It must not panic, read a file or ask a server, and whatever it takes must leave
// all that Ingot writes as it is.
func Fuzz(f *testing.F, s Suite) {
	f.Helper()
	trap := osfamilytest.NewTrap(f)
	for _, b := range breaches() {
		f.Add(b.snippet, filesAndUnits, "a", false)
	}
	for _, snippet := range slices.Concat(osfamilytest.ButaneLures(), s.SelfUpdates, []string{
		filesAndUnits, remote, disks,
		"!!binary aGVsbG8=", "? [a, b]\n: c", "\xff\xfe", "%YAML 9.9\n---\na: b", "{<<: {variant: a}}", "storage: {files: [null, {path: null}]}",
	}) {
		f.Add(snippet, "storage: {files: [{path: /opt/a}]}", "kubernetes", true)
	}
	f.Fuzz(func(t *testing.T, first, second, sysext string, selfUpdate bool) {
		in := s.input(t, "init-restore")
		in.Config.Ignition.Butane = []string{trap.Set(first), trap.Set(second)}
		if s.SysextFolder != "" {
			in.Config.Ignition.Sysexts = append(sysexts(), bootstrapv1.Sysext{Name: sysext, URL: "https://example.com/" + sysext, SHA512: hex128})
		}
		if selfUpdate {
			in.Config.SelfUpdate = bootstrapv1.SelfUpdateAllowed
		}
		bundle, report := s.checkNonsense(t, in)
		if who := trap.Sprung(string(bundle.Data), fmt.Sprint(report)); who != "" {
			t.Error(who)
		}
	})
}

func (s Suite) checkNonsense(t *testing.T, in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	t.Helper()
	bundle, report := s.Family.Render(in)
	again, _ := s.Family.Render(in)
	if !bytes.Equal(bundle.Data, again.Data) {
		t.Error("Render is not pure")
	}
	if report.Err() != nil {
		if len(bundle.Data) > 0 {
			t.Error("a report with an Error came with a bundle")
		}
		return bundle, report
	}
	if err := ignition.Validate(bundle.Data); err != nil {
		t.Errorf("Ignition would refuse the bundle: %v", err)
	}
	in.Config.Ignition.Butane = nil
	plain, _ := s.Family.Render(in)
	CheckKept(t, plain.Data, bundle.Data)
	return bundle, report
}

// Benchmark measures how many machine configurations the family renders in a second, with and without additions.
func Benchmark(b *testing.B, s Suite) {
	b.Helper()
	osfamilytest.Benchmark(b, s.Port())
	osfamilytest.BenchmarkCases(b, s.Port(), s.Cases(b))
}

// CheckKept demands that all that a bundle holds is in another one, too, and unchanged.
func CheckKept(t *testing.T, plain, added []byte) {
	t.Helper()
	was, is := parse(t, plain), parse(t, added)
	keep(t, was.Storage.Files, is.Storage.Files)
	keep(t, was.Storage.Directories, is.Storage.Directories)
	keep(t, was.Storage.Links, is.Storage.Links)
	keep(t, was.Systemd.Units, is.Systemd.Units)
	keep(t, was.Ignition.Security.TLS.CertificateAuthorities, is.Ignition.Security.TLS.CertificateAuthorities)
	if diff := cmp.Diff(was.Ignition.Timeouts.HTTPTotal, is.Ignition.Timeouts.HTTPTotal); diff != "" && was.Ignition.Timeouts.HTTPTotal != nil {
		t.Errorf("the patience is not Ingot's (-want +got):\n%s", diff)
	}
}

func keep[T interface{ Key() string }](t *testing.T, was, is []T) {
	t.Helper()
	found := map[string]T{}
	for _, item := range is {
		found[item.Key()] = item
	}
	for _, item := range was {
		if diff := cmp.Diff(item, found[item.Key()]); diff != "" {
			t.Errorf("%s is not as Ingot writes it (-want +got):\n%s", item.Key(), diff)
		}
	}
}

func parse(t *testing.T, data []byte) types.Config {
	t.Helper()
	config, _, err := v3_4.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return config
}
