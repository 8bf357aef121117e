// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// TestForesee checks what must hold for the forecast of any snapshot.
func TestForesee(t *testing.T) {
	t.Parallel()
	longest := 0
	rapid.Check(t, func(t *rapid.T) {
		world := anyWorld().Draw(t, "world")
		for i := range world.Machines {
			world.Machines[i].Remediation = rapid.SampledFrom([]plan.Remediation{plan.RemediationAllowed, plan.RemediationTooSoon, plan.RemediationExhausted}).Draw(t, "remediation")
		}
		world.Backup = rapid.SampledFrom([]plan.Backup{plan.BackupNone, plan.BackupFailed, plan.BackupDone, plan.BackupRunning}).Draw(t, "backup")
		world.Desired.RestoreFrom = rapid.SampledFrom([]string{"", "", "", "snapshot"}).Draw(t, "restore from")
		world.Restore = rapid.SampledFrom([]plan.Restore{plan.RestoreNone, plan.RestoreFailed, plan.RestoreReady, plan.RestoreRunning}).Draw(t, "restore")
		world.NextName = plan.Placeholder(1)
		if wrong := unlikely(world); wrong != "" {
			t.Fatal(wrong)
		}
		longest = max(longest, len(plan.Foresee(world).Steps()))
	})
	t.Logf("the longest forecast had %d steps", longest)
}

// expectForecast checks the forecast of a situation in which the model is, with everything that has gone wrong.
func (m *model) expectForecast(w plan.World) {
	m.Helper()
	w.NextName = plan.Placeholder(1)
	if wrong := unlikely(w); wrong != "" {
		m.fail("%s", wrong)
	}
}

// unlikely is what is wrong with the forecast of a World, empty where nothing is.
func unlikely(w plan.World) string {
	before := fmt.Sprintf("%+v", w)
	f := plan.Foresee(w)
	switch again := plan.Foresee(w); {
	case before != fmt.Sprintf("%+v", w):
		return "the snapshot was changed: " + before
	case !reflect.DeepEqual(f, again):
		return fmt.Sprintf("the same snapshot gave two forecasts:\n%v\n%v", f, again)
	case f.Endless:
		return fmt.Sprintf("the forecast does not end: %v", texts(f))
	}
	for _, step := range f.Steps() {
		if step.Cause == "" || len(step.Why) == 0 || step.Why[0] == "" {
			return fmt.Sprintf("step %s has no reason", step.Step)
		}
	}
	for _, fate := range f.Fates {
		if fate.Outcome == "" {
			return "nobody knows what becomes of " + fate.Machine
		}
	}
	return unlikelyBegin(f, plan.Make(w))
}

// unlikelyBegin is whether a forecast begins with something else than what is done now, or is held by something else.
func unlikelyBegin(f plan.Forecast, now plan.Plan) string {
	var first []plan.Step
	if len(f.Rounds) > 0 {
		for _, foreseen := range f.Rounds[0].Steps {
			first = append(first, foreseen.Step)
		}
	}
	switch {
	case !reflect.DeepEqual(first, now.Steps):
		return fmt.Sprintf("the forecast begins with %v, the plan is %v", first, now.Steps)
	case len(f.Rounds) == 0 && !reflect.DeepEqual(f.Held, now.Held):
		return fmt.Sprintf("the forecast is held by %v, the plan by %v", f.Held, now.Held)
	default:
		return ""
	}
}

func texts(f plan.Forecast) []string {
	var list []string
	for _, foreseen := range f.Steps() {
		list = append(list, foreseen.Step.String())
	}
	return list
}

// TestForecastsComeTrue compares forecasts with what is really done in the model of the walks while nothing goes wrong:
// step by step, from a control plane that is as wanted until it is as is wanted then.
func TestForecastsComeTrue(t *testing.T) {
	t.Parallel()
	steps := 0
	for seed := range uint64(walks) {
		m := newModel(t, seed)
		if !m.chance(4) {
			m.grow()
		}
		m.healing = true
		m.changeMind()
		m.created = nil
		foreseen := plan.Foresee(m.look())
		if foreseen.Endless || len(foreseen.Held) > 0 {
			m.fail("the forecast does not end well: %v, held %v", texts(foreseen), foreseen.Held)
		}
		done := m.record()
		if diff := cmp.Diff(m.translate(texts(foreseen)), done, cmpopts.EquateEmpty()); diff != "" {
			m.fail("the forecast did not come true (-foreseen +done):\n%s", diff)
		}
		m.expectFates(foreseen)
		steps += len(done)
	}
	t.Logf("%d forecasts came true: %d steps", walks, steps)
}

// changeMind has other things be wanted, and people delete a Machine or mark one.
func (m *model) changeMind() {
	m.world.Desired.Template = template(m.random.IntN(3))
	m.world.Desired.Replicas = m.oneOf(1, 3, 5)
	m.world.Desired.DeleteFirst = m.chance(2)
	m.world.Backup = plan.BackupNone
	if len(m.nodes) > 0 && m.chance(4) {
		m.deleteByHand()
	}
	if len(m.nodes) > 0 && m.chance(4) {
		m.nodes[rand.New(rand.NewPCG(m.seed, 2)).IntN(len(m.nodes))].DeletionWanted = true
	}
}

// record lets time pass until everything is as wanted, and returns what was done.
func (m *model) record() []string {
	from := len(m.history)
	for range settling {
		if m.settled() {
			break
		}
		m.pass(false)
		m.progress()
	}
	var done []string
	for _, line := range m.history[from:] {
		if step, is := strings.CutPrefix(line, "we "); is {
			done = append(done, step)
		}
	}
	return done
}

// translate writes the names that the model has given where the forecast has placeholders.
func (m *model) translate(steps []string) []string {
	var replacements []string
	for i, name := range m.created {
		for _, before := range []string{"etcd member ", "from ", "to "} {
			replacements = append(replacements, before+plan.Placeholder(i+1), before+nodeOf(name))
		}
		replacements = append(replacements, plan.Placeholder(i+1), name)
	}
	translated := make([]string, 0, len(steps))
	for _, step := range steps {
		translated = append(translated, strings.NewReplacer(replacements...).Replace(step))
	}
	return translated
}

// expectFates checks that what becomes of each Machine is what the forecast said, and that as many take the place of another,
// come and go as the numbers ask for.
func (m *model) expectFates(f plan.Forecast) {
	m.Helper()
	before, added, removed := 0, 0, 0
	for _, fate := range f.Fates {
		is := slices.ContainsFunc(m.nodes, func(n *node) bool { return n.Name == m.translate([]string{fate.Machine})[0] })
		if stays := fate.Outcome == plan.Stays || fate.Outcome == plan.Added; is != stays {
			m.fail("the forecast of Machine %s was %s, and it is there: %t", fate.Machine, fate.Outcome, is)
		}
		switch {
		case fate.Outcome == plan.Added && fate.Partner == "":
			added++
		case fate.Outcome == plan.Added:
			continue
		case fate.Outcome == plan.Removed:
			removed++
		}
		if fate.Outcome != plan.Added {
			before++
		}
	}
	wanted := int(m.world.Desired.Replicas)
	if added != max(0, wanted-before) || removed != max(0, before-wanted) {
		m.fail("of %d Machines, %d are removed and %d are added, and %d are wanted: %+v", before, removed, added, wanted, f.Fates)
	}
}
