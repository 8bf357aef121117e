// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// watchAddresses wakes machines whose claims or addresses say something new.
func (r *Reconciler) watchAddresses(b *builder.Builder) *builder.Builder {
	return b.
		Watches(&ipamv1.IPAddressClaim{}, handler.EnqueueRequestsFromMapFunc(onClaim), builder.WithPredicates(addressTurns())).
		Watches(&ipamv1.IPAddress{}, handler.EnqueueRequestsFromMapFunc(onAddress), builder.WithPredicates(addressTurns()))
}

// onClaim wakes the machine that owns a claim, or that a claim of somebody else stands in the way of.
func onClaim(_ context.Context, claim client.Object) []reconcile.Request {
	owner := metav1.GetControllerOf(claim)
	if owner != nil && owner.Kind == "IngotMachine" {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: claim.GetNamespace(), Name: owner.Name}}}
	}
	return claimant(claim.GetNamespace(), claim.GetName())
}

// onAddress wakes the machine whose claim an address answers.
func onAddress(_ context.Context, o client.Object) []reconcile.Request {
	address, ok := o.(*ipamv1.IPAddress)
	if !ok {
		return nil
	}
	return claimant(address.Namespace, address.Spec.ClaimRef.Name)
}

// claimant is the machine that a claim is named after, as claimName names it; there need not be one. A machine with a very
// long name is not told, and looks for itself.
func claimant(namespace, claim string) []reconcile.Request {
	cut := len(claim) - len("-0-0")
	if cut < 1 || claim[cut] != '-' || claim[cut+2] != '-' {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: claim[:cut]}}}
}

// addressTurns lets through what a machine can act on. Finalizers, which we set ourselves, are nothing new.
func addressTurns() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return addressTurn(e.ObjectOld) != addressTurn(e.ObjectNew) }}
}

// addressTurn is what a machine reads of a claim or an address.
func addressTurn(o client.Object) string {
	turn := fmt.Sprint(o.GetUID(), o.GetDeletionTimestamp().IsZero())
	if owner := metav1.GetControllerOf(o); owner != nil {
		turn += string(owner.UID)
	}
	switch o := o.(type) {
	case *ipamv1.IPAddressClaim:
		ready := conditions.Get(o, ipamv1.IPAddressClaimReadyCondition)
		if ready == nil {
			ready = &metav1.Condition{}
		}
		return fmt.Sprint(turn, o.Spec, o.Status.AddressRef, ready.Status, ready.Reason, ready.Message)
	case *ipamv1.IPAddress:
		prefix := int32(-1)
		if o.Spec.Prefix != nil {
			prefix = *o.Spec.Prefix
		}
		return fmt.Sprint(turn, o.Spec.Address, prefix, o.Spec.Gateway, o.Spec.ClaimRef)
	default:
		return turn
	}
}
