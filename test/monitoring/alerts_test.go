// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"log/slog"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// readRules reads the alerts as Prometheus does.
func readRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("../../config/monitoring/alerts.yaml", false, model.LegacyValidation,
		parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

// An alert about what is not exported never fires, and nobody misses it.
func TestAlertsUseWhatIsExported(t *testing.T) {
	exported := readExports(t)
	for _, rule := range readRules(t) {
		u := exported.check(rule.Expr)
		for _, wrong := range u.wrong {
			t.Errorf("%s: %s", rule.Alert, wrong)
		}
		for _, text := range rule.Annotations {
			for _, match := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				if !slices.Contains(u.grouping, match[1]) {
					t.Errorf("%s speaks of label %s, which its expression does not group by", rule.Alert, match[1])
				}
			}
		}
	}
}

// Who is woken at night reads what happened, what it means, and what to do.
func TestAlertsSayWhatToDo(t *testing.T) {
	for _, rule := range readRules(t) {
		for _, key := range []string{"summary", "description", "runbook"} {
			if rule.Annotations[key] == "" {
				t.Errorf("%s has no %s", rule.Alert, key)
			}
		}
		if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
			t.Errorf("%s has severity %q, want critical or warning", rule.Alert, rule.Labels["severity"])
		}
	}
}
