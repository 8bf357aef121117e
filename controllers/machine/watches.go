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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Names of the cache indexes that events are mapped with.
const (
	providerIDIndex = "spec.providerID"
	endpointIndex   = "spec.platform.endpointName"
)

// SetupWithManager registers the reconciler, its indexes and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options controller.Options) error {
	if err := addIndexes(ctx, mgr); err != nil {
		return err
	}
	log := mgr.GetLogger().WithValues("controller", "ingotmachine")
	clusterToUs, err := util.ClusterToTypedObjectsMapper(mgr.GetClient(), &infrav1.IngotMachineList{}, mgr.GetScheme())
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		WithOptions(options).
		For(&infrav1.IngotMachine{}).
		WithEventFilter(predicates.ResourceHasFilterLabel(mgr.GetScheme(), log, r.WatchFilterValue)).
		Watches(&clusterv1.Machine{}, handler.EnqueueRequestsFromMapFunc(
			util.MachineToInfrastructureMapFunc(infrav1.GroupVersion.WithKind("IngotMachine")))).
		Watches(&clusterv1.Cluster{}, handler.EnqueueRequestsFromMapFunc(clusterToUs),
			builder.WithPredicates(predicates.ClusterPausedTransitionsOrInfrastructureProvisioned(mgr.GetScheme(), log))).
		Watches(&ingotv1.NodeImage{}, handler.EnqueueRequestsFromMapFunc(r.unprovisioned)).
		Watches(&ingotv1.ImageReplica{}, handler.EnqueueRequestsFromMapFunc(r.unprovisioned)).
		Watches(&ingotv1.PlatformEndpoint{}, handler.EnqueueRequestsFromMapFunc(r.onEndpoint)).
		WatchesRawSource(r.platformEvents()).
		Complete(r)
}

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	indexes := map[string]func(*infrav1.IngotMachine) string{
		providerIDIndex: func(m *infrav1.IngotMachine) string { return m.Spec.ProviderID },
		endpointIndex:   func(m *infrav1.IngotMachine) string { return m.Spec.Platform.Libvirt.EndpointName },
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

// unprovisioned wakes machines whose instance is not made yet: only they care about images and replicas.
func (r *Reconciler) unprovisioned(ctx context.Context, _ client.Object) []reconcile.Request {
	machines := &infrav1.IngotMachineList{}
	if err := r.Client.List(ctx, machines); err != nil {
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

// onEndpoint wakes the machines of an endpoint.
func (r *Reconciler) onEndpoint(ctx context.Context, endpoint client.Object) []reconcile.Request {
	return r.requests(ctx, client.MatchingFields{endpointIndex: endpoint.GetName()})
}

// platformEvents wakes the machine that an event of a platform is about, or all machines of an endpoint whose session
// was made or lost.
func (r *Reconciler) platformEvents() source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
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
	if err := r.Client.List(ctx, machines, fields); err != nil {
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
