// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeadmtest

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
)

// Timeout is how long one program may take.
const Timeout = time.Minute

// Programs maps the name of a program to its path.
type Programs map[string]string

// RealPrograms builds programs of the node that are missing. The test fails where it cannot: skipped, it would prove
// nothing.
func RealPrograms(t *testing.T, names ...string) Programs {
	t.Helper()
	builder, err := components.FromEnvironment(func(line string) { t.Log(line) })
	if err != nil {
		t.Fatalf("this test needs the programs of the node: %v", err)
	}
	paths, err := builder.Build(t.Context(), names...)
	if err != nil {
		t.Fatalf("this test needs the real %s, and they cannot be built: %v", strings.Join(names, " and "), err)
	}
	return paths
}

// Run runs a program that must succeed, and returns what it printed.
func (p Programs) Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p[name], args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
