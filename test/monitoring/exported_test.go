// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// scraped are the labels that Prometheus adds to whatever it scrapes.
func scraped() []string { return []string{"instance", "job", "namespace", "pod"} }

// exports are what the manager exports, as docs/metrics.md tells.
type exports struct {
	metrics map[string]metric
	values  []fixed
}

type metric struct {
	kind   string
	labels []string
}

// fixed are the values of a label that has a fixed set of them, in metrics with a prefix.
type fixed struct {
	label, prefix string
	values        []string
}

func readExports(t *testing.T) exports {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := exports{metrics: map[string]metric{}}
	metricRow := regexp.MustCompile("^\\| `([a-z_]+)` \\| (gauge|counter|histogram) \\| ([^|]*) \\|")
	valuesRow := regexp.MustCompile("^\\| `([a-z]+)` \\| `([a-z_]+)\\*` \\| ([^|]*) \\|")
	for line := range strings.Lines(string(text)) {
		if row := metricRow.FindStringSubmatch(line); row != nil {
			found.metrics[row[1]] = metric{kind: row[2], labels: words(row[3])}
		}
		if row := valuesRow.FindStringSubmatch(line); row != nil {
			found.values = append(found.values, fixed{label: row[1], prefix: row[2], values: words(row[3])})
		}
	}
	if len(found.metrics) < 20 || len(found.values) < 4 {
		t.Fatalf("docs/metrics.md is not read as it is written: %v", found)
	}
	return found
}

// words are the words between backquotes.
func words(text string) []string {
	var all []string
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

// find returns the metric that a series belongs to, with the labels that the series has.
func (e exports) find(series string) (metric, bool) {
	if m, is := e.metrics[series]; is {
		return m, m.kind != "histogram" // its series have other names
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		m, is := e.metrics[strings.TrimSuffix(series, suffix)]
		if is && strings.HasSuffix(series, suffix) && m.kind == "histogram" {
			if suffix == "_bucket" {
				m.labels = append(slices.Clone(m.labels), "le")
			}
			return metric{kind: "counter", labels: m.labels}, true
		}
	}
	return metric{}, false
}

// use is what an expression makes use of.
type use struct {
	labels, grouping []string
	wrong            []string
}

// check says what is wrong with an expression, and what it makes use of.
func (e exports) check(expression string) use {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return use{wrong: []string{err.Error()}}
	}
	var u use
	parser.Inspect(tree, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			m, is := e.find(n.Name)
			if !is {
				u.wrong = append(u.wrong, n.Name+" is not exported")
				return nil
			}
			u.labels = append(u.labels, m.labels...)
			u.wrong = append(u.wrong, e.checkMatchers(n, m)...)
			if called := caller(path); slices.Contains([]string{"rate", "increase", "irate"}, called) != (m.kind == "counter" && called != "") {
				u.wrong = append(u.wrong, fmt.Sprintf("%s is a %s, and %q is for others", n.Name, m.kind, called))
			}
		case *parser.AggregateExpr:
			u.grouping = append(u.grouping, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				u.grouping = append(u.grouping, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, label := range u.grouping {
		if !slices.Contains(append(scraped(), u.labels...), label) {
			u.wrong = append(u.wrong, fmt.Sprintf("no metric has the label %s that results are grouped by", label))
		}
	}
	return u
}

// caller is the function that a range of a series is given to; empty for a series as it is.
func caller(path []parser.Node) string {
	if len(path) < 2 {
		return ""
	}
	call, is := path[len(path)-2].(*parser.Call)
	if _, ranged := path[len(path)-1].(*parser.MatrixSelector); !is || !ranged {
		return ""
	}
	return call.Func.Name
}

// checkMatchers checks that the labels are there, and that they can have the values.
func (e exports) checkMatchers(n *parser.VectorSelector, m metric) []string {
	var wrong []string
	for _, matcher := range n.LabelMatchers {
		if matcher.Name == model.MetricNameLabel {
			continue
		}
		if !slices.Contains(m.labels, matcher.Name) {
			wrong = append(wrong, fmt.Sprintf("%s has no label %s", n.Name, matcher.Name))
			continue
		}
		possible := e.possible(n.Name, matcher.Name)
		for value := range strings.SplitSeq(matcher.Value, "|") {
			if possible != nil && !strings.HasPrefix(value, "$") && !slices.Contains(possible, value) {
				wrong = append(wrong, fmt.Sprintf("%s of %s is never %q", matcher.Name, n.Name, value))
			}
		}
	}
	return wrong
}

// possible are the values that a label of a series can have; nil where there is no fixed set.
func (e exports) possible(series, label string) []string {
	longest, values := -1, []string(nil)
	for _, f := range e.values {
		if f.label == label && strings.HasPrefix(series, f.prefix) && len(f.prefix) > longest {
			longest, values = len(f.prefix), f.values
		}
	}
	return values
}

// A check that finds nothing proves nothing.
func TestTheCheckFindsMistakes(t *testing.T) {
	exported := readExports(t)
	for expression, want := range map[string]string{
		`sum(ingot_machine)`:                                  "ingot_machine is not exported",
		`ingot_machines{namespace="team"}`:                    "ingot_machines has no label namespace",
		`ingot_machines{state="Stoped"}`:                      `state of ingot_machines is never "Stoped"`,
		`ingot_machines{state=~"Gone|Lost"}`:                  `state of ingot_machines is never "Lost"`,
		`ingot_image_replicas{state="Booting"}`:               `state of ingot_image_replicas is never "Booting"`,
		`ingot_platform_calls_total{result="unreachable"}`:    "",
		`sum by (verb) (ingot_machines)`:                      "no metric has the label verb that results are grouped by",
		`rate(ingot_machines[5m])`:                            `ingot_machines is a gauge, and "rate" is for others`,
		`delta(ingot_platform_calls_total[5m])`:               `ingot_platform_calls_total is a counter, and "delta" is for others`,
		`max_over_time(ingot_endpoint_up[5m])`:                "",
		`ingot_create_wait_seconds`:                           "ingot_create_wait_seconds is not exported",
		`rate(ingot_create_wait_seconds_bucket{le="1"}[5m])`:  "",
		`rate(ingot_create_wait_seconds_count{le="1"}[5m])`:   "ingot_create_wait_seconds_count has no label le",
		`ingot_endpoint_up and on (region) ingot_endpoint_up`: "no metric has the label region that results are grouped by",
		`sum by (endpoint, pod) (ingot_orphans)`:              "",
		`sum(`:                                                "1:5: parse error: unclosed left parenthesis",
	} {
		if got := strings.Join(exported.check(expression).wrong, "; "); got != want {
			t.Errorf("%s: found %q, want %q", expression, got, want)
		}
	}
}

// grafana replaces what Grafana puts into queries.
func grafana(expression string) string {
	return strings.NewReplacer("[$__rate_interval]", "[5m]").Replace(expression)
}

// Every metric is for somebody: a metric that no alert and no panel uses costs all who scrape it.
func TestEveryMetricIsUsed(t *testing.T) {
	all := ""
	for _, rule := range readRules(t) {
		all += rule.Expr + "\n"
	}
	for _, target := range readDashboard(t).targets() {
		all += target.Expr + "\n"
	}
	for name := range readExports(t).metrics {
		if !regexp.MustCompile(`\b` + name + `(_bucket|_count|_sum)?\b`).MatchString(all) {
			t.Errorf("no alert and no panel uses %s", name)
		}
	}
}
