// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

const (
	// defaultKeepUnused is how long a copy stays after the last machine that needed it, where the endpoint says nothing.
	defaultKeepUnused = 24 * time.Hour
	// pageSize is how many machines are read from the API server at once.
	pageSize = 500
)

// endpointOf returns the endpoint of a replica, nil if there is none, and whether the replica is this manager's: replicas
// are made by Ingot and have no labels of their own, so the endpoint's decides.
func (r *Reconciler) endpointOf(ctx context.Context, replica *ingotv1.ImageReplica) (endpoint *ingotv1.PlatformEndpoint, ours bool, err error) {
	endpoint = &ingotv1.PlatformEndpoint{}
	err = r.Client.Get(ctx, client.ObjectKey{Name: replica.Spec.EndpointName}, endpoint)
	if apierrors.IsNotFound(err) {
		return nil, r.WatchFilterValue == "", nil
	}
	if err != nil {
		return nil, false, err
	}
	return endpoint, r.WatchFilterValue == "" || labels.HasWatchLabel(endpoint, r.WatchFilterValue), nil
}

// judgeNeed reports whether machines need the copy, and returns when it is to be collected; the zero time while they do.
// The time at which the last machine went is the condition's, so that a new manager goes on counting.
func (r *Reconciler) judgeNeed(ctx context.Context, replica *ingotv1.ImageReplica, endpoint *ingotv1.PlatformEndpoint) (time.Time, error) {
	look := r.needed
	if conditions.IsTrue(replica, ingotv1.ImageReplicaUnusedCondition) {
		look = r.neededByCache // the API server was asked when it became so, and is asked again before the end
	}
	needed, err := look(ctx, replica)
	if err != nil {
		return time.Time{}, err
	}
	unused := metav1.Condition{
		Type: ingotv1.ImageReplicaUnusedCondition, Status: metav1.ConditionFalse, Reason: ingotv1.ImageReplicaNeededReason,
		LastTransitionTime: metav1.NewTime(r.now()),
	}
	if needed {
		conditions.Set(replica, unused)
		return time.Time{}, nil
	}
	keep := keepUnused(endpoint)
	unused.Status, unused.Reason = metav1.ConditionTrue, ingotv1.ImageReplicaNotNeededReason
	unused.Message = fmt.Sprintf("no machine needs the copy; it is removed when none has for %d minutes", int(keep.Minutes()))
	conditions.Set(replica, unused)
	since := conditions.GetLastTransitionTime(replica, ingotv1.ImageReplicaUnusedCondition)
	return since.Add(keep), nil
}

func keepUnused(endpoint *ingotv1.PlatformEndpoint) time.Duration {
	if endpoint == nil || endpoint.Spec.Replicas.KeepUnusedMinutes == nil {
		return defaultKeepUnused
	}
	return time.Duration(*endpoint.Spec.Replicas.KeepUnusedMinutes) * time.Minute
}

// needed is whether any machine needs the copy, also one that is being deleted. The cache may lag behind the write with
// which a machine chose the image: before this says that none does, it asks the API server as well.
func (r *Reconciler) needed(ctx context.Context, replica *ingotv1.ImageReplica) (bool, error) {
	if needed, err := r.neededByCache(ctx, replica); err != nil || needed || r.MachineReader == nil {
		return needed, err
	}
	wanted := inventory.CopyOf(replica)
	page := &infrav1.IngotMachineList{}
	for {
		if err := r.MachineReader.List(ctx, page, client.Limit(pageSize), client.Continue(page.Continue)); err != nil {
			return false, err
		}
		if anyNeeds(page.Items, wanted) || page.Continue == "" {
			return anyNeeds(page.Items, wanted), nil
		}
		page.Items = nil
	}
}

// neededByCache is whether any machine needs the copy, as far as the cache knows.
func (r *Reconciler) neededByCache(ctx context.Context, replica *ingotv1.ImageReplica) (bool, error) {
	wanted := inventory.CopyOf(replica)
	options := []client.ListOption{client.UnsafeDisableDeepCopy}
	if r.indexed {
		options = append(options, client.MatchingFields{copyIndex: wanted.Key()})
	}
	machines := &infrav1.IngotMachineList{}
	err := r.Client.List(ctx, machines, options...)
	return anyNeeds(machines.Items, wanted), err
}

func anyNeeds(machines []infrav1.IngotMachine, wanted inventory.Copy) bool {
	for i := range machines {
		if inventory.NeededBy(&machines[i]) == wanted {
			return true
		}
	}
	return false
}

// collect deletes a replica that nobody has needed for long enough, unless somebody has written that they need it since
// it was read.
func (r *Reconciler) collect(ctx context.Context, replica *ingotv1.ImageReplica) error {
	needed, err := r.needed(ctx, replica)
	if err != nil || needed {
		return err // the machine's event wakes us
	}
	err = r.Client.Delete(ctx, replica, client.Preconditions{UID: &replica.UID, ResourceVersion: &replica.ResourceVersion})
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	if r.Recorder != nil {
		r.Recorder.Eventf(replica, nil, corev1.EventTypeNormal, "ReplicaCollected", "CollectReplica",
			"no machine has needed the copy of NodeImage %s on storage %s of PlatformEndpoint %s for %s",
			replica.Spec.NodeImageName, replica.Spec.Storage, replica.Spec.EndpointName,
			r.now().Sub(conditions.GetLastTransitionTime(replica, ingotv1.ImageReplicaUnusedCondition).Time).Round(time.Minute))
	}
	return nil
}
