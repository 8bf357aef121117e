// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// FormatVersion is the version of the Report's JSON. Fields may be added without a new one.
const FormatVersion = "1"

// Report is what ingotctl plan prints; -o json prints it as it is.
type Report struct {
	// FormatVersion is the version of this structure.
	FormatVersion string `json:"formatVersion"`
	// Namespace, Cluster and ControlPlane name the objects.
	Namespace    string `json:"namespace"`
	Cluster      string `json:"cluster"`
	ControlPlane string `json:"controlPlane"`
	// Versions are the Kubernetes versions that the Machines were made for, and WantedVersion is that of the spec.
	Versions      []string `json:"versions"`
	WantedVersion string   `json:"wantedVersion"`
	// WantedReplicas is how many Machines the spec asks for.
	WantedReplicas int32 `json:"wantedReplicas"`
	// Change is what was proposed, in the order of the file. It is empty where nothing was.
	Change []Proposed `json:"change,omitempty"`
	// NothingToDo is whether everything is as declared, nothing is under way and nothing is held.
	NothingToDo bool `json:"nothingToDo"`
	// Machines are the Machines that exist, then those that are made. Names of the latter are placeholders: <new-1>.
	Machines []Machine `json:"machines"`
	// UnderWay is what must end by itself before the first step.
	UnderWay []Awaited `json:"underWay,omitempty"`
	// Steps are what is going to be done, in this order, if all goes well.
	Steps []Step `json:"steps"`
	// Held is what ends the plan, because it is held and does not pass by itself.
	Held []Held `json:"held"`
	// Endless is whether the end of the plan could not be foreseen.
	Endless bool `json:"endless,omitempty"`
	// Unknown is what could not be seen, in words.
	Unknown []string `json:"unknown,omitempty"`
	// Notes are remarks for people.
	Notes []string `json:"notes,omitempty"`
	// Summary is all of it in one line.
	Summary string `json:"summary"`
}

// Proposed is one object of a proposed change.
type Proposed struct {
	// Object is Kind/name.
	Object string `json:"object"`
	// Effect is what applying the change does to the object: New, Changed, Unchanged, or Ignored, because nothing of this
	// control plane depends on it.
	Effect Effect `json:"effect"`
}

// Effect is what applying a change does to an object.
type Effect string

const (
	// New says that the object does not exist yet.
	New Effect = "New"
	// Changed says that the object becomes another.
	Changed Effect = "Changed"
	// Unchanged says that the object is as proposed.
	Unchanged Effect = "Unchanged"
	// Ignored says that the plan does not depend on the object.
	Ignored Effect = "Ignored"
)

// Machine is what becomes of a Machine.
type Machine struct {
	Name string `json:"name"`
	// Node and Version are empty for a Machine that does not exist yet, Node also for one that has not joined.
	Node    string `json:"node,omitempty"`
	Version string `json:"version,omitempty"`
	// Outcome is Stays, Replaced, Removed, Added or Kept: it should change or go, and that is held.
	Outcome plan.Outcome `json:"outcome"`
	// Differences are in which respects the Machine is not as declared.
	Differences []string `json:"differences,omitempty"`
	// Why says why it goes or should go, differences included.
	Why []string `json:"why,omitempty"`
	// Partner is the Machine that takes its place, or whose place it takes.
	Partner string `json:"partner,omitempty"`
}

// Step is one step of the plan.
type Step struct {
	// Type is what the step is: CreateCertificates, WriteKubeconfig, CreateInfraMachine, CreateBootstrapConfig, CreateMachine,
	// DeleteMachine, RecordRemediation, DeleteLeftover, MarkInitialized, BackUpEtcd, PrepareRestore, MarkRestored, CorrectPeer,
	// PromoteLearner, MoveLeader, RemoveMember, ReleaseMachine, ForgetNode or RemoveFinalizer.
	Type string `json:"type"`
	// Fields are the step's own; those of each type are documented in controlplane/plan.
	Fields json.RawMessage `json:"fields"`
	// Text is the step in words.
	Text string `json:"text"`
	// Round counts plans: steps of one round are done without waiting in between.
	Round int `json:"round"`
	// Cause is what the step is for, and Why the particulars.
	Cause plan.Cause `json:"cause"`
	Why   []string   `json:"why"`
	// Disruption is what the step interrupts or takes away; empty where it does neither.
	Disruption string `json:"disruption,omitempty"`
	// Replaces is the Machine whose place the one that is made takes.
	Replaces string `json:"replaces,omitempty"`
	// Then is what must happen by itself after this step, the last of its round, before the next.
	Then []Awaited `json:"then,omitempty"`
}

// Awaited is something that happens by itself.
type Awaited struct {
	// What is MachineAsks, APIServerAnswers, MachineDrained, MachineJoined, RetryPeriodPassed, BackupTaken or RestorePrepared.
	What plan.Happening `json:"what"`
	// Machine is the Machine that it happens to, empty where it is none.
	Machine string `json:"machine,omitempty"`
}

// Held is why something that should happen does not.
type Held struct {
	// Reason is the reason that the conditions of the IngotControlPlane give, too.
	Reason string `json:"reason"`
	// Message says what is held and by what, and what helps.
	Message string `json:"message"`
}

// NewReport tells what the planner foresees for a World.
func NewReport(w plan.World) (Report, error) {
	forecast := plan.Foresee(w)
	r := Report{
		FormatVersion: FormatVersion, Cluster: w.Cluster, ControlPlane: w.ControlPlane,
		Versions: versions(w), WantedVersion: w.Desired.Version, WantedReplicas: w.Desired.Replicas,
		NothingToDo: forecast.Settled(), Endless: forecast.Endless, Machines: []Machine{}, Held: []Held{},
	}
	for _, fate := range forecast.Fates {
		machine := Machine{Name: fate.Machine, Outcome: fate.Outcome, Differences: fate.Differences, Why: fate.Why, Partner: fate.Partner}
		for _, m := range w.Machines {
			if m.Name == fate.Machine {
				machine.Node, machine.Version = m.Node, m.Version
			}
		}
		r.Machines = append(r.Machines, machine)
	}
	for _, held := range forecast.Held {
		r.Held = append(r.Held, Held(held))
	}
	var err error
	if r.Steps, err = steps(forecast); err != nil {
		return Report{}, err
	}
	if len(forecast.Rounds) > 0 && len(forecast.Rounds[0].Steps) == 0 {
		r.UnderWay = awaited(forecast.Rounds[0].Then)
	}
	r.Notes = imageNotes(w)
	r.Summary = summarize(w, forecast)
	return r, nil
}

// imageNotes says what a person must have seen to who changes the version and not the image: the planner learns only from the
// first Node what its image carries.
func imageNotes(w plan.World) []string {
	for _, m := range w.Machines {
		if !m.Deleting && m.Version != w.Desired.Version && m.ClonedFrom == w.Desired.Template {
			return []string{fmt.Sprintf("the version changes and %s does not: its image must carry Kubernetes %s, or nothing goes on after the first Machine", w.Desired.Template, w.Desired.Version)}
		}
	}
	return nil
}

func versions(w plan.World) []string {
	list := []string{}
	for _, m := range w.Machines {
		list = append(list, m.Version)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func steps(forecast plan.Forecast) ([]Step, error) {
	list := []Step{}
	for i, round := range forecast.Rounds {
		for j, foreseen := range round.Steps {
			var fields bytes.Buffer
			if err := encode(&fields, foreseen.Step); err != nil {
				return nil, fmt.Errorf("writing down the step %s: %w", foreseen.Step, err)
			}
			step := Step{
				Type: reflect.TypeOf(foreseen.Step).Name(), Fields: fields.Bytes(), Text: foreseen.Step.String(), Round: i + 1,
				Cause: foreseen.Cause, Why: foreseen.Why, Disruption: foreseen.Disruption, Replaces: foreseen.Replaces,
			}
			if j == len(round.Steps)-1 {
				step.Then = awaited(round.Then)
			}
			list = append(list, step)
		}
	}
	return list, nil
}

func awaited(then []plan.Awaited) []Awaited {
	var list []Awaited
	for _, a := range then {
		list = append(list, Awaited{What: a.What, Machine: a.Machine})
	}
	return list
}

// happening is what happens by itself, in words.
func happening(a Awaited) string {
	switch a.What {
	case plan.MachineAsks:
		return a.Machine + " is up"
	case plan.APIServerAnswers:
		return "the API server on " + a.Machine + " answers"
	case plan.MachineDrained:
		return a.Machine + " is drained"
	case plan.MachineJoined:
		return a.Machine + " joins"
	case plan.RetryPeriodPassed:
		return "spec.remediation.retryPeriodSeconds passes"
	case plan.BackupTaken:
		return "the backup is there"
	case plan.RestorePrepared:
		return "the data of the snapshot is there"
	default:
		return string(a.What)
	}
}
