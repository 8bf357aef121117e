// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

// Restores restores snapshots and serves what it has restored; a backup.Restorer does. No method blocks for long.
type Restores interface {
	// Ensure returns how it is with a restore, and starts it where nobody has.
	Ensure(key types.NamespacedName, r backup.RestoreRequest) backup.State
	// Look returns how it is with a restore, nil where Ensure would start it.
	Look(key types.NamespacedName, r backup.RestoreRequest) backup.State
	// Forget ends what is under way for a control plane, and removes what was restored for it.
	Forget(key types.NamespacedName) error
}

// restores is whether etcd is to be restored, and is not.
func (s *snapshot) restores() bool {
	wanted := s.cp.Spec.RestoreFrom.Snapshot
	return wanted != "" && wanted != s.world.Restored
}

// restoreSecret is the name of the Secret with what the first Machine fetches.
func restoreSecret(cluster *clusterv1.Cluster) string { return cluster.Name + "-restore" }

// gatherRestore says how far the data of the snapshot is that the spec names. With a Machine there is nothing to prepare, unless it
// is told what to make etcd from.
func (r *Reconciler) gatherRestore(ctx context.Context, s *snapshot) (plan.Restore, string) {
	told := s.driver.OpenFounder != nil
	if r.Restores == nil || !s.restores() || len(s.machines) > 0 && !told || s.world.Deleting {
		return plan.RestoreNone, ""
	}
	request, err := r.restoreRequest(ctx, s)
	if err != nil {
		return plan.RestoreFailed, err.Error()
	}
	switch state := r.Restores.Look(client.ObjectKeyFromObject(s.cp), request).(type) {
	case backup.Running:
		return plan.RestoreRunning, progress(state)
	case backup.Failed:
		ctrl.LoggerFrom(ctx).Info("A snapshot could not be restored", "snapshot", request.Snapshot, "phase", state.Phase, "again", state.RetryAt, "cause", state.Err.Error())
		return plan.RestoreFailed, fmt.Sprintf("%s: %s", state.Phase, state.Err)
	case backup.Restored:
		s.restored = state.Open
		if told && state.Open != nil || !told && r.restoreIsTold(ctx, s, state) {
			return plan.RestoreReady, ""
		}
	}
	return plan.RestoreNone, ""
}

// restoreIsTold is whether the Secret says where to fetch what was restored. Where nobody can tell, it is written again.
func (r *Reconciler) restoreIsTold(ctx context.Context, s *snapshot, restored backup.Restored) bool {
	told := &corev1.Secret{}
	err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: s.cp.Namespace, Name: restoreSecret(s.cluster)}, told)
	if err != nil {
		return false
	}
	content, err := restored.Restore.Encode()
	return err == nil && bytes.Equal(told.Data[osfamily.RestoreKey], content)
}

func (r *Reconciler) restoreRequest(ctx context.Context, s *snapshot) (backup.RestoreRequest, error) {
	location, err := r.backupLocation(ctx, s.cp)
	return backup.RestoreRequest{
		ControlPlane: client.ObjectKeyFromObject(s.cp),
		Location:     location, Snapshot: s.cp.Spec.RestoreFrom.Snapshot,
		Canary: s.driver.Canary,
		Upload: s.driver.OpenFounder != nil,
	}, err
}

// prepareRestore starts a restore, or writes down where the first Machine fetches what was restored, unless it is taken there.
func (r *Reconciler) prepareRestore(ctx context.Context, s *snapshot) error {
	request, err := r.restoreRequest(ctx, s)
	if err != nil {
		return err
	}
	restored, is := r.Restores.Ensure(request.ControlPlane, request).(backup.Restored)
	if !is {
		return nil // the next look tells how far it is
	}
	if request.Upload {
		s.world.Restore, s.restored = plan.RestoreReady, restored.Open
		return nil
	}
	content, err := restored.Restore.Encode()
	if err != nil {
		return err
	}
	told := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.cp.Namespace, Name: restoreSecret(s.cluster)}}
	_, err = controllerutil.CreateOrPatch(ctx, unread{r.Client, r.APIReader}, told, func() error {
		if told.UID != "" && !metav1.IsControlledBy(told, s.cp) {
			return fmt.Errorf("a Secret %s is there that is not ours: remove it", told.Name)
		}
		metav1.SetMetaDataLabel(&told.ObjectMeta, clusterv1.ClusterNameLabel, s.cluster.Name)
		told.OwnerReferences = []metav1.OwnerReference{controllerRef(s.cp)}
		told.Data = map[string][]byte{osfamily.RestoreKey: content}
		return nil
	})
	if err == nil {
		s.world.Restore = plan.RestoreReady
	}
	return err
}

// unread is a client that reads past the cache, which may not hold the Secret.
type unread struct {
	client.Client

	reader client.Reader
}

// Get implements client.Reader.
func (u unread) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	return u.reader.Get(ctx, key, object, options...)
}

// markRestored forgets what the snapshot remembers and is gone, and what it was restored with, and then writes down, for good,
// that it was: until then all of that is done again.
func (r *Reconciler) markRestored(ctx context.Context, s *snapshot, step plan.MarkRestored) error {
	if err := r.forgetNodes(ctx, s); err != nil {
		return err
	}
	if err := r.forgetTold(ctx, s); err != nil {
		return err
	}
	if err := r.Restores.Forget(client.ObjectKeyFromObject(s.cp)); err != nil {
		return err
	}
	before := s.cp.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.cp.ObjectMeta, controlplanev1.RestoredFromAnnotation, step.Snapshot)
	return r.Client.Patch(ctx, s.cp, client.MergeFrom(before))
}

// forgetTold removes the Secret, if it is ours.
func (r *Reconciler) forgetTold(ctx context.Context, s *snapshot) error {
	told := &corev1.Secret{}
	err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: s.cp.Namespace, Name: restoreSecret(s.cluster)}, told)
	if err != nil || !metav1.IsControlledBy(told, s.cp) {
		return client.IgnoreNotFound(err)
	}
	return r.deleteSeen(ctx, told)
}

// forgetNodes removes the Nodes of Machines of ours that were replaced after the snapshot was taken, and of those that were
// lost, workers too: nobody else does.
func (r *Reconciler) forgetNodes(ctx context.Context, s *snapshot) error {
	live := &snapshot{cp: s.cp, cluster: s.cluster}
	if err := r.gatherMachines(ctx, r.APIReader, live); err != nil {
		return err
	}
	workload, abandoned, err := r.abandonedNodes(ctx, live)
	if err != nil {
		return err
	}
	for _, node := range abandoned {
		if err := removeNode(ctx, workload, node); err != nil {
			return err
		}
	}
	return nil
}

// correctPeer gives etcd the address of a Machine for its member.
func (r *Reconciler) correctPeer(ctx context.Context, s *snapshot, step plan.CorrectPeer) error {
	for _, m := range s.machines {
		if m.Name != step.Machine {
			continue
		}
		for _, a := range m.Status.Addresses {
			if a.Type == clusterv1.MachineInternalIP {
				return s.etcd.Place(ctx, step.Member, a.Address)
			}
		}
	}
	return fmt.Errorf("machine %s has no InternalIP in status.addresses yet", step.Machine)
}

// forgetRestore forgets a restore that nobody asks for any more.
func (r *Reconciler) forgetRestore(s *snapshot) error {
	if s.restores() {
		return nil
	}
	return r.Restores.Forget(client.ObjectKeyFromObject(s.cp))
}
