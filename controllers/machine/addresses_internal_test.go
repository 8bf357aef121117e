// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
)

// Names of claims must be names, the same in every pass, and no two machines may share one.
func TestClaimNames(t *testing.T) {
	seen := map[string]string{}
	for _, machine := range []string{
		"demo", "demo-1", "demo-1-0", strings.Repeat("a", 249), strings.Repeat("a", 250), strings.Repeat("a", 253),
		strings.Repeat("a", 237) + strings.Repeat(".a", 8), strings.Repeat("a", 237) + strings.Repeat(".b", 8),
	} {
		for network := range 8 {
			for index := range 4 {
				name := claimName(machine, network, index)
				if why := validation.IsDNS1123Subdomain(name); len(why) > 0 {
					t.Errorf("%q is no name: %v", name, why)
				}
				if other, taken := seen[name]; taken {
					t.Errorf("%q is the name of claims of %q and %q", name, other, machine)
				}
				seen[name] = machine
			}
		}
	}
	if got := claimName("demo-1", 1, 0); got != "demo-1-1-0" {
		t.Errorf("the claim is called %q: those of running machines would not be found any more", got)
	}
}

// A claim wakes its machine: as what it owns, or as what stands in its way. Claims of others wake nobody.
func TestWhomClaimsWake(t *testing.T) {
	owned := func(kind, name string) *ipamv1.IPAddressClaim {
		return &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "demo-1-0-0", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: infrav1.GroupVersion.String(), Kind: kind, Name: name, Controller: new(true)},
		}}}
	}
	for name, c := range map[string]struct {
		requests int
		object   client.Object
		machine  string
	}{
		"a claim of a machine, whatever it is called": {1, owned("IngotMachine", "demo-2"), "demo-2"},
		"a claim of somebody else in the way":         {1, owned("OtherMachine", "demo-2"), "demo-1"},
		"a claim of nobody in the way":                {1, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "demo-1-7-3"}}, "demo-1"},
		"a claim that is in nobody's way":             {0, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "gateway"}}, ""},
		"a claim with a short name":                   {0, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "-0-0"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			requests := onClaim(t.Context(), c.object)
			if len(requests) != c.requests || (len(requests) > 0 && requests[0].NamespacedName != client.ObjectKey{Namespace: "ns", Name: c.machine}) {
				t.Errorf("it wakes %v, want %s", requests, c.machine)
			}
		})
	}
	address := &ipamv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "any"}}
	address.Spec.ClaimRef.Name = "demo-1-0-1"
	if requests := onAddress(t.Context(), address); len(requests) != 1 || requests[0].Name != "demo-1" {
		t.Errorf("an address wakes %v, want the machine of its claim", requests)
	}
}

// Whatever a machine reads of a claim or an address wakes it; finalizers, most of which it sets itself, do not.
func TestWhenClaimsWake(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		wakes         bool
		before, after client.Object
	}{
		"a finalizer":            {false, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"a/b"}, ResourceVersion: "2"}}},
		"an address":             {true, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddressClaim{Status: ipamv1.IPAddressClaimStatus{AddressRef: ipamv1.IPAddressReference{Name: "a"}}}},
		"a deletion":             {true, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}},
		"another owner":          {true, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddressClaim{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: "a", Controller: new(true)}}}}},
		"what the pool says":     {true, &ipamv1.IPAddressClaim{}, &ipamv1.IPAddressClaim{Status: ipamv1.IPAddressClaimStatus{Conditions: []metav1.Condition{{Type: "Ready", Reason: "PoolExhausted"}}}}},
		"an address's finalizer": {false, &ipamv1.IPAddress{}, &ipamv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"a/b"}}}},
		"an address's prefix":    {true, &ipamv1.IPAddress{}, &ipamv1.IPAddress{Spec: ipamv1.IPAddressSpec{Prefix: new(int32)}}},
		"an address's deletion":  {true, &ipamv1.IPAddress{}, &ipamv1.IPAddress{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := addressTurns().Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}); got != c.wakes {
				t.Errorf("it wakes the machine: %t, want %t", got, c.wakes)
			}
		})
	}
}
