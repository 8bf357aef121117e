// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/placement"
)

// unknownDomain says which failure domain of the cluster no PlatformEndpoint has; nothing when all are known. Machines that
// Cluster API puts into such a one could never be placed.
func (r *Reconciler) unknownDomain(ctx context.Context, infra *infrav1.IngotCluster) (string, error) {
	if len(infra.Spec.FailureDomains) == 0 {
		return "", nil
	}
	endpoints := &ingotv1.PlatformEndpointList{}
	if err := r.Client.List(ctx, endpoints); err != nil {
		return "", err
	}
	var known []string
	for i := range endpoints.Items {
		known = append(known, placement.Domains(&endpoints.Items[i])...)
	}
	for i, d := range infra.Spec.FailureDomains {
		if !slices.Contains(known, d.Name) {
			return fmt.Sprintf("spec.failureDomains[%d].name of IngotCluster %s: no PlatformEndpoint has the failure domain %q: name it in "+
				"spec.failureDomain or spec.vsphere.failureDomains of one, or remove it here", i, infra.Name, d.Name), nil
		}
	}
	return "", nil
}

// endpointToClusters wakes the clusters that name failure domains: an endpoint may have come to have one.
func (r *Reconciler) endpointToClusters(ctx context.Context, _ client.Object) []ctrl.Request {
	clusters := &infrav1.IngotClusterList{}
	if err := r.Client.List(ctx, clusters); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list IngotClusters for an event; the next sweep will see it")
		return nil
	}
	var requests []ctrl.Request
	for i := range clusters.Items {
		if len(clusters.Items[i].Spec.FailureDomains) > 0 {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&clusters.Items[i])})
		}
	}
	return requests
}
