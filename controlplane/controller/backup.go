// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Backups makes backups of etcd; a backup.Keeper does. No method blocks.
type Backups interface {
	// Ensure returns how it is with a backup, and starts to make it where nobody has.
	Ensure(key types.NamespacedName, r backup.Request) backup.State
	// Look returns how it is with a backup, nil where Ensure would start to make it.
	Look(key types.NamespacedName, r backup.Request) backup.State
	// Forget ends what is under way for a control plane that is gone.
	Forget(key types.NamespacedName)
}

// backupRecord is what the annotation of a control plane says of the last backup.
type backupRecord struct {
	controlplanev1.EtcdBackup `json:",inline"`

	// For is the rollout that it was made for.
	For string `json:"for"`
}

// backupLasts is how long a backup counts for the rollout that it was made for: one that takes longer gets another.
const backupLasts = 24 * time.Hour

// gatherBackup says what there is to fall back on. Only a rollout asks for a backup.
func (r *Reconciler) gatherBackup(ctx context.Context, s *snapshot) (plan.Backup, string) {
	record := lastBackup(s.cp)
	switch {
	case s.cp.Spec.Backup.Policy == controlplanev1.BackupNever:
		return plan.BackupDone, ""
	case record.For == rolloutOf(s.cp) && r.Clock.Now().Sub(record.Time.Time) < backupLasts:
		return plan.BackupDone, ""
	case r.Backups == nil:
		return plan.BackupNone, ""
	}
	request, err := r.backupRequest(ctx, s)
	if err != nil {
		return plan.BackupFailed, err.Error()
	}
	switch state := r.Backups.Look(client.ObjectKeyFromObject(s.cp), request).(type) {
	case backup.Running:
		return plan.BackupRunning, progress(state)
	case backup.Failed:
		ctrl.LoggerFrom(ctx).Info("Etcd could not be backed up", "phase", state.Phase, "again", state.RetryAt, "cause", state.Err.Error())
		return plan.BackupFailed, fmt.Sprintf("%s: %s", state.Phase, state.Err)
	default:
		return plan.BackupNone, ""
	}
}

// progress says how far a backup is.
func progress(state backup.Running) string {
	if state.Bytes == 0 {
		return string(state.Phase)
	}
	return fmt.Sprintf("%s, %d MiB", state.Phase, state.Bytes>>20)
}

// backUpEtcd starts a backup, or writes down that it is there.
func (r *Reconciler) backUpEtcd(ctx context.Context, s *snapshot) error {
	request, err := r.backupRequest(ctx, s)
	if err != nil {
		return err
	}
	request.Source = s.etcd
	done, is := r.Backups.Ensure(client.ObjectKeyFromObject(s.cp), request).(backup.Done)
	if !is {
		return nil // the next look tells how far it is
	}
	for _, warning := range done.Warnings {
		ctrl.LoggerFrom(ctx).Info("A backup is there, and something beside it went wrong", "snapshot", done.Manifest.Name, "cause", warning.Error())
	}
	m := done.Manifest
	content, err := json.Marshal(backupRecord{For: request.For, EtcdBackup: controlplanev1.EtcdBackup{
		Name: m.Name, Time: metav1.NewTime(m.Time), Revision: m.Revision, SizeBytes: m.SizeBytes, SHA256: m.SHA256,
	}})
	if err != nil {
		return fmt.Errorf("writing down that etcd is backed up: %w", err)
	}
	before := s.cp.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.cp.ObjectMeta, controlplanev1.EtcdBackupAnnotation, string(content))
	return r.Client.Patch(ctx, s.cp, client.MergeFrom(before))
}

// backupRequest is the backup that a rollout begins with, without the etcd that it is taken from.
func (r *Reconciler) backupRequest(ctx context.Context, s *snapshot) (backup.Request, error) {
	location, err := r.backupLocation(ctx, s.cp)
	return backup.Request{
		Cluster:      store.Cluster{Namespace: s.cluster.Namespace, Name: s.cluster.Name, UID: string(s.cluster.UID)},
		ControlPlane: s.cp.Name, KubernetesVersion: lowestVersion(s.machines),
		For: rolloutOf(s.cp), Since: r.Clock.Now().UTC().Truncate(backupLasts),
		Location: location, Keep: int(ptr.Deref(s.cp.Spec.Backup.Keep, 0)),
		Canary: s.driver.Canary,
	}, err
}

// backupLocation is where snapshots go, with the credentials for it.
func (r *Reconciler) backupLocation(ctx context.Context, cp *controlplanev1.IngotControlPlane) (store.Location, error) {
	storage := cp.Spec.Backup.Storage
	location := store.Location{URL: storage.URL}
	if storage.CredentialsRef.Name == "" {
		return location, nil
	}
	secret := &corev1.Secret{}
	err := r.APIReader.Get(ctx, client.ObjectKey{Namespace: cp.Namespace, Name: storage.CredentialsRef.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return location, fmt.Errorf("spec.backup.storage.credentialsRef names Secret %s, which does not exist", storage.CredentialsRef.Name)
	case err != nil:
		return location, fmt.Errorf("reading Secret %s: %w", storage.CredentialsRef.Name, err)
	}
	location.Credentials = secret.Data
	return location, nil
}

// rolloutOf identifies what a rollout leads to.
func rolloutOf(cp *controlplanev1.IngotControlPlane) string {
	content, err := json.Marshal(struct{ Version, Template, Config, After any }{
		cp.Spec.Version, cp.Spec.MachineTemplate.Spec.InfrastructureRef, cp.Spec.Config, cp.Spec.Rollout.After,
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// lastBackup is zero where there was none, or where nobody can read what was written down.
func lastBackup(cp *controlplanev1.IngotControlPlane) backupRecord {
	var record backupRecord
	_ = json.Unmarshal([]byte(cp.Annotations[controlplanev1.EtcdBackupAnnotation]), &record)
	return record
}

// lowestVersion is the version of Kubernetes that all Machines have at least.
func lowestVersion(machines []*clusterv1.Machine) string {
	if list := versions(machines); len(list) > 0 {
		return list[0].Version
	}
	return ""
}

// backupAvailable says whether there is a snapshot.
func (s *snapshot) backupAvailable() metav1.Condition {
	const condition = controlplanev1.BackupAvailableCondition
	record := lastBackup(s.cp)
	switch held := s.held(controlplanev1.BackupFailedReason); {
	case s.cp.Spec.Backup.Policy == controlplanev1.BackupNever:
		return isFalse(condition, controlplanev1.BackupNotWantedReason, "spec.backup.policy is Never")
	case held != nil:
		return isFalse(condition, controlplanev1.BackupFailedReason, s.world.BackupMessage)
	case record.Name == "":
		return isFalse(condition, controlplanev1.NoBackupReason, "the first one is taken when a rollout begins")
	default:
		return isTrue(condition, controlplanev1.BackupAvailableReason, fmt.Sprintf("%s, taken %s", record.Name, record.Time.UTC().Format(time.RFC3339)))
	}
}
