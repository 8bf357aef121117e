// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package imagereplica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"

	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

const (
	// progressEvery is how often the progress of a copy is reported, and the least time between two calls about one copy
	// that no event asks for.
	progressEvery = 2 * time.Second
	// verifyEvery is how often a complete copy is looked at although nothing happened, less or more by a quarter.
	verifyEvery = 45 * time.Minute
	// retryFirst and retryLast are how soon what failed is tried again, the first time and in the long run.
	retryFirst, retryLast = 30 * time.Second, 5 * time.Minute
	// callTimeout bounds one round of calls to the platform.
	callTimeout = 30 * time.Second
)

// ensure has the artefact copied and reports how far the copy is. It returns when to look again.
func (r *Reconciler) ensure(ctx context.Context, replica *ingotv1.ImageReplica, endpoint *ingotv1.PlatformEndpoint, known *notes) time.Duration {
	if wait, rests := known.rests(r.now()); rests {
		return wait
	}
	heard := known.heard()
	seen, err := r.ensureImage(ctx, replica, endpoint)
	switch {
	case errors.Is(err, platform.ErrUnreachable) && conditions.IsTrue(replica, ingotv1.ImageReplicaReadyCondition):
		// Nobody can tell, and nothing is concluded: the copy was verified when it was last seen.
		return known.rest(r.now(), heard, r.retryAfter(known))
	case errors.Is(err, platform.ErrUnreachable):
		record(replica, failed(replica, err))
		return known.rest(r.now(), heard, r.retryAfter(known))
	case err != nil:
		// The platform told of the end of the copy before it told why: that event is answered.
		record(replica, failed(replica, err))
		return known.rest(r.now(), known.heard(), r.retryAfter(known))
	case seen.Ready:
		replica.Status.Percent = ptr.To[int32](100)
		replica.Status.ExternalID = seen.ExternalID
		replica.Status.StoredBytes = max(seen.StoredBytes, 0)
		record(replica, flow.Advance(ingotv1.ImageReplicaReadyReason, ""))
		known.succeeded()
		return known.rest(r.now(), heard, r.spread(verifyEvery))
	default:
		replica.Status.Percent = new(percent(seen.BytesDone, replica.Spec.Artefact.SizeBytes))
		record(replica, flow.Wait(ingotv1.ImageReplicaCopyingReason, "copying "+replica.Spec.Artefact.Source, progressEvery))
		return known.rest(r.now(), heard, progressEvery)
	}
}

func (r *Reconciler) ensureImage(ctx context.Context, replica *ingotv1.ImageReplica, endpoint *ingotv1.PlatformEndpoint) (platform.ImageObservation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := r.Sessions.Platform(replica.Spec.EndpointName)
	if err != nil {
		return platform.ImageObservation{}, err
	}
	artefact, pools := replica.Spec.Artefact, []string(nil)
	if endpoint != nil {
		pools = inventory.ImagesAt(endpoint, replica.Spec.Storage).ResourcePools
	}
	return p.EnsureImage(ctx, platform.ImageRequest{
		ImageIdentity: identity(replica),
		Source:        artefact.Source,
		Format:        string(artefact.Format),
		Compression:   string(artefact.Compression),
		SizeBytes:     artefact.SizeBytes,
		ResourcePools: pools,
	})
}

// percent is how much was copied; what was not verified yet is not all.
func percent(done, size int64) int32 {
	return int32(min(max(done, 0)*99/max(size, 1), 99))
}

// removeCopy asks the platform to remove the copy. It returns whether nothing is left, or else when to ask again.
func (r *Reconciler) removeCopy(ctx context.Context, replica *ingotv1.ImageReplica, known *notes) (gone bool, wait time.Duration) {
	if wait, rests := known.rests(r.now()); rests && known.releases() {
		return false, wait
	}
	heard := known.heard()
	err := r.releaseImage(ctx, replica)
	switch {
	case err == nil:
		return true, 0
	case errors.Is(err, platform.ErrInUse):
		record(replica, flow.Wait(ingotv1.ImageReplicaInUseReason, "disks of machines depend on the copy; it goes with the last of them", 0))
	default:
		record(replica, failed(replica, err))
	}
	known.releasing()
	known.rest(r.now(), heard, progressEvery) // a machine that goes asks again, and may be the last one
	return false, r.retryAfter(known)
}

func (r *Reconciler) releaseImage(ctx context.Context, replica *ingotv1.ImageReplica) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := r.Sessions.Platform(replica.Spec.EndpointName)
	if err != nil {
		return err
	}
	return p.ReleaseImage(ctx, identity(replica))
}

// retryAfter is how soon what failed is tried again: later each time, and not everything at once.
func (r *Reconciler) retryAfter(known *notes) time.Duration {
	wait := retryFirst << min(known.failed(), 8)
	return r.spread(min(wait, retryLast))
}

// failed translates the platform's errors. All are tried again: a source or a pool can be repaired without a change here.
func failed(replica *ingotv1.ImageReplica, err error) flow.Outcome {
	reason, message, image := ingotv1.ImageReplicaEndpointUnavailableReason, err.Error(), replica.Spec.NodeImageName
	switch {
	case errors.Is(err, platform.ErrDigestMismatch):
		reason = ingotv1.ImageReplicaDigestMismatchReason
		message += fmt.Sprintf(": find out why; publish the file that NodeImage %s declares, or, if the other one is meant, create a NodeImage of it", image)
	case errors.Is(err, platform.ErrSource):
		reason = ingotv1.ImageReplicaSourceFailedReason
		message += fmt.Sprintf(": see to it that the manager can read the source that NodeImage %s names", image)
	case errors.Is(err, platform.ErrInvalid), errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrCapacity):
		reason = ingotv1.ImageReplicaRefusedReason
		message = fmt.Sprintf("NodeImage %s: %s", image, message)
	}
	return flow.Wait(reason, message, 0)
}

func identity(replica *ingotv1.ImageReplica) platform.ImageIdentity {
	return platform.ImageIdentity{SHA256: replica.Spec.Artefact.SHA256, Storage: replica.Spec.Storage, Folder: replica.Spec.Folder}
}
