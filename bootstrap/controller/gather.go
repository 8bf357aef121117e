// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// world is what one look found.
type world struct {
	config *bootstrapv1.IngotConfig
	// machine is the owner. It is nil only while the config is being deleted and its Machine is gone already.
	machine *clusterv1.Machine
	// cluster is nil only while the config is being deleted and its Cluster is gone already.
	cluster *clusterv1.Cluster
	// data is the Secret with the bootstrap data; nil where there is none, or where this pass has no use for it.
	data *corev1.Secret
}

// gather returns nil where there is nothing to do: the config is gone, or nobody owns it yet.
func (r *Reconciler) gather(ctx context.Context, key client.ObjectKey) (*world, error) {
	w := &world{config: &bootstrapv1.IngotConfig{}}
	if err := r.Client.Get(ctx, key, w.config); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	leaving := !w.config.DeletionTimestamp.IsZero()

	var err error
	if w.machine, err = util.GetOwnerMachine(ctx, r.Client, w.config.ObjectMeta); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the Machine of IngotConfig %s: %w", key, err)
	}
	if w.machine == nil && !leaving {
		return nil, nil // the Machine's event comes when it owns the config
	}
	if err := r.gatherCluster(ctx, w); err != nil {
		return nil, err
	}
	if w.cluster == nil && !leaving {
		return nil, nil // the Cluster's event comes when it is created
	}
	if controllerutil.ContainsFinalizer(w.config, bootstrapv1.IngotConfigFinalizer) || !w.reported() {
		if w.data, err = r.getSecret(ctx, key); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// gatherCluster finds the Cluster through the Machine, or through the label where the Machine is gone.
func (r *Reconciler) gatherCluster(ctx context.Context, w *world) error {
	name := w.config.Labels[clusterv1.ClusterNameLabel]
	if w.machine != nil {
		name = w.machine.Spec.ClusterName
	}
	cluster := &clusterv1.Cluster{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.config.Namespace, Name: name}, cluster)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Cluster %s/%s: %w", w.config.Namespace, name, err)
	}
	if err == nil {
		w.cluster = cluster
	}
	return nil
}

// getSecret returns nil where the Secret does not exist.
func (r *Reconciler) getSecret(ctx context.Context, key client.ObjectKey) (*corev1.Secret, error) {
	found := &corev1.Secret{}
	switch err := r.Client.Get(ctx, key, found); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s: %w", key, err)
	default:
		return found, nil
	}
}

// role is what the user or the control plane provider said, or else what the Machine is.
func (w *world) role() bootstrapv1.Role {
	switch {
	case w.config.Spec.Role != "":
		return w.config.Spec.Role
	case util.IsControlPlaneMachine(w.machine):
		return bootstrapv1.RoleControlPlane
	default:
		return bootstrapv1.RoleWorker
	}
}

// joined is whether the machine's Node is there.
func (w *world) joined() bool { return w.machine != nil && w.machine.Status.NodeRef.IsDefined() }

// reported is whether the status tells Cluster API where the data is. Status does not survive a move to another
// management cluster, the Secret does.
func (w *world) reported() bool {
	return ptr.Deref(w.config.Status.Initialization.DataSecretCreated, false) && w.config.Status.DataSecretName != "" &&
		meta.IsStatusConditionTrue(w.config.Status.Conditions, bootstrapv1.ReadyCondition)
}

// published is whether there is nothing left to publish. Data that somebody deleted is made again as long as the node
// has not joined.
func (w *world) published() bool { return w.reported() && (w.joined() || w.data != nil) }

// leaving is whether the Cluster or the Machine is on its way out, so that nothing should join any more.
func (w *world) leaving() bool {
	return w.cluster == nil || !w.cluster.DeletionTimestamp.IsZero() || w.machine == nil || !w.machine.DeletionTimestamp.IsZero()
}

// initialized is whether the workload cluster has answered once.
func (w *world) initialized() bool {
	return w.cluster != nil && ptr.Deref(w.cluster.Status.Initialization.ControlPlaneInitialized, false)
}

// clusterKey names the workload cluster.
func (w *world) clusterKey() client.ObjectKey { return client.ObjectKeyFromObject(w.cluster) }
