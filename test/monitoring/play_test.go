// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// TestAlertsFire plays every alert: series with a sample a minute, and what fires at a time. Series are written as promtool
// writes them: 0x5 is six times 0, 0+2x5 is 0, 2, 4 to 10.
func TestAlertsFire(t *testing.T) {
	rules := map[string]rulefmt.Rule{}
	for _, rule := range readRules(t) {
		rules[rule.Alert] = rule
	}
	quiet, fired := map[string]bool{}, map[string]bool{}
	for _, c := range []struct {
		alert, why string
		series     []string
		at         time.Duration
		firing     string
	}{
		{"IngotNotWatched", "a fleet without machines is watched", []string{`ingot_machines{endpoint="",state="Pending"} 0x60`}, 30 * time.Minute, ""},
		{"IngotNotWatched", "a restart is not worth a night", []string{`ingot_machines{state="Pending"} 0x10 _x8 0x60`}, 22 * time.Minute, ""},
		{"IngotNotWatched", "nobody tells anything", []string{`ingot_machines{state="Pending"} 0x10`}, 30 * time.Minute, `{severity="critical"}`},

		{"IngotEndpointDown", "the endpoint answers", []string{`ingot_endpoint_up{endpoint="a"} 1x20`}, 20 * time.Minute, ""},
		{"IngotEndpointDown", "a reboot of the network is over soon", []string{`ingot_endpoint_up{endpoint="a"} 1x5 0x3 1x20`}, 10 * time.Minute, ""},
		{
			"IngotEndpointDown", "one of two is down, and the manager moved to another pod meanwhile",
			[]string{
				`ingot_endpoint_up{endpoint="a",pod="x"} 1x20`, `ingot_endpoint_up{endpoint="b",pod="x"} 0x3 _x17`, `ingot_endpoint_up{endpoint="b",pod="y"} _x4 0x16`,
			},
			6 * time.Minute, `{endpoint="b", severity="critical"}`,
		},

		{
			"IngotEndpointAlmostFull", "there is room",
			[]string{
				`ingot_endpoint_placed_memory_bytes{endpoint="a"} 80x30`, `ingot_endpoint_capacity_memory_bytes{endpoint="a"} 100x30`,
			},
			30 * time.Minute, "",
		},
		{
			"IngotEndpointAlmostFull", "less than a tenth is left; of b nobody knows what it has",
			[]string{
				`ingot_endpoint_placed_memory_bytes{endpoint="a"} 91x30`, `ingot_endpoint_capacity_memory_bytes{endpoint="a"} 100x30`,
				`ingot_endpoint_placed_memory_bytes{endpoint="b"} 91x30`,
			},
			30 * time.Minute, `{endpoint="a", severity="warning"}`,
		},

		{
			"IngotMachineStuck", "many machines come and go, and none is old",
			[]string{
				`ingot_machine_unfinished_age_seconds{endpoint="a",state="Creating"} 300x60`, `ingot_machine_unfinished_age_seconds{endpoint="a",state="Deleting"} 3000x60`,
			},
			60 * time.Minute, "",
		},
		{
			"IngotMachineStuck", "one machine gets no older than the others, but older than it should",
			[]string{
				`ingot_machine_unfinished_age_seconds{endpoint="a",state="Booting"} 0+60x20`, `ingot_machine_unfinished_age_seconds{state="Refused"} 0+60x20`,
			},
			18 * time.Minute, `{endpoint="a", severity="warning", state="Booting"} {severity="warning", state="Refused"}`,
		},

		{"IngotMachineDeletionStuck", "a guest has an hour to shut down", []string{`ingot_machine_unfinished_age_seconds{endpoint="a",state="Deleting"} 0+60x58`}, 58 * time.Minute, ""},
		{
			"IngotMachineDeletionStuck", "this one does not go",
			[]string{`ingot_machine_unfinished_age_seconds{endpoint="a",state="Deleting"} 0+60x90`},
			80 * time.Minute, `{endpoint="a", severity="warning"}`,
		},

		{"IngotMachineLost", "all run", []string{`ingot_machines{endpoint="a",state="Gone"} 0x9`, `ingot_machines{endpoint="a",state="Ready"} 9x9`}, 9 * time.Minute, ""},
		{
			"IngotMachineLost", "one is gone, and two stopped",
			[]string{`ingot_machines{endpoint="a",state="Gone"} 1x9`, `ingot_machines{endpoint="a",state="Stopped"} 2x9`},
			9 * time.Minute, `{endpoint="a", severity="critical", state="Gone"} {endpoint="a", severity="critical", state="Stopped"}`,
		},

		{"IngotForeignInstance", "all is ours", []string{`ingot_machines{endpoint="a",state="Foreign"} 0x9`}, 9 * time.Minute, ""},
		{"IngotForeignInstance", "something is not", []string{`ingot_machines{endpoint="a",state="Foreign"} 1x9`}, 9 * time.Minute, `{endpoint="a", severity="critical"}`},

		{"IngotOrphans", "what is found is collected soon", []string{`ingot_orphans{endpoint="a"} 0x5 2x20 0x60`}, 60 * time.Minute, ""},
		{"IngotOrphans", "nobody removes them", []string{`ingot_orphans{endpoint="a"} 2x60`}, 40 * time.Minute, `{endpoint="a", severity="warning"}`},

		{"IngotImageMismatch", "a kubelet that reports late", []string{`ingot_machine_images{endpoint="a",state="Mismatch"} 1x2 0x60`}, 10 * time.Minute, ""},
		{
			"IngotImageMismatch", "a machine was changed in place",
			[]string{`ingot_machine_images{endpoint="a",state="Mismatch"} 0x5 2x60`, `ingot_machine_images{endpoint="a",state="Parsed"} 9x60`},
			20 * time.Minute, `{endpoint="a", severity="warning"}`,
		},

		{"IngotImageReplicaFailing", "a source that came back", []string{`ingot_image_replicas{endpoint="a",state="Failed"} 1x5 0x60`}, 12 * time.Minute, ""},
		{
			"IngotImageReplicaFailing", "a source that is gone",
			[]string{`ingot_image_replicas{endpoint="a",state="Failed"} 1x60`, `ingot_image_replicas{endpoint="a",state="Copying"} 1x60`},
			12 * time.Minute, `{endpoint="a", severity="warning"}`,
		},

		{
			"IngotPlatformErrors", "some calls fail among many, and answers with a name are no failures",
			[]string{
				`ingot_platform_calls_total{endpoint="a",verb="Observe",result="ok"} 0+60x60`, `ingot_platform_calls_total{endpoint="a",verb="Observe",result="unreachable"} 0+6x60`,
				`ingot_platform_calls_total{endpoint="b",verb="EnsureImage",result="capacity"} 0+60x60`,
			},
			60 * time.Minute, "",
		},
		{
			"IngotPlatformErrors", "two calls in an hour tell nothing",
			[]string{`ingot_platform_calls_total{endpoint="a",verb="Check",result="error"} 0x30 1x30 2x30`},
			70 * time.Minute, "",
		},
		{
			"IngotPlatformErrors", "every second call fails",
			[]string{
				`ingot_platform_calls_total{endpoint="a",verb="Observe",result="ok"} 0+6x60`, `ingot_platform_calls_total{endpoint="a",verb="Ensure",result="error"} 0+6x60`,
			},
			30 * time.Minute, `{endpoint="a", severity="warning"}`,
		},

		{"IngotCreateQueueStalled", "turns come", []string{`ingot_create_longest_wait_seconds{endpoint="a"} 120x60`}, 60 * time.Minute, ""},
		{"IngotCreateQueueStalled", "no turn comes", []string{`ingot_create_longest_wait_seconds{endpoint="a"} 0+60x60`}, 12 * time.Minute, `{endpoint="a", severity="warning"}`},

		{
			"IngotReconcileErrors", "some passes fail; another provider's controller is not ours to watch",
			[]string{
				`controller_runtime_reconcile_errors_total{controller="ingotmachine"} 0+1x60`, `controller_runtime_reconcile_total{controller="ingotmachine",result="success"} 0+30x60`,
				`controller_runtime_reconcile_errors_total{controller="machineset"} 0+9x60`, `controller_runtime_reconcile_total{controller="machineset",result="error"} 0+9x60`,
			},
			60 * time.Minute, "",
		},
		{
			"IngotReconcileErrors", "a manager that may not write",
			[]string{
				`controller_runtime_reconcile_errors_total{controller="imagereplica"} 0+9x60`, `controller_runtime_reconcile_total{controller="imagereplica",result="error"} 0+9x60`,
				`controller_runtime_reconcile_total{controller="imagereplica",result="success"} 0+9x60`,
			},
			60 * time.Minute, `{controller="imagereplica", severity="warning"}`,
		},
	} {
		t.Run(c.alert+": "+c.why, func(t *testing.T) {
			rule, is := rules[c.alert]
			if !is {
				t.Fatalf("there is no alert %s", c.alert)
			}
			if got := play(t, rule, load(t, c.series), c.at); got != c.firing {
				t.Errorf("after %s fires %q, want %q", c.at, got, c.firing)
			}
			quiet[c.alert] = quiet[c.alert] || c.firing == ""
			fired[c.alert] = fired[c.alert] || c.firing != ""
		})
	}
	for name := range rules {
		if !quiet[name] || !fired[name] {
			t.Errorf("%s must be played firing and quiet", name)
		}
	}
}

// play evaluates a rule every minute as Prometheus does, and returns what fires at the end.
func play(t *testing.T, rule rulefmt.Rule, series []storage.Series, at time.Duration) string {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 100_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
	since := map[string]time.Duration{}
	var firing []string
	for now := time.Duration(0); now <= at; now += time.Minute {
		query, err := engine.NewInstantQuery(t.Context(), queryable(series), nil, rule.Expr, time.Unix(0, 0).Add(now))
		if err != nil {
			t.Fatal(err)
		}
		vector, err := query.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		active := map[string]time.Duration{}
		firing = nil
		for _, sample := range vector {
			builder := labels.NewBuilder(sample.Metric)
			for name, value := range rule.Labels {
				builder.Set(name, value)
			}
			alert := builder.Labels().String()
			begin, pending := since[alert]
			if !pending {
				begin = now
			}
			active[alert] = begin
			if now-begin >= time.Duration(rule.For) {
				firing = append(firing, alert)
				if now == at {
					expectText(t, rule, sample)
				}
			}
		}
		since = active
	}
	slices.Sort(firing)
	return strings.Join(firing, " ")
}

// expectText expects that the texts of an alert can be made of what it found.
func expectText(t *testing.T, rule rulefmt.Rule, sample promql.Sample) {
	t.Helper()
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
	for key, text := range rule.Annotations {
		expander := template.NewTemplateExpander(t.Context(), "{{$labels := .Labels}}{{$value := .Value}}"+text, key, data, model.Time(0), nil, nil, nil)
		said, err := expander.Expand()
		if err != nil || said == "" || strings.Contains(said, "no value") || strings.Contains(said, "NaN") {
			t.Errorf("%s: %s becomes %q (%v)", rule.Alert, key, said, err)
		}
		t.Logf("%s: %s", key, said)
	}
}

// load reads series.
func load(t *testing.T, descriptions []string) []storage.Series {
	t.Helper()
	var all []storage.Series
	for _, description := range descriptions {
		name, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(description)
		if err != nil {
			t.Fatalf("%s: %v", description, err)
		}
		var samples []chunks.Sample
		for minute, value := range values {
			if !value.Omitted {
				samples = append(samples, sample{at: int64(minute) * time.Minute.Milliseconds(), value: value.Value})
			}
		}
		all = append(all, storage.NewListSeries(name, samples))
	}
	return all
}

// sample is one value of a series.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                    { return s.at }
func (sample) ST() int64                     { return 0 }
func (s sample) F() float64                  { return s.value }
func (sample) H() *histogram.Histogram       { return nil }
func (sample) FH() *histogram.FloatHistogram { return nil }
func (sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample         { return s }

// queryable lets the engine find series.
func queryable(all []storage.Series) storage.Queryable {
	return &storage.MockQueryable{MockQuerier: &storage.MockQuerier{
		SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
			found := &seriesSet{}
			for _, series := range all {
				if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(series.Labels().Get(m.Name)) }) {
					found.left = append(found.left, series)
				}
			}
			return found
		},
	}}
}

// seriesSet hands out series.
type seriesSet struct {
	left []storage.Series
	at   storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series              { return s.at }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }
