// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"strings"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// chooseStorage completes a place in a vCenter that has a storage policy and no datastore. What is chosen is a part of the
// machine's identity: it is pinned with the rest of the place, and nothing was made before. A pass that dies before that has
// chosen nothing, whatever vCenter answers the next one.
func (r *Reconciler) chooseStorage(ctx context.Context, w *world, placed *infrav1.MachinePlacement) flow.Outcome {
	spec := w.infra.Spec
	spec.Placement = *placed
	at := inventory.PlaceOf(spec)
	if inventory.PlatformOf(spec) != ingotv1.ArtefactPlatformVSphere || at.Datastore != "" {
		return flow.Advance(infrav1.PlacedReason, "")
	}
	if !r.doors.enter(placed.EndpointName) {
		return w.crowded()
	}
	defer r.doors.leave(placed.EndpointName)
	p, err := r.Sessions.Platform(placed.EndpointName)
	if err != nil {
		return flow.Wait(infrav1.EndpointUnavailableReason, err.Error(), unreachableWait)
	}
	chooser, can := platform.As[platform.StorageChooser](p)
	if !can {
		return flow.Stall(infrav1.NoStorageReason, "PlatformEndpoint "+placed.EndpointName+" chooses no datastore: name one in spec.platform.vsphere.datastore")
	}
	datacenter := spec.Platform.VSphere.Datacenter
	storage, err := chooser.ChooseStorage(ctx, platform.StorageWish{
		Datacenter: datacenter, ResourcePool: at.ResourcePool, Policy: at.StoragePolicy, HostGroup: hostGroup(at),
	})
	switch {
	case err == nil:
		at.Datastore = strings.TrimPrefix(storage, datacenter+"/")
		placed.VSphere = at
		return flow.Advance(infrav1.PlacedReason, "")
	case errors.Is(err, platform.ErrUnreachable):
		return flow.Wait(unreachable(err), err.Error(), unreachableWait)
	case errors.Is(err, platform.ErrInvalid), errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrCapacity):
		message := err.Error() + domainNote(*placed)
		r.warnOnce(w, infrav1.PlacedCondition, infrav1.NoStorageReason, "ChooseStorage", message)
		return flow.Wait(infrav1.NoStorageReason, message, unreachableWait)
	default:
		return flow.Fail(infrav1.NoStorageReason, "", err)
	}
}
