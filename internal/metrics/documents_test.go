// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/metrics.md")

// document is where every metric is described. The check of alerts and dashboard (test/monitoring) reads it too: what is
// not exported is not in it, and what is not in it cannot be used there.
const document = "../../docs/metrics.md"

// borrowed are the metrics of controller-runtime that alerts and dashboard use.
func borrowed() []string {
	return []string{
		"controller_runtime_reconcile_errors_total", "controller_runtime_reconcile_time_seconds", "controller_runtime_reconcile_total",
		"process_resident_memory_bytes", "workqueue_depth", "workqueue_longest_running_processor_seconds", "workqueue_queue_duration_seconds",
	}
}

// The tables of docs/metrics.md are what a registry with everything in it exports: no metric without a description, no
// description without a metric. Rewrite them with go test ./internal/metrics -update.
func TestTheDocumentIsWhatIsExported(t *testing.T) {
	unregister, err := measured(t).Register(ctrlmetrics.Registry)
	if err != nil {
		t.Fatal(err)
	}
	defer unregister()
	runController(t)
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := rows(families, func(name string) bool { return strings.HasPrefix(name, "ingot_") })
	if described := describe(measured(t)); len(own) != described {
		t.Fatalf("%d metrics are exported and %d described: measured must count everything once", len(own), described)
	}
	others := rows(families, func(name string) bool { return slices.Contains(borrowed(), name) })
	if len(others) != len(borrowed()) {
		t.Errorf("of %q only these are exported:\n%s", borrowed(), strings.Join(others, ""))
	}
	head := "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
	tables := map[string]string{
		"ingot":              head + strings.Join(own, ""),
		"controller-runtime": head + strings.Join(others, ""),
		"values":             values(),
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		begin, end := fmt.Sprintf("<!-- %s: written by go test ./internal/metrics -update -->\n", name), "<!-- end -->\n"
		before, rest, found := strings.Cut(string(text), begin)
		old, after, ends := strings.Cut(rest, end)
		if !found || !ends {
			t.Fatalf("%s has no table %q", document, name)
		}
		if old != tables[name] && !*update {
			t.Errorf("table %q of %s is not what is exported; rewrite it with -update. Exported is:\n%s", name, document, tables[name])
		}
		text = []byte(before + begin + tables[name] + end + after)
	}
	if *update {
		if err := os.WriteFile(document, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// values are the values of labels that have a fixed set of them.
func values() string {
	table := &strings.Builder{}
	table.WriteString("| Label | Metrics | Values |\n|---|---|---|\n")
	for _, row := range []struct {
		label, of string
		values    []string
	}{
		{"state", "ingot_machine", metrics.MachineStates()},
		{"state", "ingot_machine_images", metrics.ImageStates()},
		{"state", "ingot_image_replica", metrics.ReplicaStates()},
		{"phase", "ingot_machine_phase", metrics.Phases()},
		{"result", "ingot_platform", metrics.Results()},
	} {
		fmt.Fprintf(table, "| `%s` | `%s*` | `%s` |\n", row.label, row.of, strings.Join(row.values, "` `"))
	}
	return table.String()
}

// rows are the rows of a table of metrics.
func rows(families []*dto.MetricFamily, wanted func(name string) bool) []string {
	var table []string
	for _, f := range families {
		if !wanted(f.GetName()) {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		table = append(table, fmt.Sprintf("| `%s` | %s | %s | %s |\n",
			f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp()))
	}
	return table
}

// describe is how many metrics there are.
func describe(m *metrics.Metrics) int {
	descriptions := make(chan *prometheus.Desc, 100)
	m.Describe(descriptions)
	return len(descriptions)
}

// runController runs a controller over one object, so that what controller-runtime counts is there.
func runController(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	skip := true
	c, err := controller.NewTypedUnmanaged("documented", controller.TypedOptions[reconcile.Request]{
		SkipNameValidation: &skip,
		Reconciler: reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
			close(done)
			return reconcile.Result{}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Watch(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(reconcile.Request{})
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = c.Start(t.Context()) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the controller does not run")
	}
}

// exposition is what a registry exports, sample by sample, in order.
func exposition(t *testing.T, gatherer prometheus.Gatherer) string {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				name, value = name+"_count", float64(h.GetSampleCount())
			}
			fmt.Fprintf(&out, "%s{%s} %v\n", name, strings.Join(labels, ","), value)
		}
	}
	return out.String()
}

// Who applies config/monitoring gets the alerts and the dashboard as they are in the folder.
func TestMonitoringIsKustomizable(t *testing.T) {
	const folder = "../../config/monitoring"
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range built.Resources() {
		if r.GetKind() != "ConfigMap" {
			continue
		}
		config, text := &corev1.ConfigMap{}, &bytes.Buffer{}
		asJSON, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(asJSON, config); err != nil {
			t.Fatal(err)
		}
		for file, content := range config.Data {
			text.WriteString(content)
			found[config.Name+"/"+file] = text.String()
		}
	}
	for key, file := range map[string]string{"ingot-alerts/ingot.rules.yaml": "alerts.yaml", "ingot-dashboard/ingot.json": "dashboard.json"} {
		want, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if found[key] != string(want) {
			t.Errorf("ConfigMap and key %s do not hold %s as it is", key, file)
		}
	}
}
