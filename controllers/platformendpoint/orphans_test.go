// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestOrphans(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"what belongs to nobody is reported, once":                        reports,
		"where everything belongs to a machine that is said":              noneFound,
		"a machine that is made during the look is no orphan":             madeMeanwhile,
		"a machine that is being deleted still has its instance":          stillDeleting,
		"an orphan that a machine claims is none any more":                claimed,
		"while there are orphans they are looked for every five minutes":  looksMoreOften,
		"an endpoint whose session flaps is not listed all the time":      flaps,
		"a manager that sees a part of the machines calls nothing orphan": seesPart,
		"a platform that cannot list calls nothing orphan":                cannotList,
		"an endpoint that cannot be listed keeps what was known":          listFails,
		"an endpoint that does not answer keeps what was known":           silence,
		"machines that cannot be listed make no orphans":                  machinesFail,
		"two managers that look at once do not overwrite each other":      twoLook,
		"an orphan is known since it was first seen by any manager":       survivesRestart,
		"thousands of machines are read page by page":                     readsPages,
	})
}

// reports: a person must hear of it, and must not hear of it every five minutes.
func reports(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	s.inhabit(2)
	orphan := s.instance("left-behind")
	s.after(time.Hour, manager)
	for _, part := range []string{"left-behind (" + orphan + ")", "remove them by hand", "spec.orphans.mode Collect"} {
		s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, part)
	}
	if all := s.endpoint.Status.Orphans; len(all) != 1 || all[0].UUID != orphan || all[0].Name != "left-behind" || all[0].Running == nil || !*all[0].Running {
		s.Errorf("the orphans are %+v", all)
	}
	s.expectEvents("OrphanFound")
	before := s.endpoint.ResourceVersion
	for range 5 {
		s.after(5*time.Minute, manager)
	}
	s.expectEvents()
	if s.endpoint.ResourceVersion != before {
		s.Error("an orphan that is known was written again")
	}
	if !slices.Contains(s.reports, 1) || s.reports[0] != 0 || s.reports[len(s.reports)-1] != 1 {
		s.Errorf("reported were %v", s.reports)
	}
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
}

func noneFound(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.inhabit(3)
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	s.expectEvents()
}

// madeMeanwhile: the machine is on record before its instance is made, so the list that comes second has it.
func madeMeanwhile(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	id := s.instance("new")
	s.host.afterList = func() { s.machine(id) }
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
}

func stillDeleting(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.delete(s.machine(s.instance("going"), func(m *infrav1.IngotMachine) { m.Finalizers = []string{infrav1.IngotMachineFinalizer} }))
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
}

// claimed: a backup was restored after somebody had been told.
func claimed(s *story) {
	s.begin(collecting)
	manager := s.manager()
	s.pass(manager)
	s.inhabit(1)
	id := s.instance("restored")
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, id)
	s.machine(id)
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	if len(s.endpoint.Status.Orphans) != 0 || !s.runs(id) {
		s.Errorf("the orphans are %+v, and it runs: %t", s.endpoint.Status.Orphans, s.runs(id))
	}
}

// looksMoreOften: a person who removes orphans by hand wants to see it, and a poll costs a host all the same.
func looksMoreOften(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.instance("left-behind")
	s.after(time.Hour, manager)
	_, begin := s.host.count()
	for range 60 {
		s.after(time.Minute, manager)
	}
	if _, lists := s.host.count(); lists-begin != 12 {
		s.Errorf("in an hour they were looked for %d times", lists-begin)
	}
}

// flaps: a host with a bad cable reconnects every few seconds.
func flaps(s *story) {
	s.begin()
	s.running()
	s.eventually("the endpoint is ready", s.isReady)
	_, begin := s.host.count()
	checks := 0
	for i := range 20 {
		s.host.fail(nil)
		s.eventually("the event was heard", func() bool { now, _ := s.host.count(); return now > checks+i/20 })
		checks, _ = s.host.count()
	}
	if _, lists := s.host.count(); lists-begin > 1 {
		s.Errorf("it was listed %d times", lists-begin)
	}
	s.clock.SetTime(s.clock.Now().Add(5 * time.Minute))
	s.host.fail(nil)
	s.eventually("it is listed again", func() bool { _, lists := s.host.count(); return lists > begin })
}

func seesPart(s *story) {
	s.begin(collecting)
	manager := s.manager(func(r *platformendpoint.Reconciler) { r.SeesAllMachines = false })
	s.pass(manager)
	s.instance("somebody else's, in another namespace")
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionUnknown, ingotv1.PlatformEndpointOrphansUnknownReason, "--namespace")
	if _, lists := s.host.count(); lists != 0 || len(s.endpoint.Status.Orphans) != 0 {
		s.Errorf("it was listed %d times, and the orphans are %+v", lists, s.endpoint.Status.Orphans)
	}
}

func cannotList(s *story) {
	s.begin()
	s.host.plain = true
	result := s.pass(s.manager())
	s.expect(metav1.ConditionTrue, ingotv1.PlatformEndpointReadyReason, "")
	s.expectOrphans(metav1.ConditionUnknown, ingotv1.PlatformEndpointOrphansUnknownReason, "cannot list")
	if result.RequeueAfter != 5*time.Minute {
		s.Errorf("looked at again after %s", result.RequeueAfter)
	}
}

// listFails: what could not be told is not gone, and it is not tried every second.
func listFails(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	orphan := s.instance("left-behind")
	s.after(time.Hour, manager)
	s.host.listFails = fmt.Errorf("%w: pool slow is not readable", platform.ErrUnreachable)
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionUnknown, ingotv1.PlatformEndpointOrphansUnknownReason, "pool slow is not readable")
	if all := s.endpoint.Status.Orphans; len(all) != 1 || all[0].UUID != orphan {
		s.Errorf("the orphans are %+v", all)
	}
	_, begin := s.host.count()
	for range 10 {
		s.after(time.Minute, manager)
	}
	if _, lists := s.host.count(); lists-begin != 2 {
		s.Errorf("it was tried %d times in ten minutes", lists-begin)
	}
	s.host.listFails = nil
	s.after(5*time.Minute, manager)
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, orphan)
	s.expectEvents("OrphanFound")
}

func silence(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	orphan := s.instance("left-behind")
	s.after(time.Hour, manager)
	since := s.endpoint.Status.Orphans[0].FirstSeen
	s.host.trouble = fmt.Errorf("%w: no route", platform.ErrUnreachable)
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionUnknown, ingotv1.PlatformEndpointOrphansUnknownReason, "does not answer")
	s.host.trouble = nil
	s.after(time.Hour, manager)
	s.expectOrphans(metav1.ConditionFalse, ingotv1.PlatformEndpointOrphansFoundReason, orphan)
	if all := s.endpoint.Status.Orphans; len(all) != 1 || !all[0].FirstSeen.Equal(&since) {
		s.Errorf("the orphans are %+v, first seen at %s", all, since)
	}
}

// machines is a reader of machines that fails, or does something first.
type machines struct {
	client.Reader

	before func() error
	limits *[]int64
}

// List implements client.Reader.
func (m machines) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if m.limits != nil {
		o := client.ListOptions{}
		o.ApplyOptions(opts)
		*m.limits = append(*m.limits, o.Limit)
	}
	if m.before != nil {
		if err := m.before(); err != nil {
			return err
		}
	}
	return m.Reader.List(ctx, list, opts...)
}

func machinesFail(s *story) {
	s.begin(collecting)
	s.pass(s.manager())
	s.instance("left-behind")
	blind := s.manager(func(r *platformendpoint.Reconciler) {
		r.MachineReader = machines{Reader: apiServer, before: func() error { return errors.New("etcd is electing a leader") }}
	})
	if _, err := s.reconcile(blind); err == nil {
		s.Error("it is not tried again soon")
	}
	s.expectOrphans(metav1.ConditionTrue, ingotv1.PlatformEndpointNoOrphansReason, "")
	s.expectEvents()
}

// twoLook: for a moment there may be two managers, and the slower one must not take back what the other has found.
func twoLook(s *story) {
	s.begin()
	s.pass(s.manager())
	s.inhabit(1)
	writes := &builder.Writes{}
	slow := s.manager(through(writes))
	writes.Before = func() {
		s.instance("left-behind")
		s.pass(s.manager())
	}
	s.instance("seen by both")
	if _, err := s.reconcile(slow); !apierrors.IsConflict(err) {
		s.Errorf("the slower manager is not told that it was too slow: %v", err)
	}
	if n := len(s.endpoint.Status.Orphans); n != 2 {
		s.Fatalf("there are %d orphans", n)
	}
	s.expectEvents("OrphanFound", "OrphanFound")
	_, begin := s.host.count()
	s.pass(slow)
	if _, lists := s.host.count(); lists != begin+1 {
		s.Error("what came of a look is not on record, and it is not looked again")
	}
	if n := len(s.endpoint.Status.Orphans); n != 2 {
		s.Errorf("there are %d orphans", n)
	}
	s.expectEvents()
}

func survivesRestart(s *story) {
	s.begin(collecting)
	s.pass(s.manager())
	s.inhabit(1)
	orphan := s.instance("left-behind")
	s.after(time.Hour, s.manager())
	since := s.endpoint.Status.Orphans[0].FirstSeen
	for range 3 {
		s.after(3*time.Minute, s.manager())
		if all := s.endpoint.Status.Orphans; len(all) != 1 || !all[0].FirstSeen.Equal(&since) {
			s.Fatalf("the orphans are %+v, first seen at %s", all, since)
		}
	}
	s.after(time.Minute, s.manager())
	if s.runs(orphan) {
		s.Error("managers that restart forget for how long it has been an orphan")
	}
	s.expectEvents("OrphanFound", "OrphanCollected")
}

func readsPages(s *story) {
	s.begin()
	var limits []int64
	s.pass(s.manager(func(r *platformendpoint.Reconciler) { r.MachineReader = machines{Reader: apiServer, limits: &limits} }))
	if len(limits) == 0 || slices.Contains(limits, 0) {
		s.Errorf("machines were read in pages of %v", limits)
	}
}
