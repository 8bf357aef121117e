// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Forecast is everything that is going to be done, if all goes well and nobody changes anything meanwhile.
type Forecast struct {
	// Rounds are the plans that follow each other. The first is what Make plans now.
	Rounds []Round
	// Held is why it ends where it ends: what is held and does not pass by itself. It is empty where everything is as declared
	// in the end.
	Held []Held
	// Fates are what becomes of each Machine: those that exist in their order, then those that are made.
	Fates []Fate
	// Endless is whether the end was not reached, because plan follows upon plan. No World is known that has none.
	Endless bool
}

// Round is one plan of a forecast, and what happens by itself before the next.
type Round struct {
	Steps []Foreseen
	Then  []Awaited
}

// Foreseen is a step of a forecast.
type Foreseen struct {
	Step Step
	// Cause and Why say what the step is for.
	Cause Cause
	Why   []string
	// Disruption is what the step interrupts or takes away, in words; empty where it does neither.
	Disruption string
	// Replaces is the Machine whose place the Machine that is made takes.
	Replaces string
}

// Fate is what becomes of a Machine.
type Fate struct {
	Machine string
	Outcome Outcome
	// Differences are in which respects the Machine is not what is desired.
	Differences []string
	// Why says why the Machine goes or should go, differences included.
	Why []string
	// Partner is the Machine that takes its place, or whose place it takes.
	Partner string
}

// Outcome is how a Machine fares.
type Outcome string

const (
	// Stays says that nothing is done to the Machine.
	Stays Outcome = "Stays"
	// Replaced says that it goes and another takes its place.
	Replaced Outcome = "Replaced"
	// Removed says that it goes and none takes its place.
	Removed Outcome = "Removed"
	// Added says that it does not exist yet.
	Added Outcome = "Added"
	// Kept says that it should change or go, and that this is held.
	Kept Outcome = "Kept"
)

// Steps are the steps of all rounds.
func (f Forecast) Steps() []Foreseen {
	var all []Foreseen
	for _, round := range f.Rounds {
		all = append(all, round.Steps...)
	}
	return all
}

// Settled is whether there is nothing to do and nothing is under way or held.
func (f Forecast) Settled() bool { return len(f.Rounds)+len(f.Held) == 0 }

// Foresee makes plan after plan, supposes of each that its steps are carried out and that what they begin ends well, and
// stops where nothing is to be done any more, or where what is held does not pass by itself. Nothing that is broken heals.
//
// Machines that are made have placeholders for names. Where several are as good as each other, which one comes first is as
// good as any: who leads etcd meanwhile, and in which failure domain a Machine is, may turn out differently.
func Foresee(w World) Forecast {
	f := &foresight{world: course{w.clone()}}
	f.note(w)
	for range f.bound() {
		f.world.NextName = Placeholder(f.made + 1)
		p := Make(f.world.World)
		if f.over = len(p.Steps) == 0 && !f.wait(); f.over {
			f.Held = p.Held
			break
		}
		if f.over = f.follow(p.Steps); f.over {
			break
		}
	}
	f.Endless = !f.over
	f.conclude()
	return f.Forecast
}

// Placeholder is what the nth Machine is called that is yet to be made.
func Placeholder(n int) string { return fmt.Sprintf("<new-%d>", n) }

// foresight is a forecast in the making.
type foresight struct {
	Forecast

	world course
	made  int
	over  bool
	// vacant are Machines that go and whose places are free; spare are those that were made before the ones whose places they take went.
	vacant, spare []string
}

// bound is far more plans than any forecast needs: a Machine's way in and out takes less than ten.
func (f *foresight) bound() int {
	const each = 20
	w := f.world.World
	return each * (1 + len(w.Machines) + int(max(0, w.Desired.Replicas)) + len(w.Leftovers) + len(w.Etcd.Members))
}

// note writes down which Machines there are. The places of those that go already are free.
func (f *foresight) note(w World) {
	for _, m := range w.Machines {
		differences := Differences(w.Desired, m)
		f.Fates = append(f.Fates, Fate{Machine: m.Name, Differences: differences, Why: append(m.wishes(), differences...)})
		if m.Deleting && !w.Deleting {
			f.vacant = append(f.vacant, m.Name)
		}
	}
	if surplus := len(f.vacant) + w.staying() - int(w.Desired.Replicas); surplus > 0 { // they are not missed
		f.vacant = f.vacant[min(surplus, len(f.vacant)):]
	}
}

// wait lets time pass. It returns whether that changes anything.
func (f *foresight) wait() bool {
	awaited := f.world.advance()
	if len(awaited) == 0 {
		return false
	}
	if len(f.Rounds) == 0 {
		f.Rounds = append(f.Rounds, Round{})
	}
	last := &f.Rounds[len(f.Rounds)-1]
	last.Then = append(last.Then, awaited...)
	return true
}

// follow carries out the steps of a plan, if it has any. It returns whether the last one was among them.
func (f *foresight) follow(steps []Step) (last bool) {
	if len(steps) == 0 {
		return false
	}
	var round Round
	before := f.world.clone()
	for _, step := range steps {
		foreseen := Foreseen{Step: step, Disruption: before.disruption(step)}
		foreseen.Cause, foreseen.Why = Explain(before, step)
		round.Steps = append(round.Steps, foreseen)
		f.place(step, foreseen.Why)
		f.world.carryOut(step)
		if _, is := step.(RemoveFinalizer); is {
			last = true
		}
	}
	f.Rounds = append(f.Rounds, round)
	f.world.FailureDomain = cmp.Or(f.world.roomiest(), f.world.FailureDomain)
	return last
}

// place keeps account of who goes and why, whose place is free, and who takes it.
func (f *foresight) place(step Step, why []string) {
	switch s := step.(type) {
	case DeleteMachine:
		if fate := f.fate(s.Name); fate != nil {
			fate.Why = why
		}
		switch {
		case f.world.Deleting:
		case len(f.spare) > 0:
			f.pair(s.Name, f.spare[0])
			f.spare = f.spare[1:]
		case f.world.staying() <= int(f.world.Desired.Replicas):
			f.vacant = append(f.vacant, s.Name)
		}
	case CreateMachine:
		f.Fates = append(f.Fates, Fate{Machine: s.Name, Outcome: Added})
		if s.Name == f.world.NextName {
			f.made++
		}
		switch {
		case len(f.vacant) > 0:
			f.pair(f.vacant[0], s.Name)
			f.vacant = f.vacant[1:]
		case f.world.staying() >= int(f.world.Desired.Replicas):
			f.spare = append(f.spare, s.Name)
		}
	}
}

// pair notes that one Machine takes the place of another.
func (f *foresight) pair(goes, comes string) {
	if fate := f.fate(goes); fate != nil {
		fate.Partner = comes
	}
	if fate := f.fate(comes); fate != nil {
		fate.Partner = goes
	}
}

func (f *foresight) fate(machine string) *Fate {
	i := slices.IndexFunc(f.Fates, func(fate Fate) bool { return fate.Machine == machine })
	if i < 0 {
		return nil
	}
	return &f.Fates[i]
}

// conclude tells from the end what became of each Machine.
func (f *foresight) conclude() {
	replaces := map[string]string{}
	for i := range f.Fates {
		fate := &f.Fates[i]
		if fate.Outcome == Added {
			replaces[fate.Machine] = fate.Partner
		} else {
			fate.Outcome = f.outcome(*fate)
		}
	}
	for i := range f.Rounds {
		for j := range f.Rounds[i].Steps {
			step := &f.Rounds[i].Steps[j]
			if name := made(step.Step); replaces[name] != "" {
				step.Replaces, step.Cause = replaces[name], CauseReplacement
			}
		}
	}
}

func (f *foresight) outcome(fate Fate) Outcome {
	i := slices.IndexFunc(f.world.Machines, func(m Machine) bool { return m.Name == fate.Machine })
	switch {
	case i < 0 && fate.Partner == "":
		return Removed
	case i < 0:
		return Replaced
	}
	if m := f.world.Machines[i]; m.Deleting || m.RemediationWanted || len(fate.Differences) > 0 {
		return Kept
	}
	return Stays
}

// wishes say who wants the Machine gone, whatever it is like.
func (m Machine) wishes() []string {
	var list []string
	if m.Deleting {
		list = append(list, "it is being deleted")
	}
	if m.RemediationWanted {
		list = append(list, m.complaint())
	}
	return list
}

// made is the name of the Machine that a step makes something for.
func made(step Step) string {
	switch s := step.(type) {
	case CreateInfraMachine:
		return s.Name
	case CreateBootstrapConfig:
		return s.Name
	case CreateMachine:
		return s.Name
	default:
		return ""
	}
}

// staying is how many Machines there are that are not being deleted.
func (w World) staying() int {
	return len(filter(w.Machines, func(m Machine) bool { return !m.Deleting }))
}
