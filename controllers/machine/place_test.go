// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

func TestPlacement(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a machine that selects its endpoint stays where it was put":      staysWhereItWasPut,
		"a failure domain is obeyed, and Cluster API is told of it":       obeysFailureDomain,
		"a named endpoint outside the failure domain is refused":          refusesOtherDomain,
		"while every endpoint is full the machine waits for room":         waitsForRoom,
		"the same room is not given away twice":                           givesRoomAwayOnce,
		"machines wait for their turn, and it comes":                      waitsForItsTurn,
		"a manager that was restarted counts who is in the making":        countsAfterRestart,
		"a deleted machine gives its turn back":                           givesTurnBack,
		"bootstrap data that goes while the guest boots stops nothing":    forgetsDataEarly,
		"an instance that vanished before its address is not made again":  isGoneEarly,
		"a guest that is told to shut down has its time, and no more":     shutsDown,
		"secure boot is refused from an image that does not say it can":   refusesSecureBoot,
		"a machine of an earlier version is where it said that it would":  livesWhereItSaid,
		"a machine without room is deleted without asking anybody":        neverPlaced,
		"a machine whose place was never written has made nothing, twice": losesPlaceWrite,
	})
}

// select makes the story's machine choose among endpoints of the story.
func (s *story) selecting() {
	s.infra.Spec.Platform.Libvirt.EndpointName = ""
	s.infra.Spec.Platform.Libvirt.EndpointSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"story": s.namespace}}
}

// host creates and connects one more endpoint that the story's machines select.
func (s *story) host(name string, change func(*ingotv1.PlatformEndpoint)) string {
	s.Helper()
	e := builder.PlatformEndpoint(s.namespace+"-"+name, func(e *ingotv1.PlatformEndpoint) {
		e.Labels = map[string]string{"story": s.namespace}
		change(e)
	})
	s.create(e)
	s.connectTo(e.Name)
	return e.Name
}

func memory(text string) func(*ingotv1.PlatformEndpoint) {
	return func(e *ingotv1.PlatformEndpoint) { e.Spec.Capacity.Memory = new(resource.MustParse(text)) }
}

// another creates one more machine like the story's.
func (s *story) another(name string, change ...func(*clusterv1.Machine)) client.ObjectKey {
	s.Helper()
	m := builder.Machine(name, append(change, func(m *clusterv1.Machine) { m.Spec.Bootstrap.DataSecretName = new(machineName) })...)
	s.create(m)
	infra := builder.IngotMachine(m, s.namespace, s.namespace)
	infra.Spec.Platform = s.infra.Spec.Platform
	s.create(infra)
	return s.key(name)
}

// passOver runs passes over a machine, with its replicas in between, and returns it as it is then.
func (s *story) passOver(key client.ObjectKey) *infrav1.IngotMachine {
	s.Helper()
	for range 4 {
		if _, err := s.reconciler.Reconcile(s.context(), request(key)); err != nil {
			s.Fatal(err)
		}
		s.replicateAll()
	}
	infra := &infrav1.IngotMachine{}
	if err := s.client.Get(s.Context(), key, infra); err != nil {
		s.Fatal(err)
	}
	return infra
}

// staysWhereItWasPut: a placement that followed labels or load would leave instances behind that nobody looks for.
func staysWhereItWasPut(s *story) {
	s.selecting()
	s.begin()
	s.host("small", memory("6Gi"))
	big := s.host("big", memory("64Gi"))
	infra := s.passOver(s.key(machineName))
	if got := infra.Spec.Placement.EndpointName; got != big {
		s.Fatalf("it was put on %q, want %s, which has more room", got, big)
	}
	e := &ingotv1.PlatformEndpoint{ObjectMeta: metav1.ObjectMeta{Name: big}}
	s.refresh(e)
	patch(s, e, func(e *ingotv1.PlatformEndpoint) { e.Labels, e.Spec.Unschedulable = nil, new(true) })
	s.boot()
	infra = s.passOver(s.key(machineName))
	if infra.Spec.Placement.EndpointName != big || !conditions.IsTrue(infra, infrav1.InstanceReadyCondition) {
		s.Errorf("after the endpoint took no more machines: %+v, %v", infra.Spec.Placement, infra.Status.Conditions)
	}
	infra.Spec.Placement.EndpointName = "other"
	if err := s.client.Update(s.Context(), infra); err == nil {
		s.Error("the API let the place be changed")
	}
}

func obeysFailureDomain(s *story) {
	s.selecting()
	s.machine.Spec.FailureDomain = "north"
	s.begin()
	s.host("a", func(e *ingotv1.PlatformEndpoint) { e.Spec.FailureDomain = "south" })
	north := s.host("b", func(e *ingotv1.PlatformEndpoint) {
		e.Spec.FailureDomain = "north"
		memory("5Gi")(e)
	})
	infra := s.passOver(s.key(machineName))
	if infra.Spec.Placement.EndpointName != north || infra.Spec.Placement.FailureDomain != "north" {
		s.Fatalf("it was put on %+v", infra.Spec.Placement)
	}
	s.boot()
	if infra = s.passOver(s.key(machineName)); infra.Status.FailureDomain != "north" {
		s.Errorf("Cluster API is told of failure domain %q", infra.Status.FailureDomain)
	}
}

func refusesOtherDomain(s *story) {
	s.machine.Spec.FailureDomain = "north"
	s.begin()
	s.settle()
	s.expectMessage(s.expect(infrav1.PlacedCondition, metav1.ConditionFalse, infrav1.NoEndpointReason), "failure domain")
	s.expectCalls()
}

// waitsForRoom: a machine too many takes memory from all others. It is held before anything is made.
func waitsForRoom(s *story) {
	s.selecting()
	s.begin()
	s.host("only", memory("6Gi")) // a machine has 4Gi
	first := s.another("first")
	s.passOver(first)
	infra := s.passOver(s.key(machineName))
	s.expectMessage(s.expect(infrav1.PlacedCondition, metav1.ConditionFalse, infrav1.EndpointFullReason), "4096 of 6144 MiB")
	if len(infra.Finalizers) == 0 || infra.Spec.ProviderID == "" {
		s.Error("a machine that waits for room has no identity")
	}
	gone := &infrav1.IngotMachine{ObjectMeta: metav1.ObjectMeta{Namespace: first.Namespace, Name: first.Name}}
	s.refresh(gone)
	s.delete(gone)
	for range 3 {
		if _, err := s.reconciler.Reconcile(s.context(), request(first)); err != nil {
			s.Fatal(err)
		}
		s.clock.SetTime(s.clock.Now().Add(proving))
	}
	s.passOver(s.key(machineName))
	s.expect(infrav1.PlacedCondition, metav1.ConditionTrue, infrav1.PlacedReason)
}

// givesRoomAwayOnce: passes run side by side, and the cache shows a placement only after a while.
func givesRoomAwayOnce(s *story) {
	s.selecting()
	s.begin()
	s.host("only", memory("6Gi"))
	second := s.another("second")
	stale := interceptor.NewClient(s.client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, is := list.(*infrav1.IngotMachineList); is {
				return nil // nothing has arrived yet
			}
			return c.List(ctx, list, opts...)
		},
	})
	s.reconciler.Client = stale
	placed := 0
	for _, key := range []client.ObjectKey{s.key(machineName), second} {
		if s.passOver(key).Spec.Placement.EndpointName != "" {
			placed++
		}
	}
	if placed != 1 {
		s.Errorf("%d machines of 4Gi were put on an endpoint of 6Gi", placed)
	}
}

// waitsForItsTurn: fifty guests that boot at once take minutes each; eight at a time take seconds.
func waitsForItsTurn(s *story) {
	s.endpoint.Spec.Budget.CreatesInFlight = new(int32(1))
	s.begin()
	s.settle()
	second, third := s.another("second"), s.another("third")
	queued := func(key client.ObjectKey) bool {
		return conditions.GetReason(s.passOver(key), infrav1.InstanceReadyCondition) == infrav1.InstanceQueuedReason
	}
	if n := len(s.platform.Instances()); n != 1 {
		s.Fatalf("there are %d instances", n)
	}
	if queued(second) || queued(third) {
		s.Error("a wait of seconds was written down")
	}
	s.clock.SetTime(s.clock.Now().Add(25 * time.Second))
	if queued(second) {
		s.Error("a wait of less than half a minute was written down")
	}
	s.clock.SetTime(s.clock.Now().Add(5 * time.Second))
	if !queued(second) || !queued(third) || len(s.platform.Instances()) != 1 {
		s.Errorf("the others do not wait for their turn: %d instances", len(s.platform.Instances()))
	}
	controlPlane := s.another("control-plane", func(m *clusterv1.Machine) { m.Labels[clusterv1.MachineControlPlaneLabel] = "" })
	s.passOver(controlPlane)
	if n := len(s.platform.Instances()); n != 2 {
		s.Errorf("the place that is kept for control planes was not given: %d instances", n)
	}
	s.platform.SetAddresses(s.uuidOf(controlPlane), "192.0.2.30")
	s.passOver(controlPlane)
	s.boot()
	s.settle()
	if queued(second) || len(s.platform.Instances()) != 3 || !queued(third) {
		s.Errorf("the turn did not pass on in order: %d instances", len(s.platform.Instances()))
	}
}

func countsAfterRestart(s *story) {
	s.endpoint.Spec.Budget.CreatesInFlight = new(int32(1))
	s.begin()
	s.settle()
	s.restart()
	s.settle() // the one that is in the making is looked at first, or not: the second never gets in beside it
	s.passOver(s.another("second"))
	if n := len(s.platform.Instances()); n != 1 {
		s.Errorf("after a restart %d instances are in the making, one is allowed", n)
	}
}

func givesTurnBack(s *story) {
	s.endpoint.Spec.Budget.CreatesInFlight = new(int32(1))
	s.begin()
	s.settle()
	second := s.another("second")
	s.passOver(second)
	s.delete(s.now())
	s.settle()
	s.passOver(second)
	if _, runs := s.platform.Instance(s.uuidOf(second)); !runs {
		s.Error("the turn of a deleted machine is lost")
	}
}

func (s *story) uuidOf(key client.ObjectKey) string {
	s.Helper()
	infra := &infrav1.IngotMachine{}
	if err := s.client.Get(s.Context(), key, infra); err != nil {
		s.Fatal(err)
	}
	return infra.Spec.ProviderID[len("ingot://"):]
}

// forgetsDataEarly: the Secret may go as soon as the guest has it, which is when it was started.
func forgetsDataEarly(s *story) {
	s.begin()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceWaitingForAddressReason)
	s.delete(s.data)
	patchStatus(s, s.now(), func(m *infrav1.IngotMachine) { m.Status = infrav1.IngotMachineStatus{} }) // nor is status needed
	s.restart()
	s.settle()
	s.boot()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
	s.expectRunning()
}

// isGoneEarly: a guest that ran may have joined already, address or not. Made again it would be a second one.
func isGoneEarly(s *story) {
	s.begin()
	s.settle()
	s.platform.Vanish(s.uuid())
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceGoneReason)
	if n := len(s.platform.Instances()); n != 0 {
		s.Errorf("it was made again: %d instances", n)
	}
}

func shutsDown(s *story) {
	s.infra.Spec.PowerOff.GracePeriodSeconds = new(int32(60))
	s.begin()
	s.live()
	s.delete(s.now())
	result, err := s.pass()
	if err != nil || result.RequeueAfter == 0 {
		s.Fatalf("%v, %v", result, err)
	}
	s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.ShuttingDownReason)
	if !s.instance().Running {
		s.Error("the guest was switched off at once")
	}
	s.restart() // and a new manager does not give it more
	s.clock.SetTime(s.now().DeletionTimestamp.Add(time.Minute))
	s.settle()
	s.expectGone()
}

func refusesSecureBoot(s *story) {
	s.infra.Spec.TrustedBoot.SecureBoot = new(true)
	s.begin()
	s.settle()
	s.expectMessage(s.expect(infrav1.ImageResolvedCondition, metav1.ConditionFalse, infrav1.ImageIncompatibleReason), "spec.secureBoot")
	s.expectCalls()
}

// livesWhereItSaid: upgrading Ingot never replaces a machine, nor loses sight of it.
func livesWhereItSaid(s *story) {
	s.begin()
	s.live()
	before := s.now()
	s.again(withoutPlace(before))
	patchStatus(s, s.now(), func(m *infrav1.IngotMachine) { m.Status = before.Status })
	s.restart()
	s.settle()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	s.expectRunning()
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

func withoutPlace(m *infrav1.IngotMachine) *infrav1.IngotMachine {
	m = m.DeepCopy()
	m.Spec.Placement = infrav1.MachinePlacement{}
	return m
}

func neverPlaced(s *story) {
	s.selecting()
	s.begin()
	s.settle()
	s.expect(infrav1.PlacedCondition, metav1.ConditionFalse, infrav1.NoEndpointReason)
	s.delete(s.now())
	s.settle()
	s.expectGone()
	s.expectCalls()
}

// losesPlaceWrite: of what was only assumed nothing may stay behind, or the room is lost until a restart.
func losesPlaceWrite(s *story) {
	s.selecting()
	s.begin()
	s.host("only", memory("4Gi"))
	for i := range 3 {
		s.writes.Before = func() { // somebody else writes first, so that ours is a conflict
			patch(s, s.now(), func(m *infrav1.IngotMachine) { m.Annotations = map[string]string{"n": strconv.Itoa(i)} })
		}
		if _, err := s.pass(); err == nil {
			s.Fatal("the conflict was not noticed")
		}
	}
	s.passOver(s.key(machineName))
	s.expect(infrav1.PlacedCondition, metav1.ConditionTrue, infrav1.PlacedReason)
}
