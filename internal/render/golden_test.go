// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/render"
)

// update is whether the reports in testdata and in the documentation are rewritten. The flag is that of osfamilytest.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

func reportOf(t *testing.T, file string) render.Report {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := preview.ReadChange(bytes.NewReader(content), "")
	if err != nil {
		t.Fatal(err)
	}
	report, err := render.FromManifests(controller.Preview{Families: registry.Families()}, objects)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestReports compares what is printed for files with the files beside them. Run with -update to rewrite them, and read the
// difference.
func TestReports(t *testing.T) {
	t.Parallel()
	for file, broken := range map[string]bool{"cluster": false, "broken": true} {
		report := reportOf(t, file+".yaml")
		var text, data bytes.Buffer
		if err := report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if err := report.WriteJSON(&data); err != nil {
			t.Fatal(err)
		}
		compare(t, filepath.Join("testdata", file+".txt"), text.String())
		compare(t, filepath.Join("testdata", file+".json"), data.String())
		if err := report.Err(); (err != nil) != broken {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestDocumentedReport checks that the output in the documentation is real. The masked units are left out of it.
func TestDocumentedReport(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/ingotctl-render.md", "<!-- golden -->\n```\n", "```\n"
	report, err := reportOf(t, "cluster.yaml").Only("MachineDeployment/demo-md-0")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	shown, _, _ := strings.Cut(text.String(), "\n==> masked units:")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ends := strings.Cut(rest, end)
	if !found || !ends {
		t.Fatalf("%s has no output of ingotctl render", file)
	}
	compare(t, file, before+begin+shown+end+after)
}

// TestTPM: config and machine are two objects that no admission sees together. In a file they are.
func TestTPM(t *testing.T) {
	t.Parallel()
	for trustedBoot, works := range map[string]bool{"": false, "      trustedBoot: {virtualTPM: false}\n": false, "      trustedBoot: {virtualTPM: true}\n": true} {
		content, err := os.ReadFile(filepath.Join("testdata", "cluster.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		manifests := strings.Replace(string(content), "cloudInit: {}", "ignition: {variant: Flatcar}\n      diskEncryption: {key: TPM2}", 1) + `---
apiVersion: infrastructure.cluster.x-k8s.io/v1alpha1
kind: IngotMachineTemplate
metadata: {name: demo-md-0}
spec:
  template:
    spec:
      platform: {libvirt: {endpointName: host}}
` + trustedBoot
		objects, err := preview.ReadChange(strings.NewReader(manifests), "")
		if err != nil {
			t.Fatal(err)
		}
		report, err := render.FromManifests(controller.Preview{Families: registry.Families()}, objects)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := report.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if found := strings.Contains(text.String(), "the machine has no TPM"); found == works || (report.Err() == nil) != works {
			t.Errorf("with %q: found %t, %v", trustedBoot, found, report.Err())
		}
	}
}

// TestRaw: bytes of two machines in one stream are those of none.
func TestRaw(t *testing.T) {
	t.Parallel()
	report := reportOf(t, "cluster.yaml")
	var out bytes.Buffer
	if err := report.WriteRaw(&out); err == nil || out.Len() > 0 {
		t.Errorf("%d bytes of several configurations were written (%v)", out.Len(), err)
	}
	one, err := report.Only("IngotControlPlane/demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := one.WithRole("Init").WriteRaw(&out); err != nil || !bytes.HasPrefix(out.Bytes(), []byte(`{"ignition":`)) {
		t.Errorf("%v: %s", err, out.Bytes())
	}
	if _, err := report.Only("IngotConfigTemplate/other"); err == nil {
		t.Error("what is not there was found")
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if update() {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s changed (-want +got):\n%s", file, diff)
	}
}
