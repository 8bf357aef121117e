// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// dashboard is what a person sees of a Grafana dashboard, as far as it can be wrong.
type dashboard struct {
	Title      string  `json:"title"`
	UID        string  `json:"uid"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type variable struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Query json.RawMessage `json:"query"`
}

type panel struct {
	ID          int             `json:"id"`
	Type        string          `json:"type"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Datasource  json.RawMessage `json:"datasource"`
	GridPos     struct {
		H, W, X, Y int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []target `json:"targets"`
	Panels  []panel  `json:"panels"`
}

type target struct {
	RefID        string          `json:"refId"`
	Expr         string          `json:"expr"`
	LegendFormat string          `json:"legendFormat"`
	Datasource   json.RawMessage `json:"datasource"`

	panel string
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("../../config/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dashboard) targets() []target {
	var all []target
	for _, p := range d.Panels {
		for _, one := range p.Targets {
			one.panel = p.Title
			all = append(all, one)
		}
	}
	return all
}

// A panel about what is not exported says "No data", which looks like peace.
func TestPanelsUseWhatIsExported(t *testing.T) {
	exported := readExports(t)
	d := readDashboard(t)
	for _, one := range d.targets() {
		u := exported.check(grafana(one.Expr))
		for _, wrong := range u.wrong {
			t.Errorf("panel %q: %s", one.panel, wrong)
		}
		for _, match := range regexp.MustCompile(`{{\s*(\w+)\s*}}`).FindAllStringSubmatch(one.LegendFormat, -1) {
			if !slices.Contains(append(scraped(), u.labels...), match[1]) {
				t.Errorf("panel %q: the legend speaks of label %s, which no series has", one.panel, match[1])
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		match := regexp.MustCompile(`label_values\((\w+), (\w+)\)`).FindSubmatch(v.Query)
		if match == nil {
			t.Errorf("variable %s asks %s, which is no label_values(metric, label)", v.Name, v.Query)
			continue
		}
		if m, is := exported.find(string(match[1])); !is || !slices.Contains(m.labels, string(match[2])) {
			t.Errorf("variable %s: %s has no label %s", v.Name, match[1], match[2])
		}
	}
}

// What Grafana would show wrongly, or not at all, without a word.
func TestTheDashboardIsWhole(t *testing.T) {
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" {
		t.Error("it needs a title and a uid: an import would make another each time")
	}
	names := map[string]string{}
	for _, v := range d.Templating.List {
		names[v.Name] = v.Type
	}
	if names["datasource"] != "datasource" {
		t.Error("without a variable for the data source it works with one Prometheus only")
	}
	ids, taken := map[int]string{}, map[string]string{}
	for _, p := range d.Panels {
		if other, is := ids[p.ID]; is || p.ID == 0 {
			t.Errorf("panels %q and %q have the same id %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		if p.Title == "" || len(p.Panels) > 0 {
			t.Errorf("panel %d has no title, or hides panels in a collapsed row", p.ID)
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q reaches over the edge", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				at := fmt.Sprint(x, ",", y)
				if other, is := taken[at]; is {
					t.Fatalf("panels %q and %q lie on each other", other, p.Title)
				}
				taken[at] = p.Title
			}
		}
		if p.Type != "row" {
			expectPanel(t, p, names)
		}
	}
}

func expectPanel(t *testing.T, p panel, variables map[string]string) {
	t.Helper()
	if p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
		t.Errorf("panel %q does not say what it shows, or in which unit", p.Title)
	}
	if len(p.Targets) == 0 {
		t.Errorf("panel %q asks nothing", p.Title)
	}
	refs := map[string]bool{}
	for _, one := range p.Targets {
		if one.Expr == "" || one.RefID == "" || refs[one.RefID] {
			t.Errorf("panel %q: a query without text, or two with the same reference %q", p.Title, one.RefID)
		}
		refs[one.RefID] = true
		for _, source := range []json.RawMessage{p.Datasource, one.Datasource} {
			if !bytes.Contains(source, []byte("${datasource}")) {
				t.Errorf("panel %q asks a data source of its own: %s", p.Title, source)
			}
		}
		for _, match := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(one.Expr, -1) {
			if variables[match[1]] == "" && match[1] != "__rate_interval" {
				t.Errorf("panel %q uses the variable %s, which does not exist", p.Title, match[1])
			}
		}
	}
}
