// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/fake"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"two interfaces with two stacks get what their pools give":    getsAddresses,
		"a pool that never answers is named, with what it says":       waitsForPool,
		"a pool that answers late is waited for":                      waitsForLatePool,
		"a claim of somebody else is not touched":                     meetsForeignClaim,
		"a claim from another pool is not taken":                      meetsOtherPool,
		"a claim that comes in between is not taken for one's own":    meetsClaimInBetween,
		"a claim that was stolen stops the machine":                   losesClaim,
		"a claim that is deleted before the instance stops it":        claimDeletedBefore,
		"a claim that is deleted under an instance keeps its address": claimDeletedUnder,
		"a claim that is torn away from an instance is missed":        claimTornAway,
		"an address that is on its way out is not taken":              meetsGoingAddress,
		"addresses go after the instance, and not before":             releasesInOrder,
		"what was claimed for nothing is given back":                  releasesUnused,
		"an address whose claim was torn away is given back":          releasesTornAway,
		"a claim that lost its owner is given back":                   releasesOwnerless,
		"a namespace that goes gets no new claims":                    namespaceGoes,
		"a namespace that goes takes no address from a machine":       namespaceKeeps,
		"a Machine that goes claims nothing more":                     machineGoes,
		"a machine that moved keeps its addresses":                    movesWithAddresses,
		"a machine that moved before it was there takes them up":      movesEarlyWithAddresses,
		"whoever watches a part of all objects sees the claims":       labelsForFilter,
		"a machine without pools has no such condition":               hasNoPools,
	})
}

// TestInvalidAddresses: a guest with such an address never answers, and nobody could tell why.
func TestInvalidAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pool    pool
		message string
	}{
		"no address":                      {pool{addresses: []string{"gold"}, prefix: 24}, `spec.address "gold"`},
		"an address of one host":          {pool{addresses: []string{"127.0.0.1"}, prefix: 24}, `spec.address "127.0.0.1"`},
		"an address of a group":           {pool{addresses: []string{"ff02::1"}, prefix: 64}, `spec.address "ff02::1"`},
		"an address of one link":          {pool{addresses: []string{"fe80::1"}, prefix: 64}, `spec.address "fe80::1"`},
		"an address in another's clothes": {pool{addresses: []string{"::ffff:192.0.2.1"}, prefix: 64}, `spec.address "::ffff:192.0.2.1"`},
		"an address with a zone":          {pool{addresses: []string{"2001:db8::1%eth0"}, prefix: 64}, `spec.address "2001:db8::1%eth0"`},
		"a prefix of nothing":             {pool{addresses: []string{"192.0.2.1"}, prefix: 0}, "spec.prefix is 0, and must be between 1 and 32"},
		"a prefix that is too long":       {pool{addresses: []string{"192.0.2.1"}, prefix: 64}, "spec.prefix is 64, and must be between 1 and 32"},
		"a gateway that is no address":    {pool{addresses: []string{"192.0.2.9"}, prefix: 24, gateway: "router"}, `spec.gateway "router"`},
		"a gateway in another network":    {pool{addresses: []string{"192.0.2.9"}, prefix: 24, gateway: "198.51.100.1"}, `spec.gateway "198.51.100.1"`},
		"a gateway of another stack":      {pool{addresses: []string{"192.0.2.9"}, prefix: 24, gateway: "2001:db8::1"}, `spec.gateway "2001:db8::1"`},
		"a gateway that is the machine":   {pool{addresses: []string{"192.0.2.9"}, prefix: 24, gateway: "192.0.2.9"}, `spec.gateway "192.0.2.9"`},
		"an address of another claim":     {pool{addresses: []string{"192.0.2.9"}, prefix: 24, claim: "somebody-else"}, "spec.claimRef.name somebody-else"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			ipam := s.withPools(map[string]*pool{"odd": &c.pool}, []string{"odd"})
			s.begin()
			s.negotiate(ipam)
			message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressInvalidReason)
			for _, part := range []string{"InClusterIPPool odd (spec.networks[0].addressesFromPools[0])", c.message, "correct the pool"} {
				s.expectMessage(message, part)
			}
			s.expectNothingMade()
			s.delete(s.now())
			s.negotiate(ipam)
			s.expectGone()
			s.expectEvents("AddressInvalid", "InstanceReleased")
		})
	}
}

// TestAddressesGivenTwice: two pools that overlap would put one address on two interfaces.
func TestAddressesGivenTwice(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11"), "b": v4("192.0.2.11")}, []string{"a"}, []string{"b"})
	s.begin()
	s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressInvalidReason)
	s.expectMessage(message, "InClusterIPPool b (spec.networks[1].addressesFromPools[0]) gave 192.0.2.11, which InClusterIPPool a (spec.networks[0].addressesFromPools[0]) gave already")
}

// TestAddressCrashes kills the manager around every write of a machine with addresses: no address is claimed twice, none
// is given back early, and none is kept for ever.
func TestAddressCrashes(t *testing.T) {
	t.Parallel()
	for name, j := range map[string]journey{
		"creation": {
			prepare: func(s *story) {
				s.dualStack()
				s.begin()
			},
			travel: func(s *story) {
				ipam := s.dualStack()
				s.negotiate(ipam)
				s.join()
				s.negotiate(ipam)
			},
			prove: func(s *story) {
				s.expectRunning()
				s.expectDualStack()
				s.expectQuiet()
			},
			effects: []fake.Effect{fake.Reserve},
		},
		"deletion": {
			prepare: func(s *story) {
				ipam := s.dualStack()
				s.begin()
				s.negotiate(ipam)
				s.delete(s.now())
				s.restart()
			},
			travel: func(s *story) { s.negotiate(s.dualStack()) },
			prove: func(s *story) {
				s.expectGone()
				s.expectAddressesFree()
			},
			effects: []fake.Effect{fake.FreeAddresses},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := append(writePoints(measure(t, j)), effectPoints(j.effects)...)
			t.Logf("%s: %d crash points", name, len(points))
			for _, p := range points {
				t.Run(p.name, func(t *testing.T) {
					t.Parallel()
					s := newStory(t)
					j.prepare(s)
					p.arm(s)
					j.travel(s)
					if !p.reached(s) {
						t.Error("it never came to that: the story proves nothing")
					}
					j.prove(s)
				})
			}
		})
	}
}

// getsAddresses is the story that the others depart from.
func getsAddresses(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.expectDualStack()
	infra := s.now()
	for _, claim := range s.claims() {
		if claim.Labels[clusterv1.ClusterNameLabel] != s.cluster.Name || claim.Spec.ClusterName != s.cluster.Name {
			s.Errorf("claim %s does not say that it is of cluster %s: a paused cluster would not pause its pool, and a move would leave it behind", claim.Name, s.cluster.Name)
		}
		owner := metav1.GetControllerOf(&claim)
		if owner == nil || owner.UID != infra.UID || owner.Kind != "IngotMachine" || owner.BlockOwnerDeletion == nil || !*owner.BlockOwnerDeletion {
			s.Errorf("claim %s belongs to %v, so that a move would leave it behind", claim.Name, owner)
		}
	}
	s.join()
	s.settle()
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	s.expectQuiet()
	s.restart() // and a manager that remembers nothing is no louder
	s.expectQuiet()
	s.expectEvents("InstanceProvisioned")
}

// waitsForPool: whoever runs the pool must learn that somebody waits, and for what.
func waitsForPool(s *story) {
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11")}, []string{"a"}, []string{"empty"})
	s.begin()
	result := s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason)
	s.expectMessage(message, "no address from InClusterIPPool empty (spec.networks[1].addressesFromPools[0]) yet")
	if strings.Contains(message, "InClusterIPPool a") {
		s.Errorf("the message %q names a pool that gave its address", message)
	}
	if result.RequeueAfter == 0 {
		s.Error("nothing would look again if the event of the address were lost")
	}
	claim := s.claim(1, 0)
	patchStatus(s, claim, func(c *ipamv1.IPAddressClaim) {
		conditions.Set(c, metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, Reason: ipamv1.IPAddressClaimReadyPoolExhaustedReason, Message: "all 5 addresses are in use"})
	})
	s.negotiate(ipam)
	message = s.expect(infrav1.ReadyCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason)
	s.expectMessage(message, "yet: PoolExhausted: all 5 addresses are in use")
	s.expectNothingMade()
	wrote := s.writes.Count()
	s.negotiate(ipam)
	if s.writes.Count() != wrote {
		s.Errorf("a machine that waits writes %v", s.writes.Done()[wrote:])
	}
}

// waitsForLatePool: an address that comes is taken, whoever was waited for before.
func waitsForLatePool(s *story) {
	ipam := s.withPools(map[string]*pool{}, []string{"late"})
	s.begin()
	s.negotiate(ipam)
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason)
	ipam.pools["late"] = v4("192.0.2.11")
	s.negotiate(ipam)
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionTrue, infrav1.AddressesClaimedReason)
	s.expectRunning()
}

// meetsForeignClaim: a name proves nothing, so what stands in the way stays there until a person looks.
func meetsForeignClaim(s *story) {
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11")}, []string{"a"})
	s.begin()
	foreign := &ipamv1.IPAddressClaim{
		ObjectMeta: metav1.ObjectMeta{Name: machineName + "-0-0", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Pod", Name: "somebody", UID: "0e5e6f3c-0000-4000-8000-000000000000", Controller: new(true)},
		}},
		Spec: ipamv1.IPAddressClaimSpec{PoolRef: poolRef("a")},
	}
	s.create(foreign)
	s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressClaimForeignReason)
	s.expectMessage(message, "IPAddressClaim demo-1-0-0 belongs to Pod somebody, not to this machine")
	s.expectMessage(message, "delete it")
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.refresh(foreign)
	if !foreign.DeletionTimestamp.IsZero() || controllerutil.ContainsFinalizer(foreign, infrav1.AddressFinalizer) {
		s.Errorf("a foreign claim was touched: %+v", foreign.ObjectMeta)
	}
}

// meetsOtherPool: an address of another network would be worse than none.
func meetsOtherPool(s *story) {
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11"), "b": v4("198.51.100.11")}, []string{"a"})
	s.begin()
	s.create(&ipamv1.IPAddressClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name:            machineName + "-0-0",
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(s.infra, infrav1.GroupVersion.WithKind("IngotMachine"))},
		},
		Spec: ipamv1.IPAddressClaimSpec{PoolRef: poolRef("b")},
	})
	s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressClaimForeignReason)
	s.expectMessage(message, "claims from InClusterIPPool b, and is in the way of InClusterIPPool a (spec.networks[0].addressesFromPools[0])")
	s.expectNothingMade()
}

// meetsClaimInBetween: the cache of a manager is behind, and what it does not show may be anybody's.
func meetsClaimInBetween(s *story) {
	s.withPools(map[string]*pool{}, []string{"a"})
	s.untilIdentity()
	s.platform.LetCopy(s.copy())
	s.replicate()
	s.writes.Before = func() {
		s.create(&ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Name: machineName + "-0-0"}, Spec: ipamv1.IPAddressClaimSpec{PoolRef: poolRef("a")}})
	}
	result, err := s.pass()
	if err != nil || result.RequeueAfter == 0 {
		s.Errorf("a claim that is there already is an error (%v), or nothing looks again (%v)", err, result)
	}
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason)
	s.settle()
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressClaimForeignReason), "belongs to nobody, not to this machine")
}

// losesClaim: a claim that was ours and is another's now has an address that may be another's, too.
func losesClaim(s *story) {
	ipam := s.withPools(map[string]*pool{}, []string{"late"})
	s.begin()
	s.negotiate(ipam)
	patch(s, s.claim(0, 0), func(c *ipamv1.IPAddressClaim) { c.OwnerReferences[0].UID = "0e5e6f3c-0000-4000-8000-000000000000" })
	ipam.pools["late"] = v4("192.0.2.11")
	s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressClaimForeignReason)
	s.expectMessage(message, "for which finalizer infrastructure.cluster.x-k8s.io/ingotmachine-address holds it")
	s.expectNothingMade()
	s.expectEvents("ForeignClaim")
}

// claimDeletedBefore: nobody can tell whether the instance was made already, so the address stays taken and nothing more
// is made with it.
func claimDeletedBefore(s *story) {
	ipam := s.dualStack()
	s.data = nil // the machine waits for its bootstrap data
	s.machine.Spec.Bootstrap.DataSecretName = nil
	s.machine.Spec.Bootstrap.ConfigRef = clusterv1.ContractVersionedObjectReference{APIGroup: "bootstrap.cluster.x-k8s.io", Kind: "IngotConfig", Name: "any"}
	s.begin()
	s.negotiate(ipam)
	s.expect(infrav1.BootstrapAvailableCondition, metav1.ConditionFalse, infrav1.WaitingForBootstrapDataReason)
	s.delete(s.claim(0, 0))
	s.negotiate(ipam)
	message := s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressClaimDeletedReason)
	s.expectMessage(message, "IPAddressClaim demo-1-0-0 was deleted and is held until the machine is gone")
	s.expectMessage(message, "Delete the Machine")
	s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// claimDeletedUnder: the instance answers under its address, and the person who deleted the claim must learn what follows.
func claimDeletedUnder(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.join()
	s.settle()
	s.delete(s.claim(0, 0))
	s.negotiate(ipam)
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionTrue, infrav1.AddressesClaimedReason),
		"IPAddressClaim demo-1-0-0 was deleted and is held until the machine is gone")
	s.expect(infrav1.ReadyCondition, metav1.ConditionTrue, "Ready")
	s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	s.expectQuiet()
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// claimTornAway: finalizers are advice, and whoever takes them off takes the address away from a running machine.
func claimTornAway(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.tearAway(s.claim(0, 1))
	s.settle()
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionTrue, infrav1.AddressesClaimedReason), "IPAddressClaim demo-1-0-1 is gone")
	s.expectRunning()
	if len(s.claims()) != 2 {
		s.Error("an address that somebody else may have by now was claimed again")
	}
}

// meetsGoingAddress: what is being deleted can be held by nobody any more.
func meetsGoingAddress(s *story) {
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11")}, []string{"a"})
	s.begin()
	s.settle()
	ipam.work()
	for _, address := range s.addresses() {
		s.delete(&address)
	}
	s.negotiate(ipam)
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.AddressInvalidReason),
		"IPAddress demo-1-0-0, which InClusterIPPool a (spec.networks[0].addressesFromPools[0]) gave, is being deleted: delete the Machine")
	s.expectNothingMade()
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// releasesInOrder: an address that is given back before the instance is gone is given to a second machine.
func releasesInOrder(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.delete(s.now())
	restore := s.sever()
	s.negotiate(ipam)
	s.expect(infrav1.DeletingCondition, metav1.ConditionTrue, infrav1.EndpointUnavailableReason)
	s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	restore()
	for range 2 { // it goes, and is seen absent for the first time
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
		ipam.work()
		s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	}
	if n := len(s.platform.Instances()); n != 0 {
		s.Fatalf("there are %d instances: the story proves nothing", n)
	}
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// releasesUnused: most machines that fail never came to be made.
func releasesUnused(s *story) {
	ipam := s.withPools(map[string]*pool{"a": v4("192.0.2.11")}, []string{"a", "empty"})
	s.begin()
	s.negotiate(ipam)
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// releasesTornAway: our finalizer on the address must not outlive the claim that led to it.
func releasesTornAway(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.tearAway(s.claim(0, 0))
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	for _, address := range s.addresses() {
		if controllerutil.ContainsFinalizer(&address, infrav1.AddressFinalizer) {
			s.Errorf("IPAddress %s is held for ever", address.Name)
		}
	}
}

// releasesOwnerless: a backup that was restored may have lost who owns what. Our finalizer says it, too.
func releasesOwnerless(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	patch(s, s.claim(0, 0), func(c *ipamv1.IPAddressClaim) { c.OwnerReferences = nil })
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// namespaceGoes: the API server refuses what is new there, and the machine must not retry for ever.
func namespaceGoes(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})
	result := s.negotiate(ipam)
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason),
		fmt.Sprintf("namespace %s is being deleted: no address is claimed from InClusterIPPool v4", s.namespace))
	if result.RequeueAfter != 0 {
		s.Error("it is tried again, and will be refused again")
	}
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
}

// namespaceKeeps: the namespace controller deletes everything at once, whatever belongs to what.
func namespaceKeeps(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})
	restore := s.sever()
	for _, object := range s.addresses() {
		s.delete(&object)
	}
	for _, object := range s.claims() {
		s.delete(&object)
	}
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	restore()
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// machineGoes: between the deletion of the Machine and that of its IngotMachine nothing new is worth making.
func machineGoes(s *story) {
	ipam := s.dualStack()
	s.machine.Finalizers = []string{clusterv1.MachineFinalizer}
	s.begin()
	s.delete(s.machineNow())
	s.negotiate(ipam)
	s.expectMessage(s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionFalse, infrav1.WaitingForAddressesReason), "the Machine is being deleted")
	if claims := s.claims(); len(claims) != 0 {
		s.Errorf("%d addresses were claimed", len(claims))
	}
	s.expectNothingMade()
}

// movesWithAddresses: clusterctl move makes claims and addresses anew, with other UIDs and without status.
func movesWithAddresses(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.negotiate(ipam)
	s.join()
	s.settle()
	s.moveWithAddresses()
	s.settle() // before the pool's provider had a look
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionTrue, infrav1.AddressesClaimedReason)
	s.expectRunning()
	s.join()
	s.negotiate(ipam)
	s.expectDualStack()
	s.expectQuiet()
	s.delete(s.now())
	s.negotiate(ipam)
	s.expectGone()
	s.expectAddressesFree()
}

// movesEarlyWithAddresses: nobody was told of the instance before the move, and its addresses are read anew.
func movesEarlyWithAddresses(s *story) {
	ipam := s.dualStack()
	s.begin()
	s.platform.Inject(fake.Fault{Effect: fake.Start})
	for len(s.platform.Instances()) == 0 {
		if _, err := s.pass(); err != nil {
			s.Fatal(err)
		}
		s.replicate()
		ipam.work()
	}
	s.moveWithAddresses()
	s.negotiate(ipam)
	s.expectRunning()
	s.expectDualStack()
}

// labelsForFilter: a manager and a provider that watch a part of all objects know it by a label.
func labelsForFilter(s *story) {
	ipam := s.dualStack()
	s.infra.Labels[clusterv1.WatchLabel] = "blue"
	s.begin()
	s.negotiate(ipam)
	for _, claim := range s.claims() {
		if claim.Labels[clusterv1.WatchLabel] != "blue" {
			s.Errorf("claim %s has the labels %v", claim.Name, claim.Labels)
		}
	}
}

// hasNoPools: a condition that says nothing is one more to read.
func hasNoPools(s *story) {
	s.begin()
	s.live()
	if c := conditions.Get(s.now(), infrav1.AddressesClaimedCondition); c != nil {
		s.Errorf("a machine whose addresses the network gives out says %v", c)
	}
}

// withPools gives the machine one interface for each list of pools, and returns the provider of those that exist.
func (s *story) withPools(pools map[string]*pool, interfaces ...[]string) *ipam {
	s.infra.Spec.Networks = nil
	for i, names := range interfaces {
		network := infrav1.MachineNetwork{Name: fmt.Sprintf("net-%d", i)}
		for _, name := range names {
			ref := poolRef(name)
			network.AddressesFromPools = append(network.AddressesFromPools, infrav1.AddressPoolReference{APIGroup: ref.APIGroup, Kind: ref.Kind, Name: ref.Name})
		}
		s.infra.Spec.Networks = append(s.infra.Spec.Networks, network)
	}
	return &ipam{story: s, pools: pools}
}

// dualStack gives the machine an interface with an address of each stack, and one with an IPv4 address.
func (s *story) dualStack() *ipam {
	return s.withPools(map[string]*pool{
		"v4": {addresses: []string{"192.0.2.11", "192.0.2.12", "192.0.2.13"}, prefix: 24, gateway: "192.0.2.1"},
		"v6": {addresses: []string{"2001:db8::11", "2001:db8::12"}, prefix: 64},
	}, []string{"v4", "v6"}, []string{"v4"})
}

// expectDualStack checks the addresses of dualStack everywhere they must be.
func (s *story) expectDualStack() {
	s.Helper()
	s.expect(infrav1.AddressesClaimedCondition, metav1.ConditionTrue, infrav1.AddressesClaimedReason)
	var got []string
	for _, nic := range s.instance().Request.Interfaces {
		got = append(got, nic.Network)
		for _, a := range nic.Addresses {
			got = append(got, strings.TrimSuffix(a.Prefix.String()+" by "+a.Gateway.String(), " by invalid IP"))
		}
	}
	want := []string{"net-0", "192.0.2.11/24 by 192.0.2.1", "2001:db8::11/64", "net-1", "192.0.2.12/24 by 192.0.2.1"}
	if !slices.Equal(got, want) {
		s.Errorf("the instance was asked for with %q, want %q", got, want)
	}
	s.expectTold("192.0.2.11", "2001:db8::11", "192.0.2.12")
	s.expectHeld("192.0.2.11", "192.0.2.12", "2001:db8::11")
	if n := len(s.claims()); n != 3 {
		s.Errorf("there are %d claims", n)
	}
}

// expectTold checks what Cluster API is told of the machine's addresses, beside its name.
func (s *story) expectTold(want ...string) {
	s.Helper()
	var told []string
	for _, a := range s.now().Status.Addresses {
		told = append(told, a.Address)
	}
	if want = append([]string{machineName}, want...); !slices.Equal(told, want) {
		s.Errorf("Cluster API is told %q, want %q", told, want)
	}
}

// expectNothingMade checks that the platform was never asked for an instance.
func (s *story) expectNothingMade() {
	s.Helper()
	for _, call := range s.platform.Calls() {
		if call.Method == "Ensure" {
			s.Error("an instance was made without its addresses")
		}
	}
}

// expectHeld checks that addresses, and no others, are there and held, as are their claims.
func (s *story) expectHeld(want ...string) {
	s.Helper()
	var got []string
	for _, address := range s.addresses() {
		got = append(got, address.Spec.Address)
		if !controllerutil.ContainsFinalizer(&address, infrav1.AddressFinalizer) {
			s.Errorf("IPAddress %s can be given to another machine at any time", address.Spec.Address)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Errorf("the addresses are %q, want %q", got, want)
	}
	for _, claim := range s.claims() {
		if !controllerutil.ContainsFinalizer(&claim, infrav1.AddressFinalizer) {
			s.Errorf("claim %s can go at any time", claim.Name)
		}
	}
}

// expectAddressesFree checks that nothing of the machine's addresses is left.
func (s *story) expectAddressesFree() {
	s.Helper()
	for _, claim := range s.claims() {
		s.Errorf("claim %s is left: %v", claim.Name, claim.ObjectMeta)
	}
	for _, address := range s.addresses() {
		s.Errorf("IPAddress %s is left: %v", address.Spec.Address, address.ObjectMeta)
	}
}

// tearAway deletes a claim and takes off all finalizers.
func (s *story) tearAway(claim *ipamv1.IPAddressClaim) {
	s.Helper()
	patch(s, claim, func(c *ipamv1.IPAddressClaim) { c.Finalizers = nil })
	s.delete(claim)
}

// moveWithAddresses does to the objects what clusterctl move does: claims follow their machine and addresses their claims,
// with the finalizers that they had.
func (s *story) moveWithAddresses() {
	s.Helper()
	s.move()
	infra := s.now()
	for _, claim := range s.claims() {
		patch(s, &claim, func(c *ipamv1.IPAddressClaim) { c.OwnerReferences[0].UID = infra.UID })
		s.again(&claim)
	}
	for _, address := range s.addresses() {
		claim := &ipamv1.IPAddressClaim{}
		if err := s.client.Get(s.Context(), s.key(address.Spec.ClaimRef.Name), claim); err != nil {
			s.Fatal(err)
		}
		patch(s, &address, func(a *ipamv1.IPAddress) { a.OwnerReferences[0].UID = claim.UID })
		s.again(&address)
	}
}

// claims are all claims in the story's namespace.
func (s *story) claims() []ipamv1.IPAddressClaim {
	s.Helper()
	list := &ipamv1.IPAddressClaimList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

// addresses are all addresses in the story's namespace.
func (s *story) addresses() []ipamv1.IPAddress {
	s.Helper()
	list := &ipamv1.IPAddressList{}
	if err := s.client.List(s.Context(), list, client.InNamespace(s.namespace)); err != nil {
		s.Fatal(err)
	}
	return list.Items
}

// claim is the claim for a pool of an interface.
func (s *story) claim(network, index int) *ipamv1.IPAddressClaim {
	s.Helper()
	claim := &ipamv1.IPAddressClaim{}
	if err := s.client.Get(s.Context(), s.key(fmt.Sprintf("%s-%d-%d", machineName, network, index)), claim); err != nil {
		s.Fatal(err)
	}
	return claim
}

// negotiate lets the machine and the provider of its pools work in turns until nothing changes any more.
func (s *story) negotiate(ipam *ipam) ctrl.Result {
	s.Helper()
	for range 20 {
		before := s.versions() + s.addressVersions()
		result := s.settle()
		ipam.work()
		if s.versions()+s.addressVersions() == before {
			return result
		}
	}
	s.Fatalf("the machine and its pools do not settle: %v", s.now().Status.Conditions)
	return ctrl.Result{}
}

func (s *story) addressVersions() string {
	s.Helper()
	var versions []string
	for _, claim := range s.claims() {
		versions = append(versions, claim.ResourceVersion)
	}
	for _, address := range s.addresses() {
		versions = append(versions, address.ResourceVersion)
	}
	return strings.Join(versions, " ")
}

// What providers put on claims and addresses.
const (
	releaseFinalizer = "ipam.cluster.x-k8s.io/release-address"
	protectFinalizer = "ipam.cluster.x-k8s.io/protect-address"
)

// pool is a pool that gives out its addresses in order.
type pool struct {
	addresses []string
	prefix    int32
	gateway   string
	claim     string // what its addresses say about their claim, when that is not the truth
}

func v4(addresses ...string) *pool { return &pool{addresses: addresses, prefix: 24} }

func poolRef(name string) ipamv1.IPPoolReference {
	return ipamv1.IPPoolReference{APIGroup: "ipam.cluster.x-k8s.io", Kind: "InClusterIPPool", Name: name}
}

// ipam plays an IPAM provider as the contract describes it: it takes an address back as soon as its claim is deleted, and
// knows which are taken by the IPAddresses that exist. Pools that it does not have never answer.
type ipam struct {
	story *story
	pools map[string]*pool
}

// work has one look at every claim.
func (i *ipam) work() {
	i.story.Helper()
	for _, claim := range i.story.claims() {
		pool, known := i.pools[claim.Spec.PoolRef.Name]
		switch {
		case !known:
		case claim.DeletionTimestamp.IsZero():
			i.allocate(&claim, pool)
		default:
			i.release(&claim)
		}
	}
}

func (i *ipam) allocate(claim *ipamv1.IPAddressClaim, pool *pool) {
	s := i.story
	s.Helper()
	if claim.Status.AddressRef.Name != "" {
		return
	}
	patch(s, claim, func(c *ipamv1.IPAddressClaim) { controllerutil.AddFinalizer(c, releaseFinalizer) })
	taken := map[string]bool{}
	has := false
	for _, address := range s.addresses() {
		taken[address.Spec.PoolRef.Name+address.Spec.Address] = true
		has = has || address.Name == claim.Name
	}
	free := slices.IndexFunc(pool.addresses, func(a string) bool { return !taken[claim.Spec.PoolRef.Name+a] })
	switch {
	case !has && free < 0:
		return
	case !has:
		reference := ipamv1.IPAddressClaimReference{Name: claim.Name}
		if pool.claim != "" {
			reference.Name = pool.claim
		}
		s.create(&ipamv1.IPAddress{
			ObjectMeta: metav1.ObjectMeta{
				Name: claim.Name, Finalizers: []string{protectFinalizer},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(claim, ipamv1.GroupVersion.WithKind("IPAddressClaim"))},
			},
			Spec: ipamv1.IPAddressSpec{ClaimRef: reference, PoolRef: claim.Spec.PoolRef, Address: pool.addresses[free], Prefix: &pool.prefix, Gateway: pool.gateway},
		})
	}
	patchStatus(s, claim, func(c *ipamv1.IPAddressClaim) { c.Status.AddressRef.Name = c.Name })
}

func (i *ipam) release(claim *ipamv1.IPAddressClaim) {
	s := i.story
	s.Helper()
	for _, address := range s.addresses() {
		if address.Name != claim.Name || !controllerutil.ContainsFinalizer(&address, protectFinalizer) {
			continue
		}
		if address.DeletionTimestamp.IsZero() {
			s.delete(&address)
			s.refresh(&address)
		}
		patch(s, &address, func(a *ipamv1.IPAddress) { controllerutil.RemoveFinalizer(a, protectFinalizer) })
	}
	if controllerutil.ContainsFinalizer(claim, releaseFinalizer) {
		patch(s, claim, func(c *ipamv1.IPAddressClaim) { controllerutil.RemoveFinalizer(c, releaseFinalizer) })
	}
}
