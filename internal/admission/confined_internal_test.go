// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/osfamilytest"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/test/confined"
)

// confinedVariable has this program render what it is sent, in a process that can open nothing. Its value says who renders.
const confinedVariable = "INGOT_TEST_CONFINED"

func TestMain(m *testing.M) {
	if who, child := os.LookupEnv(confinedVariable); child {
		os.Exit(renderConfined(who, os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// TestHatchesReachNothing: what people write may name any file and any address. The manager, which sees other people's
// Secrets and networks, opens none of them on their behalf: neither when a config is judged nor when it is rendered, for no
// family and no role, with the guard rails and without them. Lures are rendered where the kernel ends a process that opens
// anything at all, and beside a file and a server that tell.
func TestHatchesReachNothing(t *testing.T) {
	t.Parallel()
	trap := osfamilytest.NewTrap(t)
	lures := allLures(trap)
	out, err := confine(t, "families", lures)
	if err != nil {
		t.Fatalf("something was opened, or rendering failed (%v):\n%.4000s", err, out)
	}
	t.Logf("confined: %s", out)

	// Most lures get further without the guard rails.
	lures = slices.DeleteFunc(lures, func(l lure) bool { return l.SelfUpdate != bootstrapv1.SelfUpdateAllowed })
	rendered := renderLures(preview(), lures, func(lure lure, said ...string) {
		if who := trap.Sprung(said...); who != "" {
			t.Errorf("%s of %s: %s", lure.Text, lure.Hatch, who)
		}
	})
	for _, hatch := range osfamilytest.Hatches() {
		if rendered[hatch.Name].Accepted == 0 {
			t.Errorf("every lure of %s is refused, so this test shows nothing of what is rendered", hatch.Name)
		}
		if !bytes.Contains(out, []byte(hatch.Name)) {
			t.Errorf("no lure of %s was rendered in the confined process", hatch.Name)
		}
	}
}

// TestReachingIsFound: were a family careless, the test above would fail, whichever way it takes to the file or the server.
func TestReachingIsFound(t *testing.T) {
	t.Parallel()
	for name, reach := range careless() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trap := osfamilytest.NewTrap(t)
			lures := []lure{{Hatch: "ignition-Generic/butane", Text: trap.Set("CANARYFILE http://canary.invalid")}}
			out, err := confine(t, name, lures)
			if err == nil || !bytes.Contains(out, []byte("SIGSYS")) || !bytes.Contains(out, []byte("admission.careless")) {
				t.Errorf("not found where nothing can be opened: %v\n%s", err, out)
			}
			found := ""
			renderLures(controller.Preview{Families: carelessFamilies(reach)}, lures, func(_ lure, said ...string) {
				found += trap.Sprung(said...)
			})
			if found == "" {
				t.Error("not found beside a trap")
			}
		})
	}
}

// lure is a text for a hatch of the suite's.
type lure struct {
	Hatch, Text string
	SelfUpdate  bootstrapv1.SelfUpdate
}

func allLures(trap *osfamilytest.Trap) []lure {
	var lures []lure
	for _, hatch := range osfamilytest.Hatches() {
		for _, text := range hatch.Lures {
			for _, selfUpdate := range []bootstrapv1.SelfUpdate{bootstrapv1.SelfUpdateDisabled, bootstrapv1.SelfUpdateAllowed} {
				lures = append(lures, lure{Hatch: hatch.Name, Text: trap.Set(text), SelfUpdate: selfUpdate})
			}
		}
	}
	return lures
}

// tally is what came of the lures of each hatch.
type tally map[string]struct{ Accepted, Refused int }

// String lists it in one line.
func (t tally) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, fmt.Sprintf("%s %d+%d", name, t[name].Accepted, t[name].Refused))
	}
	return strings.Join(parts, ", ")
}

// renderLures does with each lure what the manager does: judges it where it is applied, as a worker's and as a control plane's,
// and renders it for a machine of each role. heard is told all that people and machines get to see.
func renderLures(preview controller.Preview, lures []lure, heard func(lure lure, said ...string)) tally {
	hatches := map[string]osfamilytest.Hatch{}
	for _, hatch := range osfamilytest.Hatches() {
		hatches[hatch.Name] = hatch
	}
	results := tally{}
	for _, lure := range lures {
		hatch := hatches[lure.Hatch]
		choose := func(spec *bootstrapv1.IngotConfigSpec) {
			spec.SelfUpdate = lure.SelfUpdate
			hatch.Select(spec)
			hatch.Set(spec, lure.Text)
		}
		var config bootstrapv1.IngotConfigSpec
		choose(&config)
		for _, roles := range [][]bootstrapv1.Role{{bootstrapv1.RoleWorker}, controlPlaneRoles()} {
			refused, warnings := judge(preview, subject{config: config, path: "spec", roles: roles})
			heard(lure, fmt.Sprint(refused), fmt.Sprint(warnings))
		}
		for _, role := range append(controlPlaneRoles(), bootstrapv1.RoleWorker) {
			bundle, report := preview.Family(config).Render(osfamilytest.Node(role, choose))
			result := results[lure.Hatch]
			if report.Err() == nil {
				result.Accepted++
			} else {
				result.Refused++
			}
			results[lure.Hatch] = result
			heard(lure, string(bundle.Data), fmt.Sprint(report))
		}
	}
	return results
}

// confine renders lures in a process that can open nothing.
func confine(t *testing.T, who string, lures []lure) ([]byte, error) {
	t.Helper()
	data, err := json.Marshal(lures)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), confinedVariable+"="+who)
	command.Stdin = bytes.NewReader(data)
	out, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out, err
}

// renderConfined is the process. It says what came of it, or what kept it from rendering.
func renderConfined(who string, in io.Reader, out io.Writer) int {
	said, err := confinedTally(who, in)
	if err != nil {
		said = err.Error()
	}
	if _, failed := fmt.Fprintln(out, said); err != nil || failed != nil {
		return 1
	}
	return 0
}

func confinedTally(who string, in io.Reader) (string, error) {
	var lures []lure
	if err := json.NewDecoder(bufio.NewReader(in)).Decode(&lures); err != nil {
		return "", fmt.Errorf("reading lures: %w", err)
	}
	preview := preview()
	if reach, is := careless()[who]; is {
		preview.Families = carelessFamilies(reach)
	}
	if err := confined.Enter(); err != nil {
		return "", err
	}
	return renderLures(preview, lures, func(lure, ...string) {}).String(), nil
}

// careless are ways to reach what a text names: its first word is a file, its second an address.
func careless() map[string]func(text string) string {
	ask := func(client *http.Client, text string) string {
		response, err := client.Get(strings.Fields(text)[1])
		if err != nil {
			return err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return fmt.Sprint(string(body), err)
	}
	return map[string]func(text string) string{
		"reads the file": func(text string) string {
			content, err := os.ReadFile(strings.Fields(text)[0])
			return fmt.Sprint(string(content), err)
		},
		"asks by the default client": func(text string) string { return ask(http.DefaultClient, text) },
		"asks by a client of its own": func(text string) string {
			return ask(&http.Client{Transport: &http.Transport{}}, text)
		},
	}
}

// carelessFamily is a family that looks at what a snippet names.
type carelessFamily struct {
	osfamily.Family
	reach func(text string) string
}

// Render implements osfamily.Family.
func (f carelessFamily) Render(in osfamily.Input) (osfamily.Bundle, osfamily.Report) {
	bundle, report := f.Family.Render(in)
	report.Warnf("spec.ignition.butane[0]", "%s", f.reach(in.Config.Ignition.Butane[0]))
	return bundle, report
}

func carelessFamilies(reach func(text string) string) map[ingotv1.OSFamily]osfamily.Family {
	families := registry.Families()
	families[ingotv1.OSFamilyGeneric] = carelessFamily{families[ingotv1.OSFamilyGeneric], reach}
	return families
}
