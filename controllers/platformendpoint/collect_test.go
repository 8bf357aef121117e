// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestCollection(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"an orphan is removed when it has been one for long enough":                                     collects,
		"what is only to be reported stays for ever":                                                    onlyReports,
		"a machine that appears at the last moment keeps its instance":                                  savedAtLast,
		"a session that is lost in the middle is gone on with later":                                    lostInTheMiddle,
		"a removal that takes longer is gone on with":                                                   takesLonger,
		"what is not ours after all is reported and left alone":                                         foreign,
		"a removal that fails does not keep the others":                                                 oneFails,
		"at most eight are removed at once":                                                             boundsItself,
		"an endpoint that came from another management cluster collects nothing until a person says so": cameFromElsewhere,
		"a manager that dies at any write removes nothing too early":                                    diesCollecting,
	})
}

func collecting(e *ingotv1.PlatformEndpoint) {
	e.Spec.Orphans = ingotv1.OrphanPolicy{Mode: ingotv1.OrphanModeCollect, MinAgeMinutes: 10}
}

// collects: from the first sight to the end, step by step.
func collects(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	s.inhabit(2)
	orphan := s.instance("left-behind")
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, "for 10 minutes")
	s.expectEvents("OrphanFound")
	s.after(5*time.Minute, manager)
	if !s.runs(orphan) {
		s.Fatal("it was removed too early")
	}
	s.after(5*time.Minute, manager)
	if _, there := s.host.Instance(orphan); there || len(s.host.Instances()) != 2 {
		s.Errorf("what is left is %v", s.host.Instances())
	}
	s.expectEvents("OrphanCollected")
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	if len(s.endpoint.Status.Orphans) != 0 || s.reports[len(s.reports)-1] != 0 {
		s.Errorf("the orphans are %+v, reported were %v", s.endpoint.Status.Orphans, s.reports)
	}
	if got := s.host.released(); !slices.Equal(got, []string{orphan}) {
		s.Errorf("the removal of %v was asked for", got)
	}
}

func onlyReports(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.inhabit(1)
	orphan := s.instance("left-behind")
	for range 5 {
		s.after(24*time.Hour, manager)
	}
	if !s.runs(orphan) || len(s.host.released()) != 0 {
		s.Error("it was removed, and nobody had asked for it")
	}
}

// savedAtLast: between the look and the removal of the third orphan the removal of two others may take minutes.
func savedAtLast(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	s.inhabit(1)
	orphan := s.instance("restored")
	s.after(time.Hour, manager)
	lists := 0
	manager.MachineReader = machines{Reader: apiServer, before: func() error {
		if lists++; lists == 2 {
			s.machine(orphan)
		}
		return nil
	}}
	s.after(time.Hour, manager)
	if !s.runs(orphan) || len(s.host.released()) != 0 {
		s.Error("an instance with a machine was removed")
	}
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	s.expectEvents("OrphanFound")
}

// abandon makes orphans that are old enough to be removed, next to as many machines.
func (s *story) abandon(manager *platformendpoint.Reconciler, n int) []string {
	s.Helper()
	s.inhabit(n)
	var orphans []string
	for i := range n {
		orphans = append(orphans, s.instance(fmt.Sprintf("left-%d", i)))
	}
	s.after(time.Hour, manager)
	s.events()
	slices.Sort(orphans)
	return orphans
}

// lostInTheMiddle: the host dies after the first of three.
func lostInTheMiddle(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	orphans := s.abandon(manager, 3)
	removed := 0
	s.host.beforeRelease = func(string) error {
		if removed++; removed > 1 {
			return fmt.Errorf("%w: the host is gone", platform.ErrUnreachable)
		}
		return nil
	}
	s.after(time.Hour, manager)
	s.expectEvents("OrphanCollected")
	if n := len(s.endpoint.Status.Orphans); n != 2 || len(s.host.released()) != 2 {
		s.Errorf("%d orphans are left of %v, and the removal of %v was asked for", n, orphans, s.host.released())
	}
	s.host.beforeRelease = nil
	s.after(5*time.Minute, manager)
	s.expectEvents("OrphanCollected", "OrphanCollected")
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
}

// takesLonger: one look is bounded, and nothing is called gone before it is.
func takesLonger(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	orphan := s.abandon(manager, 1)[0]
	s.host.rounds = 5
	s.after(time.Hour, manager)
	s.expectEvents()
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, orphan)
	s.after(5*time.Minute, manager)
	s.expectEvents("OrphanCollected")
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
}

// foreign: the platform's word that something is not ours is the last one.
func foreign(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	orphan := s.abandon(manager, 1)[0]
	s.host.beforeRelease = func(string) error { return fmt.Errorf("%w: another mark", platform.ErrForeign) }
	for range 4 {
		s.after(time.Hour, manager)
	}
	s.expectEvents("OrphanForeign")
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, "left alone")
	if !s.runs(orphan) {
		s.Error("it was removed")
	}
}

func oneFails(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	orphans := s.abandon(manager, 3)
	s.host.beforeRelease = func(id string) error {
		if id == orphans[0] {
			return errors.New("device or resource busy")
		}
		return nil
	}
	s.after(time.Hour, manager)
	s.expectEvents("OrphanCollected", "OrphanCollected")
	if all := s.endpoint.Status.Orphans; len(all) != 1 || all[0].UUID != orphans[0] {
		s.Errorf("the orphans are %+v", all)
	}
}

// boundsItself: a mistake in what machines there are must not cost a fleet at once.
func boundsItself(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	s.abandon(manager, 10)
	s.after(time.Hour, manager)
	if n := len(s.events()); n != 8 || len(s.endpoint.Status.Orphans) != 2 {
		s.Errorf("%d were removed, and %d are left", n, len(s.endpoint.Status.Orphans))
	}
	s.after(5*time.Minute, manager)
	if n := len(s.events()); n != 2 {
		s.Errorf("then %d were removed", n)
	}
}

// cameFromElsewhere: clusterctl copies a PlatformEndpoint with its id and leaves the other one where it is. Machines that
// were not moved along look like orphans here, and run clusters there.
func cameFromElsewhere(s *story) {
	s.begin(collecting, func(e *ingotv1.PlatformEndpoint) {
		e.Spec.ManagementClusterID = "0e5e6f3c-0000-4000-8000-000000000000"
		e.Annotations = map[string]string{platformendpoint.CollectsOrphansAnnotation: "0e5e6f3c-1111-4000-8000-000000000000"}
		e.Finalizers = []string{ingotv1.PlatformEndpointFinalizer}
	})
	manager := s.manager()
	s.pass(manager)
	orphan := s.abandon(manager, 1)[0]
	for range 3 {
		s.after(24*time.Hour, manager)
	}
	if !s.runs(orphan) || len(s.host.released()) != 0 {
		s.Fatal("another management cluster's machine was removed")
	}
	remedy := fmt.Sprintf("set its annotation %s to %s", platformendpoint.CollectsOrphansAnnotation, s.endpoint.UID)
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, remedy)
	s.change(func(e *ingotv1.PlatformEndpoint) {
		e.Annotations[platformendpoint.CollectsOrphansAnnotation] = string(e.UID)
	})
	s.after(time.Hour, manager)
	if s.runs(orphan) {
		s.Error("it was not removed although a person had said so")
	}
}

// diesCollecting kills the manager at every write on the way from an orphan's first sight to its end.
func diesCollecting(s *story) {
	s.begin(collecting)
	s.pass(s.manager())
	s.inhabit(20)
	for at := 1; ; at++ {
		for _, lost := range []bool{false, true} {
			orphan := s.instance("left-behind")
			writes := &builder.Writes{KillAt: at, Lost: lost}
			manager := s.manager(through(writes))
			begin := s.clock.Now()
			for s.runs(orphan) {
				if _, err := s.reconcile(manager); err != nil {
					if !writes.Killed() {
						s.Fatal(err)
					}
					manager = s.manager()
				}
				s.clock.SetTime(s.clock.Now().Add(5 * time.Minute))
				if s.clock.Now().Sub(begin) > time.Hour {
					s.Fatal("the orphan is never removed")
				}
			}
			if took := s.clock.Now().Sub(begin); took < 10*time.Minute {
				s.Fatalf("killed at write %d (answer lost: %t) it was removed after %s", at, lost, took)
			}
			s.pass(manager)
			s.after(5*time.Minute, manager)
			s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
			if !writes.Killed() {
				s.Logf("%d crash points", at-1)
				return
			}
		}
	}
}
