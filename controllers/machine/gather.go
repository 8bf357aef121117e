// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// providerIDPrefix is what a provider ID of ours starts with; the machine's uuid follows.
const providerIDPrefix = "ingot://"

// world is everything that a pass over one machine reads from the management cluster, and what the platform showed.
type world struct {
	infra   *infrav1.IngotMachine
	machine *clusterv1.Machine // nil when the owner is gone
	cluster *clusterv1.Cluster // nil when the Cluster is gone

	endpoint *ingotv1.PlatformEndpoint // nil when it does not exist
	allowed  bool                      // whether the namespace may use the endpoint

	pinned    *ingotv1.NodeImage // the pinned image, set by the image phase
	pinnedNow bool               // whether it was pinned in this pass, and is not in the API yet

	observed *platform.Observation // set by observe
}

// gather reads everything that a pass needs. It returns nil when there is nothing to do yet.
func (r *Reconciler) gather(ctx context.Context, key client.ObjectKey) (*world, error) {
	w := &world{infra: &infrav1.IngotMachine{}}
	if err := r.Client.Get(ctx, key, w.infra); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
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

func (r *Reconciler) gatherEndpoint(ctx context.Context, w *world) error {
	endpoint := &ingotv1.PlatformEndpoint{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: w.endpointName()}, endpoint)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	w.endpoint = endpoint
	if w.wasProvisioned() || !w.infra.DeletionTimestamp.IsZero() {
		return nil // who may place machines there does not matter any more
	}
	w.allowed, err = r.mayUse(ctx, w.infra.Namespace, endpoint.Spec.AllowedNamespaces)
	return err
}

// mayUse is whether machines of a namespace may be placed on an endpoint.
func (r *Reconciler) mayUse(ctx context.Context, namespace string, allowed ingotv1.AllowedNamespaces) (bool, error) {
	if len(allowed.Names) == 0 && allowed.Selector == nil {
		return true, nil
	}
	if slices.Contains(allowed.Names, namespace) {
		return true, nil
	}
	if allowed.Selector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allowed.Selector)
	if err != nil {
		return false, fmt.Errorf("spec.allowedNamespaces.selector: %w", err)
	}
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
		return false, err
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
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

func (w *world) endpointName() string { return w.infra.Spec.Platform.Libvirt.EndpointName }

func (w *world) storage() string { return w.infra.Spec.Platform.Libvirt.StoragePool }

// identity is valid once the endpoint exists and has its management cluster id.
func (w *world) identity() platform.Identity {
	return platform.Identity{
		UUID:                strings.TrimPrefix(w.infra.Spec.ProviderID, providerIDPrefix),
		ManagementClusterID: w.endpoint.Spec.ManagementClusterID,
		Storage:             w.storage(),
	}
}

// wasProvisioned is whether Cluster API was ever told that the instance is there. Machine.spec.providerID says it too,
// because status does not survive a move to another management cluster.
func (w *world) wasProvisioned() bool {
	told := w.infra.Status.Initialization.Provisioned
	return (told != nil && *told) || (w.machine != nil && w.machine.Spec.ProviderID != "")
}
