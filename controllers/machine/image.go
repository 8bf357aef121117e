// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/flow"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/image"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/inventory"
)

// image resolves spec.image and pins the result, once. A pinned image is looked at again until the instance is made, so
// that an image that was revoked meanwhile starts nothing.
func (r *Reconciler) image(ctx context.Context, w *world) flow.Outcome {
	if w.wasProvisioned() {
		return flow.Advance(infrav1.ImagePinnedReason, "")
	}
	images := &ingotv1.NodeImageList{}
	if err := r.Client.List(ctx, images); err != nil {
		return flow.Fail(infrav1.ImageNotFoundReason, "NodeImages cannot be listed", err)
	}
	reference := w.infra.Spec.Image
	pinned := w.infra.Spec.PinnedImage
	if pinned.Name != "" {
		reference = infrav1.ImageReference{Name: pinned.Name}
	}
	choice, refusal := image.Resolve(reference, images.Items, image.Needs{
		KubernetesVersion: w.machine.Spec.Version,
		Platform:          inventory.PlatformOf(w.infra.Spec),
		Firmware:          w.infra.Spec.Firmware,
		SecureBoot:        ptr.Deref(w.infra.Spec.TrustedBoot.SecureBoot, false),
	}, r.Clock.Now())
	if refusal != nil && r.alreadyStarted(ctx, w, images.Items) {
		return flow.Advance(infrav1.ImagePinnedReason, "")
	}
	if refusal != nil {
		r.warnOnce(w, infrav1.ImageResolvedCondition, refusal.Reason, "ResolveImage", refusal.Message)
		return flow.Stall(refusal.Reason, refusal.Message)
	}
	if pinned.Name == "" {
		r.pin(w, choice)
	} else if pinned.SHA256 != choice.Artefact.SHA256 {
		return flow.Stall(infrav1.ImageIncompatibleReason, fmt.Sprintf(
			"NodeImage %s now has digest %s, and this machine is pinned to %s: NodeImages are immutable, so this one was deleted and made again. Delete the Machine to get one from the new image",
			pinned.Name, choice.Artefact.SHA256, pinned.SHA256))
	}
	w.pinned = choice.Image
	return flow.Advance(infrav1.ImagePinnedReason, "")
}

// alreadyStarted is whether the instance runs from its pinned image already: an image that was revoked between the start
// and the first address stops no running machine.
func (r *Reconciler) alreadyStarted(ctx context.Context, w *world, images []ingotv1.NodeImage) bool {
	if w.endpoint == nil || w.endpoint.Spec.ManagementClusterID == "" {
		return false
	}
	for i := range images {
		if images[i].Name == w.infra.Spec.PinnedImage.Name {
			seen, err := r.observe(ctx, w)
			w.pinned = &images[i]
			return err == nil && seen.Started
		}
	}
	return false
}

// pin takes the resolved image into the spec. It is written down before anything is made from it; a validation rule keeps
// a second manager from pinning another one.
func (r *Reconciler) pin(w *world, choice image.Choice) {
	w.infra.Spec.PinnedImage = infrav1.PinnedImage{Name: choice.Image.Name, SHA256: choice.Artefact.SHA256}
	if choice.Image.Spec.Lifecycle.State == ingotv1.LifecycleDeprecated {
		r.Recorder.Eventf(w.infra, choice.Image, corev1.EventTypeWarning, "ImageDeprecated", "ResolveImage",
			"NodeImage %s is deprecated: %s", choice.Image.Name, choice.Image.Spec.Lifecycle.Reason)
	}
}

// replica makes sure that the pinned image is stored and verified on the machine's endpoint.
func (r *Reconciler) replica(ctx context.Context, w *world) flow.Outcome {
	if w.wasProvisioned() {
		return flow.Advance(infrav1.ImageReplicaReadyReason, "")
	}
	if w.endpoint == nil {
		return flow.Stall(infrav1.EndpointNotFoundReason, fmt.Sprintf("PlatformEndpoint %s does not exist any more: create it again", w.endpointName()))
	}
	if w.endpoint.Spec.ManagementClusterID == "" {
		return flow.Wait(infrav1.EndpointUnavailableReason, fmt.Sprintf("PlatformEndpoint %s is not ready yet", w.endpointName()), shortWait)
	}
	replica, err := r.ensureReplica(ctx, w)
	if err != nil {
		return flow.Fail(infrav1.ImageReplicaFailedReason, "the ImageReplica could not be made", err)
	}
	ready := conditions.Get(replica, ingotv1.ImageReplicaReadyCondition)
	switch {
	case !replica.DeletionTimestamp.IsZero():
		return flow.Wait(infrav1.ImageReplicatingReason, fmt.Sprintf("ImageReplica %s is being removed; it is made anew when it is gone", replica.Name), 0)
	case ready == nil:
		return flow.Wait(infrav1.ImageReplicatingReason, replicating(w, replica), 0)
	case ready.Status == metav1.ConditionTrue:
		return flow.Advance(infrav1.ImageReplicaReadyReason, "")
	case ready.Reason == ingotv1.ImageReplicaCopyingReason:
		return flow.Wait(infrav1.ImageReplicatingReason, replicating(w, replica), 0)
	default:
		return flow.Wait(infrav1.ImageReplicaFailedReason, fmt.Sprintf("ImageReplica %s: %s: %s", replica.Name, ready.Reason, ready.Message), 0)
	}
}

// replicating says where to see how far the copy is. The progress itself is the replica's: a thousand machines that wait
// for one copy would all write it.
func replicating(w *world, replica *ingotv1.ImageReplica) string {
	return fmt.Sprintf("%s is being copied to %s: ImageReplica %s tells how far", w.pinned.Name, w.endpointName(), replica.Name)
}

// ensureReplica returns the replica of the pinned image on the machine's storage, and makes it if there is none. The
// name is derived from what it holds, so that machines that ask at the same time get the same one.
func (r *Reconciler) ensureReplica(ctx context.Context, w *world) (*ingotv1.ImageReplica, error) {
	var artefact ingotv1.Artefact
	for _, a := range w.pinned.Spec.Artefacts {
		if a.SHA256 == w.infra.Spec.PinnedImage.SHA256 && a.Platform == inventory.PlatformOf(w.infra.Spec) {
			artefact = a
		}
	}
	name := replicaName(w.pinned.Name, w.endpointName(), w.storage(), artefact.SHA256)
	replica := &ingotv1.ImageReplica{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, replica)
	if !apierrors.IsNotFound(err) {
		return replica, err
	}
	replica = &ingotv1.ImageReplica{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: ingotv1.ImageReplicaSpec{
			NodeImageName: w.pinned.Name,
			EndpointName:  w.endpointName(),
			Storage:       w.storage(),
			Artefact:      artefact,
		},
	}
	if artefact.Format != ingotv1.DiskFormatTemplate { // whose copy is next to it
		replica.Spec.Folder = inventory.ImagesAt(w.endpoint, w.storage()).Folder
	}
	if r.WatchFilterValue != "" {
		replica.Labels = map[string]string{clusterv1.WatchLabel: r.WatchFilterValue} // or nobody would look after it
	}
	if err := r.Client.Create(ctx, replica); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	return replica, nil
}

func replicaName(nodeImage, endpoint, storage, digest string) string {
	const maxImage = 200
	sum := sha256.Sum256([]byte(endpoint + "\x00" + storage + "\x00" + digest))
	return nodeImage[:min(len(nodeImage), maxImage)] + "-" + hex.EncodeToString(sum[:])[:10]
}
