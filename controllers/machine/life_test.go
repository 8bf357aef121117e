// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
)

func TestLife(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"from nothing to a joined node":                                 joins,
		"a stable machine costs nothing":                                isQuiet,
		"nothing is started before the cluster's infrastructure":        waitsForCluster,
		"a machine without an owner is left alone":                      waitsForOwner,
		"a paused machine is not touched":                               pauses,
		"what stands in our place and is not ours is not touched":       meetsForeign,
		"an endpoint that does not answer proves nothing":               losesSight,
		"an instance that is gone is never made again":                  isGone,
		"an instance that stopped is not started again":                 stopped,
		"what the platform refuses is said, and tried again":            refused,
		"bootstrap secrets leave the platform when the node has joined": scrubs,
		"the bootstrap data may go once the instance is there":          forgetsData,
		"a node without provider ID is found by its system UUID":        claimsNode,
		"a node of somebody else is not claimed":                        claimsNoForeignNode,
		"a machine that moved is the same machine":                      moves,
		"a machine that moved before it was there is made once":         movesEarly,
	})
}

// joins is the story that all others depart from.
func joins(s *story) {
	s.begin()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceWaitingForAddressReason)
	if s.now().Status.Initialization.Provisioned != nil {
		s.Error("Cluster API is told of an instance that nobody can reach yet")
	}
	s.boot()
	s.settle()
	infra := s.now()
	if told := infra.Status.Initialization.Provisioned; told == nil || !*told {
		s.Error("Cluster API is not told of the instance")
	}
	if want := []clusterv1.MachineAddress{{Type: "Hostname", Address: machineName}, {Type: "InternalIP", Address: "192.0.2.20"}}; !slices.Equal(infra.Status.Addresses, want) {
		s.Errorf("the addresses are %v, want %v", infra.Status.Addresses, want)
	}
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionUnknown, infrav1.NodeUnknownReason)
	s.join()
	s.settle()
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionTrue, infrav1.NodeFoundReason)
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	if infra := s.now(); infra.Status.NodeOSImage != s.image.Spec.NodeIdentity.OSImage || infra.Status.Power != infrav1.PowerStateOn {
		s.Errorf("the node's OS is %q, power is %q", infra.Status.NodeOSImage, infra.Status.Power)
	}
	s.expectRunning()
	s.expectEvents("InstanceProvisioned")
}

// expectEvents checks that each event was told exactly once.
func (s *story) expectEvents(reasons ...string) {
	s.Helper()
	close(s.recorder.Events)
	var told []string
	for event := range s.recorder.Events {
		told = append(told, strings.Fields(event)[1])
	}
	if !slices.Equal(told, reasons) {
		s.Errorf("the events are %v, want %v", told, reasons)
	}
}

// isQuiet: with a thousand machines, every write and every call of a pass that changes nothing is paid a thousand times.
func isQuiet(s *story) {
	s.begin()
	s.live()
	s.expectQuiet()
	s.restart() // and a manager that remembers nothing is no louder
	s.expectQuiet()
}

func (s *story) expectQuiet() {
	s.Helper()
	before, wrote := s.now().ResourceVersion, len(s.writes.Done())
	s.platform.ForgetCalls()
	result, err := s.pass()
	if err != nil {
		s.Fatal(err)
	}
	if now := s.now().ResourceVersion; now != before || len(s.writes.Done()) != wrote {
		s.Errorf("a pass over a stable machine wrote %v", s.writes.Done()[wrote:])
	}
	if calls := s.platform.Calls(); len(calls) > 1 || (len(calls) == 1 && calls[0].Method != "Observe") {
		s.Errorf("a pass over a stable machine asked the platform %v", calls)
	}
	if result.RequeueAfter != 0 {
		s.Errorf("a stable machine is looked at again after %s; events would tell", result.RequeueAfter)
	}
}

// waitsForCluster is the contract: bootstrap data may change until the infrastructure is provisioned.
func waitsForCluster(s *story) {
	s.begin()
	patchStatus(s, s.cluster, func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = nil })
	s.settle()
	s.expect(infrav1.BootstrapAvailableCondition, metav1.ConditionFalse, infrav1.WaitingForClusterInfrastructureReason)
	s.expectCalls("EnsureImage") // copying the image early is no harm and saves minutes
}

// waitsForOwner: an IngotMachine that no Machine owns is none of our business yet; Cluster API is about to adopt it.
func waitsForOwner(s *story) {
	s.begin()
	patch(s, s.infra, func(m *infrav1.IngotMachine) { m.OwnerReferences = nil })
	s.settle()
	if infra := s.now(); len(infra.Finalizers) != 0 || infra.Spec.ProviderID != "" {
		s.Errorf("it was touched: finalizers %v, provider ID %q", infra.Finalizers, infra.Spec.ProviderID)
	}
}

// pauses: a backup, a move or a person who debugs relies on nothing happening, deletion included.
func pauses(s *story) {
	s.begin()
	patch(s, s.cluster, func(c *clusterv1.Cluster) { c.Spec.Paused = new(true) })
	s.settle()
	s.expectCalls()
	patch(s, s.cluster, func(c *clusterv1.Cluster) { c.Spec.Paused = new(false) })
	s.live()
	s.expectRunning()
	patch(s, s.cluster, func(c *clusterv1.Cluster) { c.Spec.Paused = new(true) })
	s.settle()
	s.delete(s.now())
	s.platform.ForgetCalls()
	s.settle()
	s.expectCalls()
	s.expectRunning()
}

// untilIdentity runs passes until the machine has its identity, and no further than the image's copy.
func (s *story) untilIdentity() {
	s.Helper()
	s.platform.HoldCopy(s.copy(), 0)
	s.begin()
	s.settle()
}

// meetsForeign: a uuid that is taken by something without our owner token is somebody's machine, whoever made it.
func meetsForeign(s *story) {
	s.untilIdentity()
	s.platform.PlantForeign(s.uuid())
	before := s.instance()
	s.platform.LetCopy(s.copy())
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceForeignReason)
	if after := s.instance(); !after.Running || after.Starts != before.Starts {
		s.Errorf("a foreign instance was touched: %+v", after)
	}
	s.delete(s.now())
	s.settle()
	s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.InstanceForeignReason)
	if after := s.instance(); !after.Running {
		s.Error("a foreign instance was destroyed")
	}
	s.platform.Vanish(s.uuid()) // its owner took it away
	s.settle()
	s.expectGone()
}

// losesSight: a host that is cut off runs its machines. What was last seen stays, marked as not known now.
func losesSight(s *story) {
	s.begin()
	s.live()
	before := s.now()
	restore := s.sever()
	s.connect()
	result := s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionUnknown, infrav1.EndpointUnavailableReason)
	infra := s.now()
	if !slices.Equal(infra.Status.Addresses, before.Status.Addresses) || !*infra.Status.Initialization.Provisioned || infra.Status.Power != infrav1.PowerStateUnknown {
		s.Errorf("what was known is lost: %+v", infra.Status)
	}
	if result.RequeueAfter == 0 {
		s.Error("nothing would look again if the event of the connection were lost")
	}
	restore()
	s.settle()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
	s.expectRunning()
	s.expectQuiet()
}

// isGone: an instance made again under the same identity would have an empty disk and the name of a node that the cluster
// believes to know.
func isGone(s *story) {
	s.begin()
	s.live()
	s.platform.Vanish(s.uuid())
	s.platform.ForgetCalls()
	s.settle()
	s.restart()
	s.settle()
	s.expectMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceGoneReason), "Delete the Machine")
	s.expect(infrav1.ReadyCondition, metav1.ConditionFalse, infrav1.InstanceGoneReason)
	s.expectCalls("Observe")
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

// stopped: a guest that ended itself did so for a reason, and its owner decides.
func stopped(s *story) {
	s.begin()
	s.live()
	s.platform.PowerOffGuest(s.uuid())
	s.settle()
	s.restart()
	s.settle()
	s.expectMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceStoppedReason), "Delete the Machine")
	if i := s.instance(); i.Starts != 1 || i.Running || s.now().Status.Power != infrav1.PowerStateOff {
		s.Errorf("started %d times, runs: %t, power: %s", i.Starts, i.Running, s.now().Status.Power)
	}
}

// refused: what a host lacks can be added to the host, so the machine says what it is and tries again.
func refused(s *story) {
	s.platform = fake.New(fake.Options{Networks: []string{"other"}})
	s.begin()
	result := s.settle()
	s.expectMessage(s.expect(infrav1.InstanceReadyCondition, metav1.ConditionFalse, infrav1.InstanceRefusedReason), "network default")
	if result.RequeueAfter == 0 {
		s.Error("nobody would notice that the host was repaired")
	}
	s.expectEvents("Refused")
}

// scrubs: the data holds a token and, on control planes, the cluster's keys. It has no business on the host afterwards.
func scrubs(s *story) {
	s.begin()
	s.settle()
	s.boot()
	s.settle()
	if len(s.instance().Bootstrap) == 0 {
		s.Fatal("the instance got no bootstrap data")
	}
	restore := s.sever()
	s.join()
	s.settle()
	restore()
	s.platform.Inject(fake.Fault{Effect: fake.DeleteBootstrap})
	if _, err := s.pass(); err != nil {
		s.Fatal(err)
	}
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionFalse, infrav1.ScrubbingReason)
	s.settle()
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionTrue, infrav1.NodeFoundReason)
	if len(s.instance().Bootstrap) != 0 {
		s.Error("bootstrap secrets are still on the platform")
	}
	s.expectRunning()
}

// forgetsData: the Secret goes with its bootstrap configuration, and a running machine does not care.
func forgetsData(s *story) {
	s.begin()
	s.live()
	s.delete(s.data)
	s.expectQuiet()
}

// claimsNode: a bootstrap provider that knows nothing of Ingot cannot tell the kubelet its provider ID.
func claimsNode(s *story) {
	s.begin()
	s.settle()
	s.boot()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "any"}}
	node.Status.NodeInfo.SystemUUID = strings.ToUpper(s.uuid())
	s.workload = clientfake.NewClientBuilder().WithObjects(node).Build()
	s.settle()
	if got := s.nodeProviderID("any"); got != s.now().Spec.ProviderID {
		s.Errorf("the node's provider ID is %q, want %q", got, s.now().Spec.ProviderID)
	}
	s.expect(infrav1.NodeJoinedCondition, metav1.ConditionFalse, infrav1.WaitingForNodeReason)
}

// claimsNoForeignNode: a provider ID cannot be taken back, so it is given to nobody else.
func claimsNoForeignNode(s *story) {
	s.begin()
	s.settle()
	s.boot()
	other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "other"}}
	other.Status.NodeInfo.SystemUUID = "0e5e6f3c-0000-4000-8000-000000000000"
	taken := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "taken"}, Spec: corev1.NodeSpec{ProviderID: "cloud://1"}}
	taken.Status.NodeInfo.SystemUUID = s.uuid()
	s.workload = clientfake.NewClientBuilder().WithObjects(other, taken).Build()
	s.settle()
	if a, b := s.nodeProviderID("other"), s.nodeProviderID("taken"); a != "" || b != "cloud://1" {
		s.Errorf("the provider IDs are %q and %q", a, b)
	}
}

func (s *story) nodeProviderID(name string) string {
	s.Helper()
	node := &corev1.Node{}
	if err := s.workload.Get(s.Context(), client.ObjectKey{Name: name}, node); err != nil {
		s.Fatal(err)
	}
	return node.Spec.ProviderID
}

// moves: after clusterctl move there is another management cluster, with other UIDs and no status. The machine is the one
// that runs, and Cluster API must hear that it is there.
func moves(s *story) {
	s.begin()
	s.live()
	uuid := s.uuid()
	s.move()
	s.platform.ForgetCalls()
	s.settle()
	if s.uuid() != uuid {
		s.Error("the machine has another identity")
	}
	s.expectRunning()
	s.expectCalls("Observe")
	infra := s.now()
	if told := infra.Status.Initialization.Provisioned; told == nil || !*told || len(infra.Status.Addresses) == 0 {
		s.Errorf("the new Cluster API is not told of the instance: %+v", infra.Status)
	}
	s.join()
	s.settle()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	s.expectQuiet()
	s.delete(s.now())
	s.settle()
	s.expectGone()
}

// movesEarly: the instance runs, and nobody was told of it before the move.
func movesEarly(s *story) {
	s.begin()
	s.settle()
	uuid := s.uuid()
	s.move()
	s.settle()
	s.boot()
	s.settle()
	if s.uuid() != uuid {
		s.Error("the machine has another identity")
	}
	s.expectRunning()
	s.expect(infrav1.InstanceReadyCondition, metav1.ConditionTrue, infrav1.InstanceRunningReason)
}

// move does to the objects what clusterctl move does: they are made anew from their metadata and spec, and the old ones
// go without their finalizers having run.
func (s *story) move() {
	s.Helper()
	m, infra := s.machineNow(), s.now()
	s.refresh(s.endpoint)
	s.again(s.endpoint)
	s.again(m)
	infra.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(m, clusterv1.GroupVersion.WithKind("Machine"))}
	infra.Status = infrav1.IngotMachineStatus{}
	s.again(infra)
	s.restart()
}

func (s *story) again(object client.Object) {
	s.Helper()
	finalizers := object.GetFinalizers()
	patch(s, object, func(o client.Object) { o.SetFinalizers(nil) })
	s.delete(object)
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetFinalizers(finalizers)
	s.create(object)
}
