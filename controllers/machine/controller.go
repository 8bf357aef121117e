// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package machine reconciles IngotMachine: it resolves and pins the image, chooses the endpoint, has the image
// replicated, claims addresses, takes the bootstrap data, ensures the instance, sees the Node join and compares it with what
// was declared, and on deletion proves the instance gone. It knows platforms and operating system families only through their ports. It never decides when a
// machine is to be replaced.
package machine

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/source"

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
	// GetClient returns a client of the workload cluster, or an error while it cannot be reached. It reads from a cache.
	GetClient(ctx context.Context, cluster client.ObjectKey) (client.Client, error)
	// Watch adds a watch to the cache of the workload cluster, once while it is connected.
	Watch(ctx context.Context, cluster client.ObjectKey, watcher clustercache.Watcher) error
	// GetClusterSource returns what wakes the reconciler when a connection comes or goes.
	GetClusterSource(controllerName string, mapFunc func(ctx context.Context, cluster client.Object) []ctrl.Request, opts ...clustercache.GetClusterSourceOption) source.Source
}

// Meter is told how long machines take. Its methods must not block.
type Meter interface {
	// Reported is told of a machine whose status was written: as it was before the pass, as it is now, and its owner, which
	// may be gone.
	Reported(before, after *infrav1.IngotMachine, owner *clusterv1.Machine)
	// Waited is told how long a machine waited for its turn to be made on an endpoint.
	Waited(endpoint string, wait time.Duration)
}

// Reconciler reconciles IngotMachine.
type Reconciler struct {
	Client client.Client
	// SecretReader reads bootstrap data, and MachineReader how far a power cycle is. Both read from the API server: a cache may
	// be behind what a manager did that was killed.
	SecretReader     client.Reader
	MachineReader    client.Reader
	Sessions         Sessions
	Workload         Workload
	Families         map[ingotv1.OSFamily]osfamily.Family
	Recorder         events.EventRecorder
	Clock            clock.PassiveClock
	WatchFilterValue string
	// Meter is told how long machines take; nil means nobody is.
	Meter Meter

	// What one manager remembers. All of it may be lost at any time.
	assumed assumptions
	absent  absences
	written superseded
	inHand  inHand
	apart   refusals
	doors   doors
	turns   *budget
	once    sync.Once
	wake    func(client.ObjectKey) // puts a machine into the queue; nil without a manager
	watcher controller.Controller  // what watches of workload clusters wake; nil without a manager
}

// budget returns who has their turn to be made.
func (r *Reconciler) budget() *budget {
	r.once.Do(func() {
		r.turns = newBudget(r.Clock, func(key client.ObjectKey) {
			if r.wake != nil {
				r.wake(key)
			}
		})
		if r.Meter != nil {
			r.turns.waited = r.Meter.Waited
		}
	})
	return r.turns
}

// Turns tells of each endpoint how many machines are in the making there, how many wait for their turn, and for how long
// the first of those has.
func (r *Reconciler) Turns(visit func(endpoint string, making, waiting int, longest time.Duration)) {
	r.budget().visit(visit)
}

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=ingotmachines/status;ingotmachines/finalizers,verbs=get;update;patch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters;clusters/status;machines;machines/status,verbs=get;list;watch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=machines/status,verbs=patch
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
	if isPaused, err := r.paused(ctx, w); err != nil || isPaused {
		return ctrl.Result{}, err
	}
	run := r.run
	if !w.infra.DeletionTimestamp.IsZero() {
		run = r.release
	}
	if w.machine != nil && util.IsControlPlaneMachine(w.machine) {
		ctx = platform.Urgent(ctx)
	}
	outcome, err := run(ctx, w)
	if err != nil || w.gone {
		return ctrl.Result{}, err
	}
	result, reterr = outcome.Result()
	if w.silent {
		return result, reterr
	}
	summarise(w.infra, outcome)
	var unverified error
	if w.infra.DeletionTimestamp.IsZero() {
		unverified = r.verify(ctx, w)
	}
	return result, kerrors.NewAggregate([]error{reterr, unverified, client.IgnoreNotFound(r.report(ctx, w))})
}

// paused is whether the machine is not to be touched. That is written at once; that it is not paused is written with
// whatever there is to say about the machine next.
func (r *Reconciler) paused(ctx context.Context, w *world) (bool, error) {
	if w.cluster == nil {
		return false, nil
	}
	if annotations.IsPaused(w.cluster, w.infra) {
		_, _, err := paused.EnsurePausedCondition(ctx, r.Client, w.cluster, w.infra)
		return true, err
	}
	if !conditions.IsFalse(w.infra, clusterv1.PausedCondition) {
		conditions.Set(w.infra, metav1.Condition{Type: clusterv1.PausedCondition, Status: metav1.ConditionFalse, Reason: clusterv1.NotPausedReason})
	}
	return false, nil
}

// run runs the phases in the order that a machine needs: identity, image and place are written down before anything is
// made, and nothing is started before its bootstrap data fits the image. The first phase that does not advance ends the
// pass. An error means that nothing more may be done or said in this pass.
func (r *Reconciler) run(ctx context.Context, w *world) (flow.Outcome, error) {
	outcome := flow.Run(ctx, w.infra,
		phase(infrav1.ImageResolvedCondition, w, r.image),
		phase(infrav1.PlacedCondition, w, r.place),
	)
	if err := r.writeDown(ctx, w); err != nil || !outcome.Done() {
		return outcome, err
	}
	if !r.doors.enter(w.endpointName()) {
		return w.crowded(), nil
	}
	defer r.doors.leave(w.endpointName())
	phases := []flow.Phase{phase(infrav1.ImageReplicatedCondition, w, r.replica)}
	if w.needsAddresses() {
		phases = append(phases, phase(infrav1.AddressesClaimedCondition, w, r.addresses))
	}
	phases = append(phases,
		gate(infrav1.BootstrapAvailableCondition, w, r.published),
		gate(infrav1.InstanceReadyCondition, w, r.powerCycle),
		gate(infrav1.InstanceReadyCondition, w, r.turn),
		phase(infrav1.BootstrapAvailableCondition, w, r.bootstrap),
		phase(infrav1.InstanceReadyCondition, w, r.instance),
		phase(infrav1.NodeJoinedCondition, w, r.node),
	)
	if w.group() != "" {
		apart := phase(infrav1.KeptApartCondition, w, r.keepApart)
		apart.Aside = w.infra.Spec.Platform.VSphere.AntiAffinity != infrav1.AntiAffinityRequired
		phases = append(phases, apart)
	}
	return flow.Run(ctx, w.infra, phases...), nil
}

// crowdedWait is how soon a pass is tried again that found too many others at its endpoint.
const crowdedWait = 500 * time.Millisecond

// crowded ends a pass whose endpoint has enough to do. It will have passed in seconds, and is not told.
func (w *world) crowded() flow.Outcome {
	w.silent = true
	return flow.Wait(infrav1.InstanceQueuedReason, "many machines are looked at on PlatformEndpoint "+w.endpointName(), crowdedWait)
}

func gate(condition string, w *world, do func(context.Context, *world) flow.Outcome) flow.Phase {
	p := phase(condition, w, do)
	p.Gate = true
	return p
}

func phase(condition string, w *world, do func(context.Context, *world) flow.Outcome) flow.Phase {
	return flow.Phase{Condition: condition, Do: func(ctx context.Context) flow.Outcome { return do(ctx, w) }}
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
