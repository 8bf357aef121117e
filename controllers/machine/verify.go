// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/patch"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/verification"
)

// verify says whether the Node is what was declared. It needs no platform, so it is judged whatever the phases wait for;
// and nothing is ready or not ready because of it.
func (r *Reconciler) verify(ctx context.Context, w *world) error {
	if !w.machine.Status.NodeRef.IsDefined() {
		return nil
	}
	verdict, err := r.judge(ctx, w)
	if err != nil {
		return err
	}
	if verdict.Status == metav1.ConditionFalse {
		r.warnOnce(w, infrav1.ImageVerifiedCondition, verdict.Reason, "VerifyImage", verdict.Message)
	}
	condition := metav1.Condition{Type: infrav1.ImageVerifiedCondition, Status: verdict.Status, Reason: verdict.Reason, Message: verdict.Message}
	conditions.Set(w.infra, condition)
	condition.Type = infrav1.MachineImageVerifiedCondition
	return r.tellMachine(ctx, w.machine, condition)
}

// judge gathers what was declared and what is observed. What cannot be seen now leaves the verdict as it is.
func (r *Reconciler) judge(ctx context.Context, w *world) (verification.Verdict, error) {
	image := &ingotv1.NodeImage{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: w.infra.Spec.PinnedImage.Name}, image)
	switch {
	case apierrors.IsNotFound(err), err == nil && !holds(image, w.infra.Spec.PinnedImage.SHA256):
		return verification.Verdict{
			Status: metav1.ConditionUnknown, Reason: infrav1.ImageDeclarationGoneReason,
			Message: fmt.Sprintf("NodeImage %s with an artefact of digest %s does not exist any more, so what was declared is not known: create it again",
				w.infra.Spec.PinnedImage.Name, w.infra.Spec.PinnedImage.SHA256),
		}, nil
	case err != nil:
		return verification.Verdict{}, err
	}
	observed := verification.Observed{}
	if info := w.machine.Status.NodeInfo; info != nil {
		observed = observe(info)
	}
	if len(image.Spec.NodeIdentity.OSRelease) > 0 {
		node, seen := r.lookAtNode(ctx, w)
		if !seen {
			return lastVerdict(w.infra), nil
		}
		observed = observe(&node.Status.NodeInfo)
		observed.Report = node.Annotations[ingotv1.NodeIdentityAnnotation]
	}
	return verification.Judge(verification.Declared{Image: image.Spec, KubernetesVersion: w.machine.Spec.Version}, observed), nil
}

// holds is whether an image has the artefact that a machine is cast from. One that was deleted and made again may not.
func holds(image *ingotv1.NodeImage, digest string) bool {
	return slices.ContainsFunc(image.Spec.Artefacts, func(a ingotv1.Artefact) bool { return a.SHA256 == digest })
}

func observe(info *corev1.NodeSystemInfo) verification.Observed {
	return verification.Observed{
		OSImage: info.OSImage, KernelVersion: info.KernelVersion, KubeletVersion: info.KubeletVersion, BootID: info.BootID,
	}
}

// lastVerdict is what was judged when the Node was last seen.
func lastVerdict(infra *infrav1.IngotMachine) verification.Verdict {
	if last := conditions.Get(infra, infrav1.ImageVerifiedCondition); last != nil {
		return verification.Verdict{Status: last.Status, Reason: last.Reason, Message: last.Message}
	}
	return verification.Verdict{
		Status: metav1.ConditionUnknown, Reason: infrav1.NodeUnknownReason,
		Message: "the workload cluster cannot be asked for the Node's annotations yet",
	}
}

// lookAtNode reads the Node from the workload cluster's cache; it is false while that cannot be reached, the end of which wakes
// the machine. A Node that is gone says nothing.
func (r *Reconciler) lookAtNode(ctx context.Context, w *world) (node *corev1.Node, seen bool) {
	node = &corev1.Node{}
	workload, err := r.watchNodes(ctx, client.ObjectKeyFromObject(w.cluster))
	if err == nil {
		err = workload.Get(ctx, client.ObjectKey{Name: w.machine.Status.NodeRef.Name}, node)
	}
	return node, client.IgnoreNotFound(err) == nil
}

// watchNodes has the machines of a workload cluster woken when what their Nodes say of themselves changes, and returns a client
// of the cluster. Cluster API copies nodeInfo to the Machine, but no annotations.
func (r *Reconciler) watchNodes(ctx context.Context, cluster client.ObjectKey) (client.Client, error) {
	if r.watcher != nil {
		err := r.Workload.Watch(ctx, cluster, clustercache.NewWatcher(clustercache.WatcherOptions{
			Name:         "ingotmachine-nodes",
			Watcher:      r.watcher,
			Kind:         &corev1.Node{},
			EventHandler: handler.EnqueueRequestsFromMapFunc(r.onNode),
			Predicates:   []predicate.TypedPredicate[client.Object]{identityTurns()},
		}))
		if err != nil {
			return nil, err
		}
	}
	return r.Workload.GetClient(ctx, cluster)
}

// tellMachine says it on the Machine, where MachineHealthChecks and readiness gates can see it: of a Machine that was found
// to be something else, or that asks for it. A thousand Machines that are as declared cost no write.
func (r *Reconciler) tellMachine(ctx context.Context, machine *clusterv1.Machine, condition metav1.Condition) error {
	asked := slices.ContainsFunc(machine.Spec.ReadinessGates, func(g clusterv1.MachineReadinessGate) bool { return g.ConditionType == condition.Type })
	told := conditions.Get(machine, condition.Type)
	if told == nil && !asked && condition.Status != metav1.ConditionFalse {
		return nil
	}
	if told != nil && told.Status == condition.Status && told.Reason == condition.Reason && told.Message == condition.Message {
		return nil
	}
	helper, err := patch.NewHelper(machine, r.Client)
	if err != nil {
		return err
	}
	conditions.Set(machine, condition)
	err = helper.Patch(ctx, machine, patch.WithOwnedConditions{Conditions: []string{condition.Type}})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reporting on Machine %s: %w", machine.Name, err)
	}
	return nil
}

// identityTurns lets through what changes a verdict: not a heartbeat.
func identityTurns() predicate.Predicate {
	turn := func(o client.Object) verification.Observed {
		node, is := o.(*corev1.Node)
		if !is {
			return verification.Observed{}
		}
		observed := observe(&node.Status.NodeInfo)
		observed.Report = node.Annotations[ingotv1.NodeIdentityAnnotation]
		return observed
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return turn(e.ObjectOld) != turn(e.ObjectNew) }}
}

// onNode wakes the machine of a Node.
func (r *Reconciler) onNode(ctx context.Context, o client.Object) []reconcile.Request {
	node, is := o.(*corev1.Node)
	if !is || node.Spec.ProviderID == "" {
		return nil
	}
	return r.requests(ctx, client.MatchingFields{providerIDIndex: node.Spec.ProviderID})
}

// onConnection wakes the machines of a workload cluster that is reached again, if their Nodes have to be asked.
func (r *Reconciler) onConnection(ctx context.Context, cluster client.Object) []ctrl.Request {
	images := &ingotv1.NodeImageList{}
	machines := &infrav1.IngotMachineList{}
	err := r.Client.List(ctx, images, client.UnsafeDisableDeepCopy)
	if err == nil {
		err = r.Client.List(ctx, machines, client.InNamespace(cluster.GetNamespace()),
			client.MatchingLabels{clusterv1.ClusterNameLabel: cluster.GetName()}, client.UnsafeDisableDeepCopy)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list for a connection; the next sweep will see it")
		return nil
	}
	reporting := map[string]bool{}
	for i := range images.Items {
		reporting[images.Items[i].Name] = len(images.Items[i].Spec.NodeIdentity.OSRelease) > 0
	}
	var requests []ctrl.Request
	for i := range machines.Items {
		if m := &machines.Items[i]; reporting[m.Spec.PinnedImage.Name] {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(m)})
		}
	}
	return requests
}
