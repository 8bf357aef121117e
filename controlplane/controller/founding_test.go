// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// founders are first Machines that make etcd when they are told to. Those of Talos are tested with what speaks to them
// (controlplane/talos), and all of it together with real members in test/controlplane.
type founders struct {
	state plan.Founding
	// told are the Machines that were told, in order, and brought is what each was told to make etcd from.
	told, brought []string
	// dies is asked before a Machine is told and after it.
	dies func(after bool) bool
	// name is the Machine that was named when it was opened last, addresses are where it is.
	name      string
	addresses []string
}

func (f *founders) open(_ context.Context, access controller.Access) (controller.Founder, error) {
	if len(access.Nodes) != 1 || access.Authority == nil {
		return nil, fmt.Errorf("a first Machine is opened with %+v", access)
	}
	f.name, f.addresses = access.Nodes[0].Name, access.Nodes[0].Addresses
	return f, nil
}

func (f *founders) Look(context.Context) (plan.Founding, string, error) {
	return f.state, "", nil
}

func (f *founders) Found(context.Context) error { return f.tell("") }

func (f *founders) Recover(_ context.Context, snapshot io.Reader) error {
	content, err := io.ReadAll(snapshot)
	if err != nil {
		return err
	}
	return f.tell(string(content))
}

func (f *founders) tell(snapshot string) error {
	if f.dies != nil && f.dies(false) {
		return builder.ErrKilled
	}
	f.told, f.brought = append(f.told, f.name), append(f.brought, snapshot)
	if f.dies != nil && f.dies(true) {
		return builder.ErrKilled
	}
	return nil
}

func foundingStories() map[string]func(*story) {
	stories := map[string]func(*story){
		"the first Machine is told once to make etcd, when it waits for it":     tellsFirstMachine,
		"of two managers one tells the first Machine":                           tellsOnceInRace,
		"a first Machine that was lost is followed by another, which is told":   tellsTheNextFirst,
		"one that was told and has forgotten it is told again, but not soon":    tellsAgain,
		"where etcd is no Pod, no Machine waits for its Pod":                    gatesWithoutEtcd,
		"a first Machine is told to make etcd from a snapshot, and once":        tellsRestore,
		"a manager that was killed while it brought a snapshot brings it again": tellsRestoreAgain,
		"beside a Machine that was told, another first one is told for itself":  claimsByIdentity,
	}
	for n := 1; n <= 4; n++ {
		for _, lost := range []bool{false, true} {
			stories[fmt.Sprintf("killed at write %d of telling (reached: %t), one Machine is told", n, lost)] = func(s *story) { tellsThroughCrash(s, n, lost) }
		}
	}
	for _, after := range []bool{false, true} {
		stories[fmt.Sprintf("killed when it tells the first Machine (told: %t), one Machine is told", after)] = func(s *story) { tellsThroughDeath(s, after) }
	}
	return stories
}

// beginFounding goes on until there is a first Machine, which is not up yet.
func (s *story) beginFounding() (*founders, *clusterv1.Machine) {
	s.Helper()
	f := &founders{state: plan.FoundingWaits}
	s.driver.OpenFounder, s.driver.EtcdIsNoPod = f.open, true
	s.begin()
	s.provisionInfrastructure()
	s.settle()
	s.adoptByMachine(s.onlyMachine())
	s.machineStatus(s.onlyMachine(), func(m *clusterv1.Machine) {
		m.Status.Addresses = []clusterv1.MachineAddress{{Type: clusterv1.MachineHostName, Address: "no-address"}, {Type: clusterv1.MachineExternalIP, Address: "198.51.100.1"}, {Type: clusterv1.MachineInternalIP, Address: "192.0.2.1"}}
	})
	s.settle()
	return f, s.onlyMachine()
}

func (s *story) expectTold(f *founders, machines ...string) {
	s.Helper()
	if !slices.Equal(f.told, machines) {
		s.Errorf("told to make etcd were %q, and not %q", f.told, machines)
	}
}

func tellsFirstMachine(s *story) {
	f, m := s.beginFounding()
	s.expectTold(f)
	if _, claimed := s.controlPlane().Annotations[controlplanev1.EtcdFoundingAnnotation]; claimed {
		s.Error("a Machine is claimed that cannot be told yet")
	}
	f.state = plan.FoundingWanted
	s.settle()
	s.expectTold(f, m.Name)
	if !slices.Equal(f.addresses, []string{"192.0.2.1", "198.51.100.1"}) {
		s.Errorf("it is looked for at %v", f.addresses)
	}
	if record := s.controlPlane().Annotations[controlplanev1.EtcdFoundingAnnotation]; !strings.Contains(record, string(m.UID)) || !strings.Contains(record, "accepted") {
		s.Errorf("written down is: %s", record)
	}
	if message := s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionFalse, controlplanev1.NotInitializedReason); !strings.Contains(message, "told") {
		s.Errorf("the message is: %s", message)
	}
	s.expectQuiet()
	f.state = plan.FoundingDone
	s.settle()
	s.workload.answer()
	s.settle()
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionTrue, controlplanev1.InitializedReason)
	f.state = plan.FoundingWanted // its disk was lost
	s.clock.SetTime(s.clock.Now().Add(time.Hour))
	s.settle()
	s.expectTold(f, m.Name)
}

func tellsAgain(s *story) {
	f, m := s.beginFounding()
	f.state = plan.FoundingWanted
	s.settle()
	s.clock.SetTime(s.clock.Now().Add(9 * time.Minute))
	s.settle()
	s.expectTold(f, m.Name)
	s.clock.SetTime(s.clock.Now().Add(2 * time.Minute))
	s.settle()
	s.expectTold(f, m.Name, m.Name)
}

// tellsOnceInRace has another manager do all of it between the look of the first and its claim.
func tellsOnceInRace(s *story) {
	f, m := s.beginFounding()
	f.state = plan.FoundingWanted
	first := s.reconciler
	writes := s.writes
	s.restart()
	second := s.reconciler
	s.reconciler = first
	raced := false
	writes.Before = func() {
		s.reconciler, raced = second, true
		s.settle()
		s.reconciler = first
	}
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	if !raced {
		s.Fatal("there was no race")
	}
	s.expectTold(f, m.Name)
	s.writes = writes
	s.settle()
	s.expectTold(f, m.Name)
}

func tellsTheNextFirst(s *story) {
	f, m := s.beginFounding()
	f.state = plan.FoundingWanted
	s.settle()
	s.loseMachine(m)
	f.state = plan.FoundingWaits
	s.settle()
	next := s.onlyMachine()
	f.state = plan.FoundingWanted
	s.settle()
	s.expectTold(f, m.Name, next.Name)
}

// claimsByIdentity: what was written down of another Machine of the same name says nothing of this one.
func claimsByIdentity(s *story) {
	f, m := s.beginFounding()
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		metav1.SetMetaDataAnnotation(&cp.ObjectMeta, controlplanev1.EtcdFoundingAnnotation, fmt.Sprintf(`{"machine":%q,"uid":"another","claimed":%q}`, m.Name, s.clock.Now().UTC().Format(time.RFC3339)))
	})
	f.state = plan.FoundingWanted
	s.settle()
	s.expectTold(f, m.Name)
}

func tellsThroughCrash(s *story, n int, lost bool) {
	f, m := s.beginFounding()
	s.restart()
	s.writes.KillAt, s.writes.Lost = n, lost
	f.state = plan.FoundingWanted
	for range 4 {
		if _, err := s.pass(); err != nil && !errors.Is(err, builder.ErrKilled) && !s.writes.Killed() {
			s.Fatalf("a pass failed before the crash: %v", err)
		}
	}
	s.recover(f, m)
}

func tellsThroughDeath(s *story, after bool) {
	f, m := s.beginFounding()
	f.state = plan.FoundingWanted
	f.dies = func(is bool) bool { return is == after }
	for range 3 { // a killed manager does not go on, and it does not matter that this one does: who has claimed waits
		_, _ = s.pass()
	}
	f.dies = nil
	s.recover(f, m)
}

// recover goes on with a manager that remembers nothing, after the time that another may take.
func (s *story) recover(f *founders, m *clusterv1.Machine) {
	s.Helper()
	before := len(f.told)
	s.restart()
	s.settle()
	s.clock.SetTime(s.clock.Now().Add(time.Minute))
	s.settle()
	if len(f.told) == 0 || len(f.told) > before+1 {
		s.Errorf("told were %q, of which %d before the crash", f.told, before)
	}
	for _, name := range f.told {
		if name != m.Name {
			s.Errorf("told was %s", name)
		}
	}
	f.state = plan.FoundingDone
	s.workload.answer()
	s.settle()
	s.expectOneOfEach()
	s.expectCondition(controlplanev1.InitializedCondition, metav1.ConditionTrue, controlplanev1.InitializedReason)
	s.expectQuiet()
}

func gatesWithoutEtcd(s *story) {
	_, m := s.beginFounding()
	for _, gate := range m.Spec.ReadinessGates {
		if gate.ConditionType == controlplanev1.MachineEtcdPodHealthyCondition {
			s.Error("the Machine waits for a Pod of etcd that never comes")
		}
	}
	if len(m.Spec.ReadinessGates) != 3 {
		s.Errorf("gates are %+v", m.Spec.ReadinessGates)
	}
}

// loseAllTold has every Machine of a control plane be gone whose first Machine was told to make etcd, and asks for a snapshot.
func (s *story) loseAllTold() *founders {
	s.Helper()
	f, m := s.beginFounding()
	f.state = plan.FoundingWanted
	s.settle()
	s.expectTold(f, m.Name)
	f.state = plan.FoundingDone
	s.workload.answer()
	s.settle()
	s.loseMachine(m)
	s.workload.fallSilent()
	s.etcd.members = nil
	f.state, f.told, f.brought = plan.FoundingWaits, nil, nil
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) { cp.Spec.RestoreFrom.Snapshot = lastSnapshot })
	s.settle()
	return f
}

func tellsRestore(s *story) {
	f := s.loseAllTold()
	m := s.onlyMachine()
	config, _ := get(s, m.Name, &bootstrapv1.IngotConfig{})
	if _, told := s.restoreSecret(); told || config.Spec.RestoreFrom.Name != "" || m.Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot {
		s.Errorf("the Machine is to fetch something: %t, %+v, %v", told, config.Spec.RestoreFrom, m.Annotations)
	}
	s.expectTold(f)
	f.state = plan.FoundingWanted
	s.settle()
	s.expectTold(f, m.Name)
	if !slices.Equal(f.brought, []string{"restored " + lastSnapshot}) {
		s.Errorf("it was told to make etcd from %q", f.brought)
	}
	s.expectQuiet()
	f.state = plan.FoundingDone
	s.adoptByMachine(m)
	s.workload.answer()
	s.settle()
	if s.controlPlane().Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot || len(s.restores.Asked()) > 0 {
		s.Errorf("the restore does not end: %v, %+v", s.controlPlane().Annotations, s.restores.Asked())
	}
	f.state = plan.FoundingWanted // its disk was lost
	s.clock.SetTime(s.clock.Now().Add(time.Hour))
	s.settle()
	s.expectTold(f, m.Name)
}

func tellsRestoreAgain(s *story) {
	f := s.loseAllTold()
	m := s.onlyMachine()
	f.state = plan.FoundingWanted
	f.dies = func(after bool) bool { return !after }
	_, _ = s.pass()
	_, _ = s.pass()
	f.dies = nil
	s.restart()
	s.settle()
	s.expectTold(f) // another manager may still be bringing it
	s.clock.SetTime(s.clock.Now().Add(controller.RecoverBound + time.Minute))
	s.settle()
	s.expectTold(f, m.Name)
	if !slices.Equal(f.brought, []string{"restored " + lastSnapshot}) {
		s.Errorf("it was told to make etcd from %q", f.brought)
	}
}
