// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/predicates"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
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

// Names of the cache indexes that events are mapped with.
const (
	providerIDIndex = "spec.providerID"
	endpointIndex   = "placement.endpointName"
	artefactIndex   = "spec.pinnedImage.sha256"
)

// unplaced is the value of endpointIndex for machines that select their endpoint and have none yet.
const unplaced = "\x00"

// spareWorkers is how many of so many workers one endpoint never gets.
func spareWorkers(all int) int { return max(all/4, 2) }

// SetupWithManager registers the reconciler, its indexes and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	if err := addIndexes(ctx, mgr); err != nil {
		return err
	}
	r.doors.limit = max(options.MaxConcurrentReconciles-spareWorkers(options.MaxConcurrentReconciles), 1)
	log := mgr.GetLogger().WithValues("controller", "ingotmachine")
	clusterToUs, err := util.ClusterToTypedObjectsMapper(mgr.GetClient(), &infrav1.IngotMachineList{}, mgr.GetScheme())
	if err != nil {
		return err
	}
	watches := ctrl.NewControllerManagedBy(mgr).
		WithOptions(options).
		For(&infrav1.IngotMachine{}).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), log, r.WatchFilterValue)).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(
			util.MachineToInfrastructureMapFunc(infrav1.GroupVersion.WithKind("IngotMachine"))), builder.WithPredicates(unlessLeaving())).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToUs),
			builder.WithPredicates(predicates.ClusterPausedTransitionsOrInfrastructureProvisioned(mgr.GetScheme(), log))).
		Watches(&ingotv1.NodeImage{}, handler.EnqueueRequestsFromMapFunc(r.unprovisioned)).
		Watches(&ingotv1.ImageReplica{}, handler.EnqueueRequestsFromMapFunc(r.onReplica), builder.WithPredicates(replicaTurns())).
		Watches(&ingotv1.PlatformEndpoint{}, handler.EnqueueRequestsFromMapFunc(r.onEndpoint)).
		WatchesRawSource(r.platformEvents()).
		WatchesRawSource(r.Workload.GetClusterSource("ingotmachine", r.onConnection))
	r.watcher, err = r.watchAddresses(watches).Build(r)
	return err
}

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	indexes := map[string]func(*infrav1.IngotMachine) string{
		providerIDIndex: func(m *infrav1.IngotMachine) string { return m.Spec.ProviderID },
		endpointIndex:   indexedEndpoint,
		artefactIndex:   func(m *infrav1.IngotMachine) string { return m.Spec.PinnedImage.SHA256 },
	}
	for name, value := range indexes {
		err := mgr.GetFieldIndexer().IndexField(ctx, &infrav1.IngotMachine{}, name, func(o client.Object) []string {
			machine, ok := o.(*infrav1.IngotMachine)
			if !ok || value(machine) == "" {
				return nil
			}
			return []string{value(machine)}
		})
		if err != nil {
			return fmt.Errorf("indexing IngotMachines by %s: %w", name, err)
		}
	}
	return nil
}

// indexedEndpoint is the endpoint whose events wake a machine.
func indexedEndpoint(m *infrav1.IngotMachine) string {
	if name := placedOn(m); name != "" {
		return name
	}
	if name, _ := inventory.WantedEndpoint(m.Spec); name != "" {
		return name
	}
	return unplaced
}

// unlessLeaving keeps back what is told of a Machine on its way out. Cluster API drains its Node and says so many times, and then
// deletes our object, which is told by that object itself; each pass before asks the platform how the instance is.
func unlessLeaving() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectNew.GetDeletionTimestamp().IsZero() }}
}

// replicaTurns lets through what a machine can act on: a replica's readiness or its end, not its progress.
func replicaTurns() predicate.Predicate {
	turn := func(o client.Object) string {
		replica, ok := o.(*ingotv1.ImageReplica)
		if !ok {
			return ""
		}
		reason := ""
		if ready := conditions.Get(replica, ingotv1.ImageReplicaReadyCondition); ready != nil {
			reason = ready.Reason + ready.Message
		}
		return fmt.Sprint(replica.DeletionTimestamp.IsZero(), reason)
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return turn(e.ObjectOld) != turn(e.ObjectNew) }}
}

// onReplica wakes the machines that wait for an artefact.
func (r *Reconciler) onReplica(ctx context.Context, o client.Object) []reconcile.Request {
	replica, ok := o.(*ingotv1.ImageReplica)
	if !ok {
		return nil
	}
	return r.waiting(ctx, client.MatchingFields{artefactIndex: replica.Spec.Artefact.SHA256})
}

// unprovisioned wakes machines whose instance is not made yet: only they care about images.
func (r *Reconciler) unprovisioned(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.waiting(ctx)
}

// waiting returns those machines whose instance is not made yet.
func (r *Reconciler) waiting(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	machines := &infrav1.IngotMachineList{}
	if err := r.Client.List(ctx, machines, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list IngotMachines for an event; the next sweep will see it")
		return nil
	}
	var requests []reconcile.Request
	for i := range machines.Items {
		if told := machines.Items[i].Status.Initialization.Provisioned; told == nil || !*told {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&machines.Items[i])})
		}
	}
	return requests
}

// onEndpoint wakes the machines of an endpoint, and those that look for one.
func (r *Reconciler) onEndpoint(ctx context.Context, endpoint client.Object) []reconcile.Request {
	return append(r.requests(ctx, client.MatchingFields{endpointIndex: endpoint.GetName()}),
		r.requests(ctx, client.MatchingFields{endpointIndex: unplaced})...)
}

// platformEvents wakes the machine that an event of a platform is about, or all machines of an endpoint whose session
// was made or lost.
func (r *Reconciler) platformEvents() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.wake = func(key client.ObjectKey) { queue.Add(reconcile.Request{NamespacedName: key}) }
		r.Sessions.Listen(func(endpoint string, event platform.Event) {
			var fields client.MatchingFields
			switch {
			case event.UUID != "":
				fields = client.MatchingFields{providerIDIndex: providerIDPrefix + event.UUID}
			case event.Session:
				fields = client.MatchingFields{endpointIndex: endpoint}
			default:
				return
			}
			for _, request := range r.requests(ctx, fields) {
				queue.Add(request)
			}
		})
		return nil
	})
}

func (r *Reconciler) requests(ctx context.Context, fields client.MatchingFields) []reconcile.Request {
	machines := &infrav1.IngotMachineList{}
	if err := r.Client.List(ctx, machines, fields, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list IngotMachines for an event; the next sweep will see it")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(machines.Items))
	for i := range machines.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&machines.Items[i])})
	}
	return requests
}

// warnOnce emits a warning event when a condition takes a new reason, so that a repeated pass is silent.
func (r *Reconciler) warnOnce(w *world, condition, reason, action, message string) {
	if current := conditions.Get(w.infra, condition); current != nil && current.Reason == reason {
		return
	}
	r.Recorder.Eventf(w.infra, nil, corev1.EventTypeWarning, reason, action, "%s", message)
}
