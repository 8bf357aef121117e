// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// secretIndex finds the endpoints whose credentials a Secret holds.
const secretIndex = "spec.credentialsRef"

// SetupWithManager registers the reconciler, its index and its watches. Of Secrets only metadata is watched: that one
// changed is all that the cache knows. Which machines and replicas there are matters to an endpoint only when one goes.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &ingotv1.PlatformEndpoint{}, secretIndex, func(o client.Object) []string {
		endpoint, is := o.(*ingotv1.PlatformEndpoint)
		if !is || endpoint.Spec.CredentialsRef.Name == "" {
			return nil
		}
		ref := endpoint.Spec.CredentialsRef
		return []string{client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}.String()}
	})
	if err != nil {
		return fmt.Errorf("indexing PlatformEndpoints by the Secret of their credentials: %w", err)
	}
	filter := predicates.ResourceHasFilterLabel(mgr.GetScheme(), mgr.GetLogger(), r.WatchFilterValue)
	return ctrl.NewControllerManagedBy(mgr).
		For(&ingotv1.PlatformEndpoint{}, builder.WithPredicates(filter)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.onSecret)).
		Watches(&infrav1.IngotMachine{}, handler.EnqueueRequestsFromMapFunc(r.onMachine), builder.WithPredicates(leaving())).
		Watches(&infrav1.IngotMachineTemplate{}, handler.EnqueueRequestsFromMapFunc(r.onTemplate), builder.WithPredicates(appearing())).
		Watches(&ingotv1.ImageReplica{}, handler.EnqueueRequestsFromMapFunc(onReplica), builder.WithPredicates(leaving())).
		WatchesRawSource(r.sessionEvents()).
		Complete(r)
}

// leaving lets through what is gone or goes because it was moved.
func leaving() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return wasMoved(e.ObjectNew) && !wasMoved(e.ObjectOld) },
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// appearing lets through what is new.
func appearing() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// wasMoved is whether an object is deleted only because clusterctl made it anew in another management cluster.
func wasMoved(o client.Object) bool {
	_, moved := o.GetAnnotations()[clusterctlv1.DeleteForMoveAnnotation]
	return moved
}

// onSecret wakes the endpoints whose credentials changed.
func (r *Reconciler) onSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	every := func(*ingotv1.PlatformEndpoint) bool { return true }
	return r.endpoints(ctx, every, client.MatchingFields{secretIndex: client.ObjectKeyFromObject(secret).String()})
}

// endpoints are the endpoints that an event is about.
func (r *Reconciler) endpoints(ctx context.Context, about func(*ingotv1.PlatformEndpoint) bool, options ...client.ListOption) []reconcile.Request {
	list := &ingotv1.PlatformEndpointList{}
	if err := r.Client.List(ctx, list, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list PlatformEndpoints for an event; the next check will see it")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if about(&list.Items[i]) {
			requests = append(requests, named(list.Items[i].Name))
		}
	}
	return requests
}

// onTemplate wakes the endpoints that machines of a new template may be put on: what they need is checked before there is one.
func (r *Reconciler) onTemplate(ctx context.Context, o client.Object) []reconcile.Request {
	template, is := o.(*infrav1.IngotMachineTemplate)
	if !is {
		return nil
	}
	return r.endpoints(ctx, func(e *ingotv1.PlatformEndpoint) bool { return inventory.MayBeOn(template.Spec.Template.Spec, e) })
}

// onMachine wakes the endpoint that a machine has left, if it waits for that. That it left for another management cluster is
// noted before anything that it left behind is taken for an orphan.
func (r *Reconciler) onMachine(ctx context.Context, o client.Object) []reconcile.Request {
	machine, is := o.(*infrav1.IngotMachine)
	if !is {
		return nil
	}
	endpoint := inventory.EndpointOf(machine)
	if endpoint == "" {
		return nil
	}
	if wasMoved(machine) {
		r.memory.named(endpoint).machineMoved()
		return []reconcile.Request{named(endpoint)}
	}
	left := &ingotv1.PlatformEndpoint{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: endpoint}, left); err == nil && left.DeletionTimestamp.IsZero() {
		return nil // it stays, whoever leaves it
	}
	return []reconcile.Request{named(endpoint)}
}

// onReplica wakes the endpoint that a copy is gone from.
func onReplica(_ context.Context, o client.Object) []reconcile.Request {
	if replica, is := o.(*ingotv1.ImageReplica); is {
		return []reconcile.Request{named(replica.Spec.EndpointName)}
	}
	return nil
}

// sessionEvents wakes the reconciler when a session was made or lost.
func (r *Reconciler) sessionEvents() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Sessions.Listen(func(endpoint string, event platform.Event) {
			if event.Session {
				r.memory.named(endpoint).sessionChanged()
				queue.Add(named(endpoint))
			}
		})
		return nil
	})
}

func named(endpoint string) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKey{Name: endpoint}}
}
