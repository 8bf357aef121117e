// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
)

func phase(condition string, outcome flow.Outcome, ran *[]string) flow.Phase {
	return flow.Phase{Condition: condition, Do: func(context.Context) flow.Outcome {
		*ran = append(*ran, condition)
		return outcome
	}}
}

// A phase that does not advance ends the pass: what comes after it relies on it.
func TestRunStopsAtTheFirstPhaseThatDoesNotAdvance(t *testing.T) {
	var ran []string
	machine := &infrav1.IngotMachine{}
	outcome := flow.Run(t.Context(), machine,
		phase("First", flow.Advance("Fine", ""), &ran),
		phase("Second", flow.Wait("Later", "waiting", time.Minute), &ran),
		phase("Third", flow.Advance("Fine", ""), &ran),
	)
	if len(ran) != 2 || outcome.Reason() != "Later" {
		t.Fatalf("ran %v and ended with %s, want the first two and Later", ran, outcome.Reason())
	}
	if !conditions.IsTrue(machine, "First") || !conditions.IsFalse(machine, "Second") {
		t.Errorf("conditions %v do not report the phases that ran", machine.Status.Conditions)
	}
	if conditions.Get(machine, "Third") != nil {
		t.Error("a phase that did not run was reported on")
	}
}

// What nothing depends on is told, and looked at again; neither what it waits for nor its failure holds up the pass.
func TestRunPassesWhatIsAside(t *testing.T) {
	cause := errors.New("cause")
	for name, c := range map[string]struct {
		outcome flow.Outcome
		after   time.Duration
		err     error
	}{
		"wait":    {flow.Wait("Later", "waiting", time.Minute), time.Minute, nil},
		"stall":   {flow.Stall("Wrong", "fix it"), 0, nil},
		"fail":    {flow.Fail("Broken", "", cause), 0, cause},
		"advance": {flow.Advance("Fine", ""), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var ran []string
			machine := &infrav1.IngotMachine{}
			aside := phase("Aside", c.outcome, &ran)
			aside.Aside = true
			outcome := flow.Run(t.Context(), machine, phase("First", flow.Advance("Fine", ""), &ran), aside)
			if result, err := outcome.Result(); !outcome.Done() || result.RequeueAfter != c.after || !errors.Is(err, c.err) {
				t.Errorf("done is %t, the result %v and %v", outcome.Done(), result.RequeueAfter, err)
			}
			if told := conditions.Get(machine, "Aside"); told == nil || told.Reason != c.outcome.Reason() || (told.Status == metav1.ConditionTrue) != c.outcome.Done() {
				t.Errorf("told is %v", told)
			}
		})
	}
}

func TestResult(t *testing.T) {
	cause := errors.New("cause")
	for name, c := range map[string]struct {
		why     string
		outcome flow.Outcome
		after   time.Duration
		err     error
	}{
		"advance asks for nothing":         {"a done pass sleeps until something changes", flow.Advance("Fine", ""), 0, nil},
		"wait comes back after its time":   {"the time is a promise", flow.Wait("Later", "", time.Minute), time.Minute, nil},
		"stall sleeps until a change":      {"retrying cannot help", flow.Stall("Wrong", "fix it"), 0, nil},
		"fail is an error with its cause":  {"the queue backs off, and callers can judge it", flow.Fail("Broken", "", cause), 0, cause},
		"unknown keeps the kind of result": {"only the condition differs", flow.Wait("Later", "", time.Minute).Unknown(), time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := c.outcome.Result()
			if result.RequeueAfter != c.after || !errors.Is(err, c.err) {
				t.Errorf("got %v and %v, want %v and %v: %s", result.RequeueAfter, err, c.after, c.err, c.why)
			}
		})
	}
}

// The condition of an outcome that could not be told must not say False: False is a finding.
func TestUnknownIsRecordedAsUnknown(t *testing.T) {
	machine := &infrav1.IngotMachine{}
	flow.Record(machine, "InstanceReady", flow.Wait("Unreachable", "no answer", 0).Unknown())
	if got := conditions.Get(machine, "InstanceReady"); got == nil || got.Status != metav1.ConditionUnknown {
		t.Errorf("condition is %v, want Unknown", got)
	}
}
