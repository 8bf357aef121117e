// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package preview

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
)

// Request is a question: what becomes of the control plane of a Cluster?
type Request struct {
	Cluster client.ObjectKey
	// Change is what would be applied; empty asks about what is declared already.
	Change []*unstructured.Unstructured
	// FieldManager and ForceConflicts are those of kubectl apply --server-side.
	FieldManager   string
	ForceConflicts bool
}

// Planner answers Requests.
type Planner struct {
	// Client reads from the management cluster, and sends dry runs.
	Client client.Client
	// View looks at the control plane.
	View controller.Preview
}

// Plan tells what becomes of a control plane.
func (p Planner) Plan(ctx context.Context, request Request) (Report, error) {
	change := &proposal{client: p.Client, objects: request.Change, effects: map[*unstructured.Unstructured]Effect{}}
	change.apply = []client.ApplyOption{client.DryRunAll, client.FieldOwner(request.FieldManager)}
	if request.ForceConflicts {
		change.apply = append(change.apply, client.ForceOwnership)
	}
	subject, err := p.subject(ctx, request.Cluster, change)
	if err != nil {
		return Report{}, err
	}
	world, unknown, err := p.View.Look(ctx, subject)
	if err != nil {
		return Report{}, err
	}
	report, err := NewReport(world)
	if err != nil {
		return Report{}, err
	}
	change.noteWorkers()
	change.noteTopology(subject.Cluster)
	if annotations.IsPaused(subject.Cluster, subject.ControlPlane) {
		change.notes = append(change.notes, "the Cluster or the control plane is paused: nothing of this is done until that ends")
	}
	report.Namespace, report.Unknown, report.Change = request.Cluster.Namespace, unknown, change.proposed()
	report.Notes = append(report.Notes, change.notes...)
	return report, nil
}

// subject finds what is looked at, as it is or as it is proposed.
func (p Planner) subject(ctx context.Context, key client.ObjectKey, change *proposal) (controller.Subject, error) {
	s := controller.Subject{Cluster: &clusterv1.Cluster{}, ControlPlane: &controlplanev1.IngotControlPlane{}}
	var refused error
	s.Templates, refused = change.templates(ctx, key.Namespace)
	if proposed, err := change.take(ctx, clusterv1.GroupVersion.WithKind("Cluster"), key, s.Cluster); err != nil {
		return s, errors.Join(refused, err)
	} else if !proposed {
		if err := p.Client.Get(ctx, key, s.Cluster); err != nil {
			return s, missing(err, "Cluster", key)
		}
	}
	ref := s.Cluster.Spec.ControlPlaneRef
	if ref.APIGroup != controlplanev1.GroupVersion.Group || ref.Kind != "IngotControlPlane" {
		return s, fmt.Errorf("the Cluster %s has no IngotControlPlane: spec.controlPlaneRef names %q", key.Name, ref.Kind)
	}
	key.Name = ref.Name
	if proposed, err := change.take(ctx, controlplanev1.GroupVersion.WithKind("IngotControlPlane"), key, s.ControlPlane); err != nil {
		return s, errors.Join(refused, err)
	} else if !proposed {
		if err := p.Client.Get(ctx, key, s.ControlPlane); err != nil {
			return s, missing(err, "IngotControlPlane", key)
		}
	}
	return s, refused
}

func missing(err error, kind string, key client.ObjectKey) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no %s %s in namespace %s", kind, key.Name, key.Namespace)
	}
	return fmt.Errorf("reading %s %s: %w", kind, key.Name, err)
}
