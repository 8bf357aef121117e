// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package machine reconciles IngotMachine: it resolves and pins the image, has it replicated, takes the bootstrap data,
// ensures the instance, sees the Node join, and on deletion proves the instance gone. It knows platforms and operating
// system families only through their ports. It never decides when a machine is to be replaced.
package machine

import (
	"context"
	"time"

	"github.com/google/uuid"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
)

// Sessions gives the session of an endpoint.
type Sessions interface {
	// Platform returns the session of the endpoint with the name, or an error that wraps platform.ErrUnreachable.
	Platform(endpoint string) (platform.Platform, error)
	// Listen adds a listener for what happens on endpoints.
	Listen(session.Listener)
}

// Workload gives access to workload clusters.
type Workload interface {
	// GetClient returns a client of the workload cluster, or an error while it cannot be reached.
	GetClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error)
}

// Reconciler reconciles IngotMachine.
type Reconciler struct {
	Client           client.Client
	SecretReader     client.Reader
	Sessions         Sessions
	Workload         Workload
	Families         map[ingotv1.OSFamily]osfamily.Family
	Recorder         events.EventRecorder
	Clock            clock.PassiveClock
	WatchFilterValue string
}

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines/status;ingotmachines/finalizers,verbs=get;update;patch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters;clusters/status;machines;machines/status,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=ingot.dev,resources=nodeimages;platformendpoints,verbs=get;list;watch
// +kubebuilder:rbac:groups=ingot.dev,resources=imagereplicas,verbs=get;list;watch;create

// passBudget bounds one pass. Ensure does all that it can in one call, which takes seconds on a busy host.
const passBudget = 3 * time.Minute

// Reconcile takes one machine one step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, reterr error) {
	ctx, cancel := context.WithTimeout(ctx, passBudget)
	defer cancel()
	w, err := r.gather(ctx, req.NamespacedName)
	if err != nil || w == nil {
		return ctrl.Result{}, err
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, w.infra, infrav1.IngotMachineFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	if w.cluster != nil {
		if isPaused, requeue, err := paused.EnsurePausedCondition(ctx, r.Client, w.cluster, w.infra); err != nil || isPaused || requeue {
			return ctrl.Result{}, err
		}
	}
	if err := r.ensureIdentity(ctx, w.infra); err != nil {
		return ctrl.Result{}, err
	}
	helper, err := patch.NewHelper(w.infra, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	outcome := r.run(ctx, w)
	summarise(w.infra, outcome)
	result, reterr = outcome.Result()
	err = helper.Patch(ctx, w.infra, patch.WithOwnedConditions{Conditions: ownedConditions()})
	return result, kerrors.NewAggregate([]error{reterr, client.IgnoreNotFound(err)})
}

// run runs the phases in the order that a machine needs: nothing is made before its image is pinned, and nothing is
// started before its bootstrap data fits that image. The first phase that does not advance ends the pass.
func (r *Reconciler) run(ctx context.Context, w *world) flow.Outcome {
	if !w.infra.DeletionTimestamp.IsZero() {
		return r.release(ctx, w)
	}
	return flow.Run(ctx, w.infra,
		flow.Phase{Condition: infrav1.ImageResolvedCondition, Do: func(ctx context.Context) flow.Outcome { return r.image(ctx, w) }},
		flow.Phase{Condition: infrav1.ImageReplicatedCondition, Do: func(ctx context.Context) flow.Outcome { return r.replica(ctx, w) }},
		flow.Phase{Condition: infrav1.BootstrapAvailableCondition, Do: func(ctx context.Context) flow.Outcome { return r.bootstrap(ctx, w) }},
		flow.Phase{Condition: infrav1.InstanceReadyCondition, Do: func(ctx context.Context) flow.Outcome { return r.instance(ctx, w) }},
		flow.Phase{Condition: infrav1.NodeJoinedCondition, Do: func(ctx context.Context) flow.Outcome { return r.node(ctx, w) }},
	)
}

// ensureIdentity writes the machine's identity before anything is made for it. The optimistic lock makes sure that of
// two managers only one chooses.
func (r *Reconciler) ensureIdentity(ctx context.Context, infra *infrav1.IngotMachine) error {
	if infra.Spec.ProviderID != "" || !infra.DeletionTimestamp.IsZero() {
		return nil
	}
	before := client.MergeFromWithOptions(infra.DeepCopy(), client.MergeFromWithOptimisticLock{})
	infra.Spec.ProviderID = providerIDPrefix + uuid.NewString()
	return r.Client.Patch(ctx, infra, before)
}

// summarise writes the Ready condition, which says what the machine waits for or that it waits for nothing, and the
// observed generation.
func summarise(infra *infrav1.IngotMachine, outcome flow.Outcome) {
	if outcome.Done() {
		outcome = flow.Advance(clusterv1.ReadyReason, "")
	}
	flow.Record(infra, infrav1.ReadyCondition, outcome)
	infra.Status.ObservedGeneration = infra.Generation
}

func ownedConditions() []string {
	return []string{
		infrav1.ReadyCondition, infrav1.ImageResolvedCondition, infrav1.ImageReplicatedCondition, infrav1.BootstrapAvailableCondition,
		infrav1.InstanceReadyCondition, infrav1.NodeJoinedCondition, infrav1.DeletingCondition,
	}
}
