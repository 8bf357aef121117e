// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// declare has the workload cluster say what the machine must read there when it joins the control plane. Machines join a
// control plane one at a time, so nobody else declares something else meanwhile. It comes before Cluster API learns of the
// bootstrap data: the machine does not exist yet.
func (r *Reconciler) declare(ctx context.Context, w *world, in *osfamily.Input) flow.Outcome {
	if w.role() != bootstrapv1.RoleControlPlane {
		return flow.Advance("", "")
	}
	family, outcome := r.family(w.config.Spec)
	if !outcome.Done() {
		return outcome
	}
	declarer, ok := family.(osfamily.Declarer)
	if !ok {
		return flow.Advance("", "")
	}
	workload, err := r.Workload.GetUncachedClient(ctx, w.clusterKey())
	if err != nil {
		return unreachable(w)
	}
	for _, declaration := range declarer.Declarations(*in) {
		if outcome := declareIn(ctx, workload, declaration); !outcome.Done() {
			return outcome
		}
	}
	return flow.Advance("", "")
}

// declareIn writes only where the object says something else.
func declareIn(ctx context.Context, workload client.Client, d osfamily.Declaration) flow.Outcome {
	name := fmt.Sprintf("%s %s/%s of the workload cluster", d.GroupVersionKind.Kind, d.Namespace, d.Name)
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(d.GroupVersionKind)
	err := workload.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: d.Name}, object)
	if apierrors.IsNotFound(err) {
		return flow.Advance("", "")
	}
	if err != nil {
		return flow.Fail(bootstrapv1.WorkloadClusterUnreachableReason, fmt.Sprintf("reading %s failed; the manager's log says why", name), err)
	}
	before := object.DeepCopy()
	if err := d.Declare(object.Object); err != nil {
		return flow.Wait(bootstrapv1.DeclarationFailedReason, fmt.Sprintf(
			"%s, from which the machine reads what it runs, cannot be brought up to date: %v", name, err), secretRetry)
	}
	if equality.Semantic.DeepEqual(before.Object, object.Object) {
		return flow.Advance("", "")
	}
	if err := workload.Update(ctx, object); err != nil {
		return flow.Fail(bootstrapv1.WorkloadClusterUnreachableReason, fmt.Sprintf("writing %s failed; the manager's log says why", name), err)
	}
	ctrl.LoggerFrom(ctx).Info("Declared what machines read when they join the control plane", "kind", d.GroupVersionKind.Kind, "object", d.Name)
	return flow.Advance("", "")
}
