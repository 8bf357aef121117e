// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/topology"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
)

// AddBootstrap serves the webhooks of IngotConfig and IngotConfigTemplate.
func AddBootstrap(mgr ctrl.Manager, preview controller.Preview) error {
	if err := add(mgr, &bootstrapv1.IngotConfig{}, validator[*bootstrapv1.IngotConfig]{
		preview: preview, kind: bootstrapv1.GroupVersion.WithKind("IngotConfig").GroupKind(), read: ofConfig,
	}); err != nil {
		return err
	}
	return add(mgr, &bootstrapv1.IngotConfigTemplate{}, validator[*bootstrapv1.IngotConfigTemplate]{
		preview: preview, kind: bootstrapv1.GroupVersion.WithKind("IngotConfigTemplate").GroupKind(), read: ofConfigTemplate,
	})
}

// AddControlPlane serves the webhooks of IngotControlPlane and IngotControlPlaneTemplate.
func AddControlPlane(mgr ctrl.Manager, preview controller.Preview) error {
	if err := add(mgr, &controlplanev1.IngotControlPlane{}, validator[*controlplanev1.IngotControlPlane]{
		preview: preview, kind: controlplanev1.GroupVersion.WithKind("IngotControlPlane").GroupKind(), read: ofControlPlane,
	}); err != nil {
		return err
	}
	return add(mgr, &controlplanev1.IngotControlPlaneTemplate{}, validator[*controlplanev1.IngotControlPlaneTemplate]{
		preview: preview, kind: controlplanev1.GroupVersion.WithKind("IngotControlPlaneTemplate").GroupKind(), read: ofControlPlaneTemplate,
	})
}

func add[T client.Object](mgr ctrl.Manager, object T, v validator[T]) error {
	if err := ctrl.NewWebhookManagedBy(mgr, object).WithValidator(v).Complete(); err != nil {
		return fmt.Errorf("setting up the webhook of %s: %w", v.kind.Kind, err)
	}
	return nil
}

// ofConfig takes a config without role for that of a worker, unless the label of control planes is on it. Less is refused of
// a worker, so what is a control plane's in the end is judged by the reconciler.
func ofConfig(config *bootstrapv1.IngotConfig) subject {
	role := config.Spec.Role
	_, controlPlane := config.Labels[clusterv1.MachineControlPlaneLabel]
	switch {
	case role == "" && controlPlane:
		role = bootstrapv1.RoleControlPlane
	case role == "":
		role = bootstrapv1.RoleWorker
	}
	return subject{config: config.Spec, path: "spec", roles: []bootstrapv1.Role{role}, cloned: isMachines(config)}
}

// isMachines is whether a config is created for a machine that exists, as clusterctl move and restored backups do: a Machine
// becomes the owner only after it was made. The machine has its configuration already.
func isMachines(config *bootstrapv1.IngotConfig) bool {
	return slices.ContainsFunc(config.OwnerReferences, func(owner metav1.OwnerReference) bool {
		version, err := schema.ParseGroupVersion(owner.APIVersion)
		return err == nil && version.Group == clusterv1.GroupVersion.Group && owner.Kind == "Machine"
	})
}

func ofConfigTemplate(template *bootstrapv1.IngotConfigTemplate) subject {
	return subject{config: template.Spec.Template.Spec, path: "spec.template.spec", roles: []bootstrapv1.Role{bootstrapv1.RoleWorker}}
}

func ofControlPlane(cp *controlplanev1.IngotControlPlane) subject {
	return subject{
		config: cp.Spec.Config, path: "spec.config", roles: controlPlaneRoles(), version: cp.Spec.Version, versionPath: "spec.version",
	}
}

func ofControlPlaneTemplate(template *controlplanev1.IngotControlPlaneTemplate) subject {
	return subject{config: template.Spec.Template.Spec.Config, path: "spec.template.spec.config", roles: controlPlaneRoles()}
}

func controlPlaneRoles() []bootstrapv1.Role {
	return []bootstrapv1.Role{bootstrapv1.RoleInit, bootstrapv1.RoleControlPlane}
}

// validator judges what is written to objects of one kind. It lets through whatever does not change the config: an object
// that this version refuses can still be labelled, owned, scaled, released and deleted.
type validator[T client.Object] struct {
	preview controller.Preview
	kind    schema.GroupKind
	read    func(T) subject
}

// ValidateCreate implements admission.Validator.
func (v validator[T]) ValidateCreate(ctx context.Context, object T) (admission.Warnings, error) {
	if v.read(object).cloned {
		return nil, nil
	}
	return v.validate(ctx, object)
}

// ValidateUpdate implements admission.Validator.
func (v validator[T]) ValidateUpdate(ctx context.Context, before, object T) (admission.Warnings, error) {
	was, is := v.read(before), v.read(object)
	if equality.Semantic.DeepEqual(was.config, is.config) || !object.GetDeletionTimestamp().IsZero() {
		return nil, nil
	}
	return v.validate(ctx, object)
}

// ValidateDelete implements admission.Validator. Nothing stands in the way of a deletion.
func (validator[T]) ValidateDelete(context.Context, T) (admission.Warnings, error) { return nil, nil }

// validate lets dry runs of Cluster API's topology controller through: it asks what would change, and creates what is judged
// then.
func (v validator[T]) validate(ctx context.Context, object T) (admission.Warnings, error) {
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return nil, err
	}
	if topology.IsDryRunRequest(request, object) {
		return nil, nil
	}
	refused, warnings := judge(v.preview, v.read(object))
	if len(refused) > 0 {
		return warnings, apierrors.NewInvalid(v.kind, object.GetName(), refused)
	}
	return warnings, nil
}
