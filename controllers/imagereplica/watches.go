// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica

import (
	"context"
	"fmt"

	"k8s.io/client-go/util/workqueue"
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

// copyIndex finds the machines that need a copy, and the replicas that stand for it.
const copyIndex = "copy"

// SetupWithManager registers the reconciler, its indexes and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := addIndexes(ctx, mgr); err != nil {
		return err
	}
	r.indexed = true
	return ctrl.NewControllerManagedBy(mgr).
		For(&ingotv1.ImageReplica{}).
		Watches(&infrav1.IngotMachine{}, handler.EnqueueRequestsFromMapFunc(r.onMachine), builder.WithPredicates(changesNeed())).
		Watches(&ingotv1.PlatformEndpoint{}, handler.EnqueueRequestsFromMapFunc(r.onEndpoint), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.platformEvents()).
		Complete(r)
}

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	key := func(o client.Object) []string {
		var c inventory.Copy
		switch object := o.(type) {
		case *infrav1.IngotMachine:
			c = inventory.NeededBy(object)
		case *ingotv1.ImageReplica:
			c = inventory.CopyOf(object)
		}
		if c.Key() == "" {
			return nil
		}
		return []string{c.Key()}
	}
	for _, kind := range []client.Object{&infrav1.IngotMachine{}, &ingotv1.ImageReplica{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, kind, copyIndex, key); err != nil {
			return fmt.Errorf("indexing %T by copy: %w", kind, err)
		}
	}
	return nil
}

// changesNeed lets through what changes which copies are needed: a machine comes with an image, chooses one, or goes.
func changesNeed() predicate.Predicate {
	needs := func(o client.Object) inventory.Copy {
		if machine, is := o.(*infrav1.IngotMachine); is {
			return inventory.NeededBy(machine)
		}
		return inventory.Copy{}
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return needs(e.Object) != inventory.Copy{} },
		UpdateFunc: func(e event.UpdateEvent) bool { return needs(e.ObjectOld) != needs(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return needs(e.Object) != inventory.Copy{} },
	}
}

// onMachine wakes the replicas of the copy that a machine needs.
func (r *Reconciler) onMachine(ctx context.Context, o client.Object) []reconcile.Request {
	machine, is := o.(*infrav1.IngotMachine)
	if !is {
		return nil
	}
	return r.requests(ctx, func(*ingotv1.ImageReplica) bool { return true }, client.MatchingFields{copyIndex: inventory.NeededBy(machine).Key()})
}

// onEndpoint wakes the replicas of an endpoint whose policy may have changed.
func (r *Reconciler) onEndpoint(ctx context.Context, endpoint client.Object) []reconcile.Request {
	return r.requests(ctx, func(replica *ingotv1.ImageReplica) bool { return replica.Spec.EndpointName == endpoint.GetName() })
}

// platformEvents wakes replicas when a copy ended, or when a session came back.
func (r *Reconciler) platformEvents() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.Sessions.Listen(func(endpoint string, event platform.Event) {
			if event.ImageSHA256 == "" && !event.Session {
				return
			}
			concerned := func(replica *ingotv1.ImageReplica) bool {
				return replica.Spec.EndpointName == endpoint && (event.Session || replica.Spec.Artefact.SHA256 == event.ImageSHA256)
			}
			for _, request := range r.requests(ctx, concerned) {
				r.memory.named(request.Name).happened()
				queue.Add(request)
			}
		})
		return nil
	})
}

func (r *Reconciler) requests(ctx context.Context, which func(*ingotv1.ImageReplica) bool, options ...client.ListOption) []reconcile.Request {
	replicas := &ingotv1.ImageReplicaList{}
	if err := r.Client.List(ctx, replicas, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list ImageReplicas for an event; the next sweep will see it")
		return nil
	}
	var requests []reconcile.Request
	for i := range replicas.Items {
		if which(&replicas.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&replicas.Items[i])})
		}
	}
	return requests
}
