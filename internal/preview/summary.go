// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"fmt"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// summarize says in one line what is foreseen.
func summarize(w plan.World, f plan.Forecast) string {
	parts := machineParts(w, f)
	if has[plan.BackUpEtcd](f) {
		parts = append(parts, "etcd is backed up first")
	}
	if has[plan.MarkInitialized](f) {
		parts = append([]string{"the cluster is made"}, parts...)
	}
	if n := len(f.Steps()); len(parts) == 0 && n > 0 {
		parts = append(parts, fmt.Sprintf("no Machine is replaced; %s", counted(n, "step is", "steps are")+" taken"))
	}
	switch held := reasons(f); {
	case f.Endless:
		parts = append(parts, "the end is not foreseen")
	case held != "" && len(parts) == 0:
		parts = append(parts, "nothing is done: held by "+held)
	case held != "":
		parts = append(parts, "then it is held by "+held)
	case len(parts) == 0 && len(f.Rounds) > 0:
		parts = append(parts, "nothing to do but to wait for what is under way")
	case len(parts) == 0:
		parts = append(parts, "nothing to do: everything is as declared")
	}
	line := strings.Join(parts, "; ")
	return strings.ToUpper(line[:1]) + line[1:] + "."
}

// machineParts says what becomes of the Machines.
func machineParts(w plan.World, f plan.Forecast) []string {
	count := map[plan.Outcome]int{}
	for _, fate := range f.Fates {
		if fate.Outcome != plan.Added || fate.Partner == "" {
			count[fate.Outcome]++
		}
	}
	var parts []string
	say := func(outcome plan.Outcome, one, many string) {
		if n := count[outcome]; n > 0 {
			parts = append(parts, counted(n, one, many))
		}
	}
	if w.Deleting && has[plan.RemoveFinalizer](f) {
		parts = append(parts, "the control plane is deleted")
	}
	say(plan.Replaced, "Machine is replaced", "Machines are replaced one after the other")
	say(plan.Added, "Machine is added", "Machines are added one after the other")
	say(plan.Removed, "Machine is removed", "Machines are removed")
	return parts
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func reasons(f plan.Forecast) string {
	var list []string
	for _, held := range f.Held {
		list = append(list, held.Reason)
	}
	return strings.Join(list, ", ")
}

// has is whether a step of one type is foreseen.
func has[S plan.Step](f plan.Forecast) bool {
	for _, foreseen := range f.Steps() {
		if _, is := foreseen.Step.(S); is {
			return true
		}
	}
	return false
}
