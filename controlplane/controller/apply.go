// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/secret"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/certificates"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// apply carries out the steps of a plan in order, tells of each, and stops at the first that fails.
func (r *Reconciler) apply(ctx context.Context, s *snapshot) error {
	for _, step := range s.plan.Steps {
		ctrl.LoggerFrom(ctx).Info("Carrying out a step of the plan", "step", step.String())
		if err := r.carryOut(ctx, s, step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		r.tell(s, step)
	}
	return nil
}

func (r *Reconciler) carryOut(ctx context.Context, s *snapshot, step plan.Step) error {
	switch step := step.(type) {
	case plan.CreateCertificates:
		return s.certificates.Create(ctx, r.Client, client.ObjectKeyFromObject(s.cluster), controllerRef(s.cp), keyAlgorithm(s.cp), r.Clock.Now())
	case plan.WriteKubeconfig:
		return r.writeKubeconfig(ctx, s)
	case plan.CreateInfraMachine:
		return r.createInfraMachine(ctx, s, step)
	case plan.CreateBootstrapConfig:
		return r.createBootstrapConfig(ctx, s, step)
	case plan.CreateMachine:
		return r.createMachine(ctx, s, step)
	case plan.DeleteMachine:
		return r.deleteMachine(ctx, s, step)
	case plan.RecordRemediation:
		return r.recordRemediation(ctx, s, step)
	case plan.DeleteLeftover:
		return r.deleteLeftover(ctx, s, step)
	case plan.ClaimFounding, plan.FoundEtcd, plan.RestoreEtcd, plan.RecordFounding:
		return r.found(ctx, s, step)
	case plan.MarkInitialized:
		return r.markInitialized(ctx, s)
	case plan.BackUpEtcd:
		return r.backUpEtcd(ctx, s)
	case plan.PrepareRestore:
		return r.prepareRestore(ctx, s)
	case plan.MarkRestored:
		return r.markRestored(ctx, s, step)
	case plan.CorrectPeer:
		return r.correctPeer(ctx, s, step)
	case plan.ReleaseMachine:
		return r.releaseMachine(ctx, s, step)
	case plan.PromoteLearner:
		return s.etcd.Promote(ctx, step.Member)
	case plan.MoveLeader:
		return s.etcd.MoveLeader(ctx, step.From, step.To)
	case plan.RemoveMember:
		return s.etcd.Remove(ctx, step.Member)
	case plan.ForgetNode:
		return r.forgetNode(ctx, s, step)
	case plan.RemoveFinalizer:
		return r.removeFinalizer(ctx, s)
	default:
		return fmt.Errorf("no applier for step %T", step)
	}
}

func controllerRef(cp *controlplanev1.IngotControlPlane) metav1.OwnerReference {
	return *metav1.NewControllerRef(cp, controlplanev1.GroupVersion.WithKind("IngotControlPlane"))
}

func keyAlgorithm(cp *controlplanev1.IngotControlPlane) bootstrapv1.KeyAlgorithm {
	return cp.Spec.Config.ControlPlane.KeyAlgorithm
}

// writeKubeconfig reads the authority again, because a step before may just have made it.
func (r *Reconciler) writeKubeconfig(ctx context.Context, s *snapshot) error {
	cluster := client.ObjectKeyFromObject(s.cluster)
	authority, err := secret.Get(ctx, r.APIReader, cluster, secret.ClusterCA)
	if err != nil {
		return fmt.Errorf("reading Secret %s: %w", secret.Name(cluster.Name, secret.ClusterCA), err)
	}
	return certificates.WriteKubeconfig(ctx, r.Client, s.kubeconfig, certificates.KubeconfigRequest{
		Cluster:   cluster,
		Endpoint:  s.world.Endpoint,
		Authority: authority,
		Owner:     controllerRef(s.cp),
		Algorithm: keyAlgorithm(s.cp),
	})
}

// deleteMachine deletes exactly the Machine that the plan saw, never another of the same name.
func (r *Reconciler) deleteMachine(ctx context.Context, s *snapshot, step plan.DeleteMachine) error {
	for _, m := range s.machines {
		if m.Name == step.Name {
			return r.deleteSeen(ctx, m)
		}
	}
	return nil
}

func (r *Reconciler) deleteLeftover(ctx context.Context, s *snapshot, step plan.DeleteLeftover) error {
	for _, infra := range s.leftoverInfra() {
		if infra.Name == step.Name {
			if err := r.deleteSeen(ctx, infra); err != nil {
				return err
			}
		}
	}
	if config := s.configs[step.Name]; config != nil && s.isLeftover(config.ObjectMeta) {
		return r.deleteSeen(ctx, config)
	}
	return nil
}

func (r *Reconciler) deleteSeen(ctx context.Context, object client.Object) error {
	uid := object.GetUID()
	return client.IgnoreNotFound(r.Client.Delete(ctx, object, client.Preconditions{UID: &uid}))
}

func (r *Reconciler) markInitialized(ctx context.Context, s *snapshot) error {
	before := s.cp.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.cp.ObjectMeta, controlplanev1.IngotControlPlaneInitializedAnnotation, r.Clock.Now().UTC().Format(time.RFC3339))
	return r.Client.Patch(ctx, s.cp, client.MergeFrom(before))
}

// removeFinalizer insists on the object that the plan saw: whoever changed it meanwhile may have had a reason.
func (r *Reconciler) removeFinalizer(ctx context.Context, s *snapshot) error {
	before := s.cp.DeepCopy()
	controllerutil.RemoveFinalizer(s.cp, controlplanev1.IngotControlPlaneFinalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return client.IgnoreNotFound(r.Client.Patch(ctx, s.cp, patch))
}
