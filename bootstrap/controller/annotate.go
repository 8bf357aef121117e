// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// annotate puts the annotations of the config on the Node, which no kubelet can do when it registers. The config holds on to
// its finalizer until that is done, so it happens once, and what others write there afterwards stays.
func (r *Reconciler) annotate(ctx context.Context, w *world) error {
	wanted := w.config.Spec.Node.Annotations
	if len(wanted) == 0 || w.leaving() {
		return nil
	}
	workload, err := r.Workload.GetUncachedClient(ctx, w.clusterKey())
	if err != nil {
		return err
	}
	node := &corev1.Node{}
	if err := workload.Get(ctx, client.ObjectKey{Name: w.machine.Status.NodeRef.Name}, node); err != nil {
		return client.IgnoreNotFound(err)
	}
	before := node.DeepCopy()
	annotations := maps.Clone(node.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	for key, value := range wanted {
		annotations[key] = string(value)
	}
	if maps.Equal(annotations, node.Annotations) {
		return nil
	}
	node.Annotations = annotations
	return client.IgnoreNotFound(workload.Patch(ctx, node, client.MergeFrom(before)))
}
