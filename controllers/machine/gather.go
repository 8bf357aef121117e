// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"strings"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// providerIDPrefix is what a provider ID of ours starts with; the machine's uuid follows.
const providerIDPrefix = "ingot://"

// world is everything that a pass over one machine reads from the management cluster, and what the platform showed.
type world struct {
	allocation // set by the address phase of an instance that is to be made

	infra   *infrav1.IngotMachine
	found   *infrav1.IngotMachine // infra as the API has it
	machine *clusterv1.Machine    // nil when the owner is gone
	cluster *clusterv1.Cluster    // nil when the Cluster is gone

	endpoint *ingotv1.PlatformEndpoint // nil when none is chosen or it does not exist
	pinned   *ingotv1.NodeImage        // the pinned image, set by the image phase

	bundle *bundle // the bootstrap data, set by the bootstrap phase of an instance that is to be made

	observed *platform.Observation // set by observe
	gone     bool                  // whether the pass let the machine go
	silent   bool                  // whether what the pass has to tell will have passed in seconds, and is not worth a write
}

// gather reads everything that a pass needs. It returns nil when there is nothing to do yet.
func (r *Reconciler) gather(ctx context.Context, key client.ObjectKey) (*world, error) {
	w := &world{infra: &infrav1.IngotMachine{}}
	if err := r.Client.Get(ctx, key, w.infra); err != nil {
		r.budget().leave(key)
		r.written.forget(key)
		r.inHand.drop(key)
		return nil, client.IgnoreNotFound(err)
	}
	if r.written.has(key, w.infra.ResourceVersion) {
		return nil, nil // the event of our own write wakes us
	}
	w.found = w.infra.DeepCopy()
	deleting := !w.infra.DeletionTimestamp.IsZero()
	var err error
	if w.machine, err = util.GetOwnerMachine(ctx, r.Client, w.infra.ObjectMeta); client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	if w.machine == nil && !deleting {
		return nil, nil // the Machine controller sets the owner; its update wakes us
	}
	if name := w.infra.Labels[clusterv1.ClusterNameLabel]; name != "" {
		if w.cluster, err = util.GetClusterByName(ctx, r.Client, w.infra.Namespace, name); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
	}
	if w.cluster == nil && !deleting {
		return nil, nil // as above: the label comes with the owner
	}
	return w, r.gatherEndpoint(ctx, w)
}

// gatherEndpoint reads the endpoint that the machine was placed on.
func (r *Reconciler) gatherEndpoint(ctx context.Context, w *world) error {
	if w.endpointName() == "" {
		return nil
	}
	endpoint := &ingotv1.PlatformEndpoint{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: w.endpointName()}, endpoint)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	w.endpoint = endpoint
	return nil
}

// observe asks the platform about the instance, at most once per pass.
func (r *Reconciler) observe(ctx context.Context, w *world) (platform.Observation, error) {
	if w.observed != nil {
		return *w.observed, nil
	}
	p, err := r.Sessions.Platform(w.endpointName())
	if err != nil {
		return platform.Observation{}, err
	}
	seen, err := p.Observe(ctx, w.identity())
	if err != nil {
		return platform.Observation{}, err
	}
	w.observed = &seen
	return seen, nil
}

// endpointName is where the machine was placed; empty before that.
func (w *world) endpointName() string { return placedOn(w.infra) }

// key is what the machine is queued by.
func (w *world) key() client.ObjectKey { return client.ObjectKeyFromObject(w.infra) }

func (w *world) storage() string { return inventory.StorageOf(w.infra.Spec) }

// identity is valid once the endpoint exists and has its management cluster id.
func (w *world) identity() platform.Identity {
	return platform.Identity{
		UUID:                strings.TrimPrefix(w.infra.Spec.ProviderID, providerIDPrefix),
		ManagementClusterID: w.endpoint.Spec.ManagementClusterID,
		Storage:             w.storage(),
		SeenIn:              w.seenIn(),
	}
}

// seenIn is where inside the endpoint the instance is on record to have been. A machine that was never seen there may name a
// place that does not exist, and is not held back by it.
func (w *world) seenIn() string {
	vsphere := w.infra.Spec.Platform.VSphere
	if vsphere.Datacenter == "" || !w.started() && !w.wasProvisioned() {
		return ""
	}
	return cmp.Or(vsphere.Folder, "/")
}

// started is whether the instance was seen started: only then the power state is told. It has its bootstrap data, and
// nobody makes it again.
func (w *world) started() bool { return w.found.Status.Power != "" }

// wasProvisioned is whether Cluster API was ever told that the instance is there. Machine.spec.providerID says it too,
// because status does not survive a move to another management cluster.
func (w *world) wasProvisioned() bool {
	told := w.infra.Status.Initialization.Provisioned
	return (told != nil && *told) || (w.machine != nil && w.machine.Spec.ProviderID != "")
}
