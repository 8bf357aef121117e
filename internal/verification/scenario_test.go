// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package verification_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/verification"
)

var update = flag.Bool("update", false, "rewrite the verdicts in testdata")

// separator divides a scenario: what was declared and observed as YAML above it, the verdict below it.
const separator = "=== verdict\n"

// situation is the upper half of a scenario.
type situation struct {
	Declared verification.Declared
	Observed verification.Observed
}

// TestScenarios judges every situation in testdata and compares with the verdict written below it. Each file begins with a
// comment that says why the situation matters. Run with -update to rewrite the verdicts, and read the difference.
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
			above, want, _ := strings.Cut(string(content), separator)
			if !strings.HasPrefix(above, "# ") {
				t.Errorf("%s must begin with a comment that says why the situation matters", file)
			}
			var s situation
			if err := yaml.UnmarshalStrict([]byte(above), &s); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			v := verification.Judge(s.Declared, s.Observed)
			got := fmt.Sprintf("%s %s\n%s\n", v.Status, v.Reason, v.Message)
			if *update {
				if err := os.WriteFile(file, []byte(above+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the verdict changed (-want +got):\n%s", diff)
			}
		})
	}
}
