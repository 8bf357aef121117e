// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// separator divides a scenario: the world as YAML above it, the plan below it.
const separator = "=== plan\n"

// TestScenarios plans for every world in testdata and compares with the plan written below it. Each file begins with a
// comment that says why the situation matters. Run with -update to rewrite the plans, and read the difference.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			situation, want, found := strings.Cut(string(content), separator)
			if !found && !update() {
				t.Fatalf("%s has no line %q", file, strings.TrimSpace(separator))
			}
			if !strings.HasPrefix(situation, "# ") {
				t.Errorf("%s must begin with a comment that says why the situation matters", file)
			}
			var world plan.World
			if err := yaml.UnmarshalStrict([]byte(situation), &world); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			got := write(plan.Make(world))
			if update() {
				if err := os.WriteFile(file, []byte(situation+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the plan changed (-want +got):\n%s", diff)
			}
		})
	}
}

func write(p plan.Plan) string {
	var b strings.Builder
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	for _, held := range p.Held {
		fmt.Fprintf(&b, "held: %s: %s\n", held.Reason, held.Message)
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

var updateFlag = flag.Bool("update", false, "rewrite the plans in testdata")

func update() bool { return *updateFlag }
