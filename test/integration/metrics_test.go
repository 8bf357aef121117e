// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// expectMetrics checks that the manager exports everything that docs/metrics.md describes, now that it has made machines,
// and that it counted what it did.
func (w *world) expectMetrics() {
	w.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	exported := map[string]*dto.MetricFamily{}
	for _, family := range families {
		exported[family.GetName()] = family
	}
	exempt := []string{
		// The platform of this suite lives in the memory of the process: there is nothing to exchange with it. The tests of
		// the session registry and of the libvirt adapter show that exchanges are told.
		"ingot_platform_rpcs_total", "ingot_platform_rpc_duration_seconds",
		// Every machine is there: see ageTold.
		"ingot_machine_unfinished_age_seconds",
	}
	for _, name := range w.described() {
		if exported[name] == nil && !slices.Contains(exempt, name) {
			w.Errorf("docs/metrics.md describes %s, and the manager does not export it", name)
		}
	}
	for series, want := range map[string]float64{
		fmt.Sprintf(`ingot_machines{endpoint=%q,state="Ready"}`, w.cluster):        2,
		fmt.Sprintf(`ingot_machine_images{endpoint=%q,state="Parsed"}`, w.cluster): 2,
		fmt.Sprintf(`ingot_endpoint_up{endpoint=%q}`, w.cluster):                   1,
		fmt.Sprintf(`ingot_endpoint_placed_cpus{endpoint=%q}`, w.cluster):          4,
		fmt.Sprintf(`ingot_image_replicas{endpoint=%q,state="Ready"}`, w.cluster):  1,
		fmt.Sprintf(`ingot_creates_in_flight{endpoint=%q}`, w.cluster):             0,
		fmt.Sprintf(`ingot_create_wait_seconds{endpoint=%q}`, w.cluster):           2,
		`ingot_machine_phase_duration_seconds{phase="instance"}`:                   2,
		`ingot_machine_phase_duration_seconds{phase="join"}`:                       2,
		`ingot_machine_phase_duration_seconds{phase="total"}`:                      2,
	} {
		if got, is := value(exported, series); !is || got != want {
			w.Errorf("%s is %v (told: %t), want %v", series, got, is, want)
		}
	}
	w.expectWatchedControllers(exported)
}

// ageTold says what is wrong with the age of a machine that is being made.
func (w *world) ageTold() string {
	w.Helper()
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "ingot_machine_unfinished_age_seconds" && family.GetMetric()[0].GetGauge().GetValue() > 0 {
			return ""
		}
	}
	return "it is not told"
}

// described are the metrics of docs/metrics.md.
func (w *world) described() []string {
	w.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (?:gauge|counter|histogram) ").FindAllStringSubmatch(string(text), -1) {
		names = append(names, row[1])
	}
	if len(names) < 20 {
		w.Fatalf("docs/metrics.md is not read as it is written: it describes %v", names)
	}
	return names
}

// expectWatchedControllers checks that the alert on failing passes knows the controllers by their names.
func (w *world) expectWatchedControllers(exported map[string]*dto.MetricFamily) {
	w.Helper()
	alerts, err := os.ReadFile("../../config/monitoring/alerts.yaml")
	if err != nil {
		w.Fatal(err)
	}
	match := regexp.MustCompile(`controller=~"([^"]+)"`).FindSubmatch(alerts)
	if match == nil {
		w.Fatal("no alert selects controllers")
	}
	watched := regexp.MustCompile("^(" + string(match[1]) + ")$")
	var ours, missed []string
	for _, m := range exported["controller_runtime_reconcile_total"].GetMetric() {
		name := m.GetLabel()[0].GetValue()
		switch {
		case watched.MatchString(name):
			ours = append(ours, name)
		case name != "clustercache": // Cluster API's own, which its managers have too
			missed = append(missed, name)
		}
	}
	for _, name := range []string{"ingotcluster", "ingotmachine", "nodeimage", "imagereplica", "platformendpoint", "ingotconfig", "ingotcontrolplane"} {
		if !slices.Contains(ours, name) {
			w.Errorf("no controller is called %s: there are %v", name, ours)
		}
	}
	if len(missed) > 0 {
		w.Errorf("no alert watches the controllers %v", missed)
	}
}

// value is the value of a series; of a histogram it is how often something was observed.
func value(exported map[string]*dto.MetricFamily, series string) (float64, bool) {
	name, wanted, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	for _, m := range exported[name].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		if strings.Join(labels, ",") == wanted {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}
