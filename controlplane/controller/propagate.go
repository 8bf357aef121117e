// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kerrors "k8s.io/apimachinery/pkg/util/errors"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// inPlaceOwner is the field manager of what may change on an existing object.
const inPlaceOwner = client.FieldOwner("ingot-control-plane-in-place")

// propagate copies what may change without replacing a Machine from the spec to the existing objects: labels and
// annotations, and on the Machine also readiness gates, taints and deletion timeouts. Machines that are being deleted
// get them too: shortening the timeout of a drain is how a person frees a Machine that is stuck.
func (r *Reconciler) propagate(ctx context.Context, s *snapshot) error {
	p := inPlace{client: r.Client, next: map[types.UID]string{}}
	key := client.ObjectKeyFromObject(s.cp)
	if sent, ok := r.applied.Load(key); ok {
		p.sent, _ = sent.(map[types.UID]string)
	}
	errs := []error{r.ownTemplate(ctx, s)}
	for _, m := range s.machines {
		errs = append(errs, s.applyTo(ctx, p, m, clusterv1.GroupVersion.WithKind("Machine"), s.machineInPlace()))
		if infra := s.infraMachine(m); infra != nil {
			errs = append(errs, s.applyTo(ctx, p, infra, infra.GroupVersionKind(), nil))
		}
		if config := s.configs[m.Spec.Bootstrap.ConfigRef.Name]; config != nil {
			errs = append(errs, s.applyTo(ctx, p, config, bootstrapv1.GroupVersion.WithKind("IngotConfig"), nil))
		}
	}
	r.applied.Store(key, p.next)
	return kerrors.NewAggregate(errs)
}

func (s *snapshot) applyTo(ctx context.Context, p inPlace, object client.Object, kind schema.GroupVersionKind, spec map[string]any) error {
	intent, err := s.intent(object, kind, spec)
	if err != nil {
		return err
	}
	return p.apply(ctx, object, intent)
}

// ownTemplate makes the Cluster an owner of the template, so that it moves and goes with the Cluster.
func (r *Reconciler) ownTemplate(ctx context.Context, s *snapshot) error {
	if s.template == nil || s.world.Deleting || ownedBy(s.template.ObjectMeta, s.cluster.UID) {
		return nil
	}
	before := s.template.DeepCopy()
	s.template.OwnerReferences = util.EnsureOwnerRef(s.template.OwnerReferences, metav1.OwnerReference{
		APIVersion: clusterv1.GroupVersion.String(),
		Kind:       "Cluster",
		Name:       s.cluster.Name,
		UID:        s.cluster.UID,
	})
	if err := r.Client.Patch(ctx, s.template, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("making Cluster %s an owner of %s %s: %w", s.cluster.Name, s.template.Kind, s.template.Name, err)
	}
	return nil
}

// machineInPlace is the part of a Machine's spec that changes in place. What is unset is left out, so that the API
// server takes it away where it was set before.
func (s *snapshot) machineInPlace() map[string]any {
	in := s.cp.Spec.MachineTemplate.Spec
	spec := map[string]any{}
	gates := s.driver.componentGates()
	for _, gate := range in.ReadinessGates {
		if !slices.ContainsFunc(gates, func(own clusterv1.MachineReadinessGate) bool { return own.ConditionType == gate.ConditionType }) {
			gates = append(gates, gate)
		}
	}
	spec["readinessGates"] = gates
	if len(in.Taints) > 0 {
		spec["taints"] = in.Taints
	}
	deletion := map[string]any{}
	for field, seconds := range map[string]*int32{
		"nodeDrainTimeoutSeconds":        in.Deletion.NodeDrainTimeoutSeconds,
		"nodeVolumeDetachTimeoutSeconds": in.Deletion.NodeVolumeDetachTimeoutSeconds,
		"nodeDeletionTimeoutSeconds":     in.Deletion.NodeDeletionTimeoutSeconds,
	} {
		if seconds != nil {
			deletion[field] = *seconds
		}
	}
	if len(deletion) > 0 {
		spec["deletion"] = deletion
	}
	return spec
}

// componentGates make a Machine as ready as what runs on it. The member of etcd is not among them: an API server whose member
// does not work is not ready, and a look at etcd that fails says nothing about the Machine.
func (d Driver) componentGates() []clusterv1.MachineReadinessGate {
	var gates []clusterv1.MachineReadinessGate
	for _, each := range d.components() {
		gates = append(gates, clusterv1.MachineReadinessGate{ConditionType: each.condition})
	}
	return gates
}

// inPlace sends intents for the objects of one control plane.
type inPlace struct {
	client client.Client
	// sent is what was last sent for each object and the resource version then; next is the same after this pass, so
	// that objects which are gone are forgotten.
	sent, next map[types.UID]string
}

// apply sends the intent for one object, unless the very same was sent for this version of it. The intent names the UID,
// so that an object which went away meanwhile is not made again.
func (p inPlace) apply(ctx context.Context, object client.Object, intent *unstructured.Unstructured) error {
	content, err := json.Marshal(intent)
	if err != nil {
		return fmt.Errorf("writing down what %s %s should be: %w", intent.GetKind(), object.GetName(), err)
	}
	if now := object.GetResourceVersion() + string(content); p.sent[object.GetUID()] == now {
		p.next[object.GetUID()] = now
		return nil
	}
	err = p.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(intent), inPlaceOwner, client.ForceOwnership)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // it is gone, or another of its name is there
		return nil
	case err != nil:
		return fmt.Errorf("updating %s %s in place: %w", intent.GetKind(), object.GetName(), err)
	}
	p.next[object.GetUID()] = intent.GetResourceVersion() + string(content)
	return nil
}

func (s *snapshot) intent(object client.Object, kind schema.GroupVersionKind, spec map[string]any) (*unstructured.Unstructured, error) {
	template := s.cp.Spec.MachineTemplate.ObjectMeta
	labels := map[string]string{}
	maps.Copy(labels, template.Labels)
	maps.Copy(labels, identityLabels(s.cp, s.cluster))
	metadata := map[string]any{
		"namespace": object.GetNamespace(), "name": object.GetName(), "uid": object.GetUID(), "labels": labels,
	}
	if len(template.Annotations) > 0 {
		metadata["annotations"] = template.Annotations
	}
	content := map[string]any{"metadata": metadata}
	if len(spec) > 0 {
		content["spec"] = spec
	}
	// Through JSON, because unstructured content may hold plain JSON types only.
	data, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("writing down what %s %s should be: %w", kind.Kind, object.GetName(), err)
	}
	intent := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &intent.Object); err != nil {
		return nil, fmt.Errorf("writing down what %s %s should be: %w", kind.Kind, object.GetName(), err)
	}
	intent.SetGroupVersionKind(kind)
	return intent, nil
}
