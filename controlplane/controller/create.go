// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/external"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// A Machine comes into being by three writes: infrastructure machine, IngotConfig, Machine, all of one name. A crash
// between them leaves objects that this control plane owns and no Machine has; the next pass finds them by their labels
// and owner and goes on with their name, or deletes them where they are no longer what is wanted. Nothing has to be
// remembered for that, and nothing can grow.
//
// Objects are created with what never changes on them. What may change in place is added by propagate.go under another
// field manager, so that what is taken away from the template later is also taken away from them.

// fieldOwner is the field manager of what never changes.
const fieldOwner = client.FieldOwner("ingot-control-plane")

// temporaryOwner is the owner of an object whose Machine does not exist yet. It is no controller, because Cluster API
// makes the Machine the controller.
func temporaryOwner(cp *controlplanev1.IngotControlPlane) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: controlplanev1.GroupVersion.String(),
		Kind:       "IngotControlPlane",
		Name:       cp.Name,
		UID:        cp.UID,
	}
}

func (r *Reconciler) createInfraMachine(ctx context.Context, s *snapshot, step plan.CreateInfraMachine) error {
	template, err := external.GetObjectFromContractVersionedRef(ctx, r.APIReader, s.cp.Spec.MachineTemplate.Spec.InfrastructureRef, s.cp.Namespace)
	if err != nil {
		return err
	}
	owner := temporaryOwner(s.cp)
	machine, err := external.GenerateTemplate(&external.GenerateTemplateInput{
		Template: template,
		TemplateRef: &corev1.ObjectReference{
			APIVersion: template.GetAPIVersion(),
			Kind:       template.GetKind(),
			Namespace:  template.GetNamespace(),
			Name:       template.GetName(),
		},
		Namespace:   s.cp.Namespace,
		Name:        step.Name,
		ClusterName: s.cluster.Name,
		OwnerRef:    &owner,
		Labels:      identityLabels(s.cp, s.cluster),
	})
	if err != nil {
		return fmt.Errorf("cloning %s %s: %w", template.GetKind(), template.GetName(), err)
	}
	return r.Client.Create(ctx, machine, fieldOwner)
}

func (r *Reconciler) createBootstrapConfig(ctx context.Context, s *snapshot, step plan.CreateBootstrapConfig) error {
	config := &bootstrapv1.IngotConfig{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       s.cp.Namespace,
			Name:            step.Name,
			Labels:          identityLabels(s.cp, s.cluster),
			OwnerReferences: []metav1.OwnerReference{temporaryOwner(s.cp)},
		},
		Spec: *s.cp.Spec.Config.DeepCopy(),
	}
	config.Spec.Role = step.Role
	if step.RestoreFrom != "" {
		metav1.SetMetaDataAnnotation(&config.ObjectMeta, controlplanev1.RestoredFromAnnotation, step.RestoreFrom)
		if s.driver.OpenFounder == nil {
			config.Spec.RestoreFrom.Name = restoreSecret(s.cluster)
		}
	}
	return r.Client.Create(ctx, config, fieldOwner)
}

func (r *Reconciler) createMachine(ctx context.Context, s *snapshot, step plan.CreateMachine) error {
	infra := s.cp.Spec.MachineTemplate.Spec.InfrastructureRef
	annotations, err := s.forNextMachine(r.Clock.Now())
	if err != nil {
		return err
	}
	machine := &clusterv1.Machine{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       s.cp.Namespace,
			Name:            step.Name,
			Labels:          identityLabels(s.cp, s.cluster),
			Annotations:     annotations,
			OwnerReferences: []metav1.OwnerReference{controllerRef(s.cp)},
		},
		Spec: clusterv1.MachineSpec{
			ClusterName:   s.cluster.Name,
			Version:       s.cp.Spec.Version,
			FailureDomain: step.FailureDomain,
			Bootstrap: clusterv1.Bootstrap{ConfigRef: clusterv1.ContractVersionedObjectReference{
				APIGroup: bootstrapv1.GroupVersion.Group,
				Kind:     "IngotConfig",
				Name:     step.Name,
			}},
			InfrastructureRef: clusterv1.ContractVersionedObjectReference{
				APIGroup: infra.APIGroup,
				Kind:     machineKind(infra),
				Name:     step.Name,
			},
		},
	}
	if step.RestoreFrom != "" {
		metav1.SetMetaDataAnnotation(&machine.ObjectMeta, controlplanev1.RestoredFromAnnotation, step.RestoreFrom)
	}
	return r.Client.Create(ctx, machine, fieldOwner)
}
