// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
)

var updateFlag = flag.Bool("update", false, "rewrite the reports in testdata")

// TestReports compares what is printed for the planner's own scenarios with the files in testdata. Run with -update to
// rewrite them, and read the difference.
func TestReports(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{
		"three-settled", "first-machine", "waiting-for-api-server", "rollout-begins-with-backup", "rollout-version", "rollout-delete-first",
		"rollout-backup-failed", "rollout-etcd-unseen", "scale-up", "scale-five-to-three", "remediation", "remediation-too-soon", "two-losses-in-three",
		"leaving-last", "leaving-leader", "member-without-machine", "image-carries-another-kubelet", "join-under-way", "kubeconfig-about-to-expire",
		"interrupted-and-changed", "deleting-machines", "deleting-with-workers", "template-missing",
	} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			report, err := preview.NewReport(scenarioWorld(t, scenario))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, scenario, report)
		})
	}
}

// TestDocumentedReport checks that the output in the documentation is real.
func TestDocumentedReport(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/ingotctl-plan.md", "<!-- golden -->\n```\n", "```\n"
	report, err := preview.NewReport(scenarioWorld(t, "rollout-begins-with-backup"))
	if err != nil {
		t.Fatal(err)
	}
	report.Namespace = "team"
	report.Change = []preview.Proposed{{Object: "IngotMachineTemplate/demo-cp-1", Effect: preview.New}, {Object: "IngotControlPlane/demo-cp", Effect: preview.Changed}}
	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ends := strings.Cut(rest, end)
	if !found || !ends {
		t.Fatalf("%s has no output of ingotctl plan", file)
	}
	compareFile(t, file, []byte(before+begin+text.String()+end+after))
}

func scenarioWorld(t *testing.T, name string) plan.World {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../controlplane/plan/testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	situation, _, _ := strings.Cut(string(content), "=== plan\n")
	var world plan.World
	if err := yaml.UnmarshalStrict([]byte(situation), &world); err != nil {
		t.Fatal(err)
	}
	return world
}

// compare compares both forms of a report with files, and checks what holds for any.
func compare(t *testing.T, name string, report preview.Report) {
	t.Helper()
	var text, data bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if len(line) > 101 {
			t.Errorf("a line is %d characters long: %s", len(line), line)
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(data.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&preview.Report{}); err != nil {
		t.Errorf("the JSON cannot be read back: %v", err)
	}
	compareFile(t, filepath.Join("testdata", name+".txt"), text.Bytes())
	compareFile(t, filepath.Join("testdata", name+".json"), data.Bytes())
}

func compareFile(t *testing.T, file string, got []byte) {
	t.Helper()
	if *updateFlag {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s changed (-want +got):\n%s", file, diff)
	}
}
