// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// collectAtOnce is how many orphans one look removes at most; the next one goes on. It bounds what a mistake can cost.
	collectAtOnce = 8
	// releaseRounds is how often one look asks for the removal of one orphan; the next one goes on.
	releaseRounds = 3
	// releaseTimeout bounds one round of the removal.
	releaseTimeout = 30 * time.Second
)

// CollectsOrphansAnnotation holds the uid of the PlatformEndpoint object whose orphans may be removed. Ingot sets it when
// it chooses the management cluster id, and takes it away when machines of the endpoint move to another management
// cluster. A PlatformEndpoint that was moved or copied has another uid: whoever it came from may still have machines
// there, which look like orphans here. A person who knows that there is no other copy sets it again.
const CollectsOrphansAnnotation = "ingot.dev/collects-orphans"

func allowCollection(endpoint *ingotv1.PlatformEndpoint) {
	if endpoint.Annotations == nil {
		endpoint.Annotations = map[string]string{}
	}
	endpoint.Annotations[CollectsOrphansAnnotation] = string(endpoint.UID)
}

func forbidCollection(endpoint *ingotv1.PlatformEndpoint) {
	delete(endpoint.Annotations, CollectsOrphansAnnotation)
}

// collectionDoubt says why orphans of this endpoint may be another management cluster's machines; empty if they cannot.
func collectionDoubt(endpoint *ingotv1.PlatformEndpoint) string {
	if endpoint.Annotations[CollectsOrphansAnnotation] == string(endpoint.UID) {
		return ""
	}
	return fmt.Sprintf("this PlatformEndpoint was made in another management cluster, or machines on it were moved to one, which may have machines here. "+
		"Once no other management cluster has a copy of this object, set its annotation %s to %s", CollectsOrphansAnnotation, endpoint.UID)
}

// collect removes orphans, and returns the uuids that are none any more: nothing is left of them, or a machine claimed
// them. It asks the API server once more before each: the first call for an orphan is the last moment at which a machine
// can still claim it. An endpoint that stops answering ends it; the next look goes on.
func (r *Reconciler) collect(ctx context.Context, p platform.Platform, due []platform.Owned, news *tidings) (settled map[string]bool, err error) {
	settled = map[string]bool{}
	for _, orphan := range byUUID(due) {
		if len(news.collected) == collectAtOnce {
			break
		}
		uuid := orphan[0].UUID
		machines, err := r.allMachines(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing IngotMachines to collect orphans: %w", err)
		}
		if uuids(machines)[uuid] {
			settled[uuid] = true
			continue
		}
		left, err := release(ctx, p, orphan)
		switch {
		case errors.Is(err, platform.ErrForeign):
			news.refused = append(news.refused, orphan[0])
		case err != nil:
			ctrl.LoggerFrom(ctx).Info("an orphan could not be removed; the next sweep tries again", "uuid", uuid, "reason", err.Error())
			if errors.Is(err, platform.ErrUnreachable) {
				return settled, nil
			}
		case !left:
			settled[uuid] = true
			news.collected = append(news.collected, orphan[0])
		}
	}
	return settled, nil
}

// byUUID groups what belongs together: one orphan may be spread over storages.
func byUUID(due []platform.Owned) [][]platform.Owned {
	var groups [][]platform.Owned
	at := map[string]int{}
	for _, owned := range due {
		i, known := at[owned.UUID]
		if !known {
			i = len(groups)
			at[owned.UUID] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], owned)
	}
	return groups
}

// release removes an orphan from every storage, and returns whether something is left.
func release(ctx context.Context, p platform.Platform, orphan []platform.Owned) (left bool, err error) {
	for _, owned := range orphan {
		leftHere := true
		for round := 0; leftHere && round < releaseRounds; round++ {
			seen, err := releaseOnce(ctx, p, owned.Identity)
			if err != nil {
				return true, err
			}
			leftHere = seen.Existence != platform.Absent
		}
		left = left || leftHere
	}
	return left, nil
}

func releaseOnce(ctx context.Context, p platform.Platform, id platform.Identity) (platform.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return p.Release(ctx, platform.ReleaseRequest{Identity: id})
}
