// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/preview"
)

// expectPlan asks ingotctl, as a person would, what follows if the control plane gets another image. The machines of these
// tests run no etcd, so the change is held, and so that it is seen that it is.
func (w *world) expectPlan(image string) {
	w.Helper()
	program := filepath.Join(shared.dir, "ingotctl")
	build := exec.CommandContext(w.Context(), "go", "build", "-o", program, "./cmd/ingotctl")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		w.Fatalf("building ingotctl: %v\n%s", err, out)
	}
	before := w.versions()
	change := w.manifests(image, 1, image)
	ask := func(arguments ...string) (out, complaints string, code int) {
		command := exec.CommandContext(w.Context(), program, append([]string{
			"plan", w.cluster, "--kubeconfig", shared.management.Kubeconfig, "--namespace", w.namespace, "--field-manager", "integration",
		}, arguments...)...)
		var stdout, stderr bytes.Buffer
		command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(change), &stdout, &stderr
		var exit *exec.ExitError
		if err := command.Run(); err != nil && !errors.As(err, &exit) {
			w.Fatal(err)
		}
		return stdout.String(), stderr.String(), command.ProcessState.ExitCode()
	}
	if out, complaints, code := ask("--exit-code"); code != 0 || complaints != "" || !strings.Contains(out, "Nothing to do") {
		w.Errorf("nothing is proposed, and the answer is %d %s\n%s", code, complaints, out)
	}
	out, complaints, code := ask("-f", "-", "--exit-code", "-o", "json")
	var report preview.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 2 || complaints != "" {
		w.Fatalf("the answer is %d %s (%v)\n%s", code, complaints, err, out)
	}
	if len(report.Machines) != 1 || report.Machines[0].Outcome != plan.Kept || len(report.Held) != 1 || report.Held[0].Reason != controlplanev1.EtcdUnseenReason || len(report.Unknown) != 1 {
		w.Errorf("the report is %s", out)
	}
	if out, complaints, code := ask("-f", "-"); code != 0 || complaints != "" || !strings.Contains(out, "workers are Cluster API's own") {
		w.Errorf("the answer is %d %s\n%s", code, complaints, out)
	}
	change = bytes.ReplaceAll(change, []byte("replicas: 1"), []byte("replicas: -1"))
	if _, complaints, code := ask("-f", "-"); code != 1 || !strings.Contains(complaints, "IngotControlPlane/"+w.cluster) || !strings.Contains(complaints, "would be refused") {
		w.Errorf("to what admission refuses, the answer is %d %s", code, complaints)
	}
	if after := w.versions(); before != after {
		w.Error("asking has changed something")
	}
}
