// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package components

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// The table and the go.mod files say the same thing twice (one for people and flags, one for the go command). If they
// drift apart, a program reports a version that it does not have.
func TestTableAgreesWithPinnedModules(t *testing.T) {
	repo, err := FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range everyGroup() {
		t.Run(g.dir, func(t *testing.T) {
			requireAgreement(t, g, readGoMod(t, filepath.Join(repo, "hack", "components", g.dir, "go.mod")))
		})
	}
}

func requireAgreement(t *testing.T, g group, mod *modfile.File) {
	t.Helper()
	if got := requiredVersion(mod, g.module); got != g.version {
		t.Errorf("go.mod requires %s %q, the table says %q", g.module, got, g.version)
	}
	var tools []string
	for _, tool := range mod.Tool {
		tools = append(tools, tool.Path)
	}
	slices.Sort(tools)
	programs := slices.Sorted(maps.Values(g.programs))
	if !slices.Equal(tools, programs) {
		t.Errorf("tool directives %v\nare not the programs %v", tools, programs)
	}
	for _, pkg := range programs {
		if pkg != g.module && !strings.HasPrefix(pkg, g.module+"/") {
			t.Errorf("package %s is not in module %s", pkg, g.module)
		}
	}
}

func TestEveryGroupOnDiskIsInTheTable(t *testing.T) {
	repo, err := FindRepo("")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(repo, "hack", "components"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, g := range everyGroup() {
		known[g.dir] = true
	}
	for _, e := range entries {
		if e.IsDir() && !known[e.Name()] {
			t.Errorf("hack/components/%s is not in the table; add it or delete the folder", e.Name())
		}
	}
}

// Two programs of one name would overwrite each other in the map that Build returns, two outputs of one name in the
// scratch folder.
func TestNamesAreUnique(t *testing.T) {
	names := Names()
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("a program name appears twice: %v", names)
	}
	for _, g := range everyGroup() {
		outputs := map[string]string{}
		for name, pkg := range g.programs {
			if other, ok := outputs[outputName(pkg)]; ok {
				t.Errorf("%s: %s and %s are both written to %q", g.dir, name, other, outputName(pkg))
			}
			outputs[outputName(pkg)] = name
		}
	}
}

func TestOutputNameFollowsTheGoCommand(t *testing.T) {
	for pkg, want := range map[string]string{
		"go.etcd.io/etcd/server/v3":                "server",
		"github.com/coreos/ignition/v2/internal":   "internal",
		"k8s.io/kubernetes/cmd/kubelet":            "kubelet",
		"github.com/containerd/containerd/v2/vmrt": "vmrt",
	} {
		if got := outputName(pkg); got != want {
			t.Errorf("outputName(%q) = %q, want %q", pkg, got, want)
		}
	}
}

func readGoMod(t *testing.T, path string) *modfile.File {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse(path, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

func requiredVersion(mod *modfile.File, module string) string {
	for _, r := range mod.Require {
		if r.Mod.Path == module {
			return r.Mod.Version
		}
	}
	return ""
}

// everyGroup is the table with every version of Kubernetes.
func everyGroup() []group {
	return append(groups(KubernetesVersion), groups(NextKubernetesVersion)[0])
}
