// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestLeaving(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a deleted endpoint that has nothing goes and gives its session up": forgets,
		"an endpoint that was never used goes without a session":            goesUnused,
		"a deleted endpoint waits for its machines":                         waitsForMachines,
		"copies that nobody needs go with the endpoint":                     takesCopiesAlong,
		"a machine that nothing was made for holds nothing":                 ignoresPlans,
		"a cache that lags does not let the endpoint go":                    asksTheServer,
		"an endpoint that does not answer says why nothing leaves it":       tellsTrouble,
		"a manager that restarts reaches what is left":                      reachesWhatIsLeft,
		"a manager that dies at any write lets go in the end":               diesLeaving,
	})
}

// forgets: a session that nobody needs keeps a connection, and its events wake reconcilers for nothing.
func forgets(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.delete(s.endpoint)
	s.pass(manager)
	if s.exists() {
		s.Fatalf("it stays: %v", s.endpoint.Status.Conditions)
	}
	s.pass(manager)
	if n := s.host.sessions(); n != 0 {
		s.Errorf("there are %d sessions", n)
	}
	if _, err := manager.Sessions.Platform(s.name); !errors.Is(err, platform.ErrUnreachable) {
		s.Errorf("its session is still handed out: %v", err)
	}
	if last := s.reports[len(s.reports)-1]; last != 0 {
		s.Errorf("it is reported to have %d orphans", last)
	}
}

// goesUnused: an endpoint that was deleted before it had an id can have nothing of ours.
func goesUnused(s *story) {
	s.begin(func(e *ingotv1.PlatformEndpoint) { e.Finalizers = []string{ingotv1.PlatformEndpointFinalizer} })
	s.delete(s.endpoint)
	s.pass(s.manager())
	if s.exists() || len(s.host.settings) != 0 {
		s.Errorf("it exists: %t; %d sessions were opened", s.exists(), len(s.host.settings))
	}
}

// waitsForMachines: without the endpoint nobody could remove its instances any more.
func waitsForMachines(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	machine := s.machine("0e5e6f3c-0000-4000-8000-000000000001")
	older := s.machine("0e5e6f3c-0000-4000-8000-000000000002", func(m *infrav1.IngotMachine) { m.Spec.Placement = infrav1.MachinePlacement{} })
	s.create(builder.ImageReplica(s.name, s.name, s.name))
	s.delete(s.endpoint)
	result := s.pass(manager)
	for _, part := range []string{"2 IngotMachines", s.name + "/" + machine.Name, s.name + "/" + older.Name, "Delete their Machines"} {
		s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInUseReason, part)
	}
	if result.RequeueAfter == 0 || s.host.sessions() != 1 {
		s.Errorf("looked at again after %s, %d sessions", result.RequeueAfter, s.host.sessions())
	}
	if err := apiServer.Get(s.Context(), client.ObjectKey{Name: s.name}, &ingotv1.ImageReplica{}); err != nil {
		s.Errorf("the copy that the machines need is gone: %v", err)
	}
	before := s.endpoint.ResourceVersion
	s.after(time.Minute, manager)
	if s.endpoint.ResourceVersion != before {
		s.Error("waiting writes")
	}
	s.delete(machine)
	s.delete(older)
	s.pass(manager) // the copy goes
	s.pass(manager)
	if s.exists() {
		s.Errorf("it stays: %v", s.endpoint.Status.Conditions)
	}
}

// takesCopiesAlong: what Ingot stored on a host it also takes away, and until then the endpoint is needed.
func takesCopiesAlong(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	replica := builder.ImageReplica(s.name, s.name, s.name, func(r *ingotv1.ImageReplica) { r.Finalizers = []string{ingotv1.ImageReplicaFinalizer} })
	s.create(replica)
	other := builder.ImageReplica(s.name+"-elsewhere", s.name, s.name+"-elsewhere")
	s.create(other)
	s.delete(s.endpoint)
	s.pass(manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInUseReason, "1 ImageReplicas ("+s.name+")")
	if err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(replica), replica); err != nil || replica.DeletionTimestamp.IsZero() {
		s.Fatalf("the copy was not deleted: %v", err)
	}
	if err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(other), other); err != nil || !other.DeletionTimestamp.IsZero() {
		s.Errorf("a copy elsewhere was deleted: %v", err)
	}
	s.expectEvents("ReplicaCollected")
	s.pass(manager)
	s.expectEvents()
	replica.Finalizers = nil
	if err := apiServer.Update(s.Context(), replica); err != nil {
		s.Fatal(err)
	}
	s.pass(manager)
	if s.exists() {
		s.Errorf("it stays: %v", s.endpoint.Status.Conditions)
	}
}

// ignoresPlans: a machine whose image cannot be resolved may name the endpoint for ever.
func ignoresPlans(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.machine("0e5e6f3c-0000-4000-8000-000000000003", func(m *infrav1.IngotMachine) {
		m.Spec.Placement, m.Spec.PinnedImage = infrav1.MachinePlacement{}, infrav1.PinnedImage{}
	})
	s.delete(s.endpoint)
	s.pass(manager)
	if s.exists() {
		s.Errorf("it stays: %v", s.endpoint.Status.Conditions)
	}
}

// asksTheServer: a machine that was placed a moment ago may have its instance a moment later.
func asksTheServer(s *story) {
	s.begin()
	s.pass(s.manager())
	s.machine("0e5e6f3c-0000-4000-8000-000000000004")
	s.create(builder.ImageReplica(s.name, s.name, s.name))
	s.delete(s.endpoint)
	s.pass(s.manager(func(r *platformendpoint.Reconciler) {
		r.Client = interceptor.NewClient(apiServer, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if _, machines := list.(*infrav1.IngotMachineList); machines {
					return nil
				}
				return c.List(ctx, list, opts...)
			},
		})
	}))
	if !s.exists() {
		s.Fatal("the endpoint went under a machine")
	}
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInUseReason, "1 IngotMachines")
	if err := apiServer.Get(s.Context(), client.ObjectKey{Name: s.name}, &ingotv1.ImageReplica{}); err != nil {
		s.Errorf("the copy that the machine needs is gone: %v", err)
	}
}

func tellsTrouble(s *story) {
	s.begin()
	manager := s.manager()
	s.pass(manager)
	s.machine("0e5e6f3c-0000-4000-8000-000000000005")
	s.delete(s.endpoint)
	s.host.trouble = fmt.Errorf("%w: no route", platform.ErrUnreachable)
	s.after(time.Hour, manager)
	s.expect(metav1.ConditionFalse, ingotv1.PlatformEndpointInUseReason, "no route")
}

// reachesWhatIsLeft: the machines cannot go without a session.
func reachesWhatIsLeft(s *story) {
	s.begin()
	s.pass(s.manager())
	s.machine("0e5e6f3c-0000-4000-8000-000000000006")
	s.delete(s.endpoint)
	restarted := s.manager()
	s.pass(restarted)
	if _, err := restarted.Sessions.Platform(s.name); err != nil {
		s.Errorf("there is no session: %v", err)
	}
}

// diesLeaving kills the manager at every write of an endpoint's life.
func diesLeaving(s *story) {
	original := s.endpoint.DeepCopy()
	for at := 1; ; at++ {
		for _, lost := range []bool{false, true} {
			original.DeepCopyInto(s.endpoint)
			s.begin()
			replica := builder.ImageReplica(s.name, s.name, s.name)
			s.create(replica)
			writes := &builder.Writes{KillAt: at, Lost: lost}
			manager := s.manager(through(writes))
			deleted := false
			for passes := 0; s.exists(); passes++ {
				if passes > 20 {
					s.Fatalf("killed at write %d it never goes: %v", at, s.endpoint.Status.Conditions)
				}
				if _, err := s.reconcile(manager); err != nil {
					if !writes.Killed() {
						s.Fatal(err)
					}
					manager = s.manager()
				}
				if passes == 3 && !deleted {
					deleted = true
					s.delete(s.endpoint)
				}
			}
			if err := apiServer.Get(s.Context(), client.ObjectKeyFromObject(replica), replica); client.IgnoreNotFound(err) != nil || err == nil {
				s.Fatalf("killed at write %d the copy stays: %v", at, err)
			}
			if !writes.Killed() {
				s.Logf("%d crash points", at-1)
				return
			}
		}
	}
}
