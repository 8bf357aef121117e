// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/secret"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// Two machines that are told to make etcd make two clusters. So there is one first Machine at a time, it is written down on the
// control plane before it is told, by a write of which only one succeeds, and nobody is told any more once the API server has
// answered. The same machine may be told twice: it refuses where it has data. That is done seldom, because it begins
// anew each time until it has.

const (
	// FoundBound is how long Found of a Founder may take.
	FoundBound = 10 * time.Second
	// RecoverBound is how long Recover of a Founder may take, which takes a snapshot to the machine.
	RecoverBound = 5 * time.Minute
	// foundingGrace is how much more time than it may take whoever has claimed a Machine has to tell it: another manager may be
	// doing so right now.
	foundingGrace = 5 * time.Second
	// foundingPatience is how long a Machine that was told may take to make etcd: it fetches the container image first. One that
	// restarts meanwhile forgets that it was told.
	foundingPatience = 10 * time.Minute
)

// foundingRecord is what the annotation of a control plane says of the Machine that makes etcd.
type foundingRecord struct {
	Machine string    `json:"machine"`
	UID     types.UID `json:"uid"`
	// Claimed is when it was about to be told, Accepted when it had taken it on; zero where nobody knows that.
	Claimed  metav1.Time `json:"claimed"`
	Accepted metav1.Time `json:"accepted,omitzero"`
	// Snapshot is what it makes etcd from; empty where it begins anew.
	Snapshot string `json:"snapshot,omitempty"`
}

// lastFounding is zero where there was none, or where nobody can read what was written down.
func lastFounding(cp *controlplanev1.IngotControlPlane) foundingRecord {
	var record foundingRecord
	_ = json.Unmarshal([]byte(cp.Annotations[controlplanev1.EtcdFoundingAnnotation]), &record)
	return record
}

// gatherFounding asks the first Machine how far it is with making etcd.
func (r *Reconciler) gatherFounding(ctx context.Context, s *snapshot) (plan.Founding, string) {
	if s.driver.OpenFounder == nil || s.world.Initialized && !s.restores() {
		return plan.FoundingByItself, ""
	}
	m := s.firstMachine()
	if m == nil || s.world.Deleting {
		return plan.FoundingWaits, ""
	}
	authority := s.certificates[s.driver.Authority]
	if authority == nil {
		return plan.FoundingWaits, fmt.Sprintf("Secret %s does not exist, and nobody is let in without", secret.Name(s.cluster.Name, s.driver.Authority))
	}
	var state plan.Founding
	var message string
	founder, err := s.driver.OpenFounder(ctx, Access{Cluster: client.ObjectKeyFromObject(s.cluster), Authority: authority, Nodes: []Node{{Name: m.Name, Addresses: addresses(m)}}})
	if err == nil {
		state, message, err = founder.Look(ctx)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).V(2).Info("The first Machine does not say how far it is", "machine", m.Name, "cause", err.Error())
	}
	s.founder = founder
	if state == plan.FoundingWanted && lastFounding(s.cp).isFresh(m, r.Clock.Now()) {
		return plan.FoundingTold, "it was told to make etcd, and has only begun"
	}
	if state == plan.FoundingByItself {
		state = plan.FoundingWaits
	}
	return state, message
}

// isFresh is whether a Machine was told lately, or somebody is about to tell it.
func (f foundingRecord) isFresh(m *clusterv1.Machine, now time.Time) bool {
	switch {
	case f.UID != m.UID:
		return false
	case f.Accepted.IsZero() && f.Snapshot != "":
		return now.Sub(f.Claimed.Time) < RecoverBound+foundingGrace
	case f.Accepted.IsZero():
		return now.Sub(f.Claimed.Time) < FoundBound+foundingGrace
	default:
		return now.Sub(f.Accepted.Time) < foundingPatience
	}
}

// firstMachine is the Machine that begins a control plane, nil where there is not exactly one.
func (s *snapshot) firstMachine() *clusterv1.Machine {
	if len(s.machines) != 1 || !s.machines[0].DeletionTimestamp.IsZero() {
		return nil
	}
	config := s.configs[s.machines[0].Spec.Bootstrap.ConfigRef.Name]
	if config == nil || config.Spec.Role != bootstrapv1.RoleInit {
		return nil
	}
	return s.machines[0]
}

// addresses are those of a Machine, the internal ones first.
func addresses(m *clusterv1.Machine) []string {
	var list []string
	for _, kind := range []clusterv1.MachineAddressType{clusterv1.MachineInternalIP, clusterv1.MachineExternalIP} {
		for _, a := range m.Status.Addresses {
			if a.Type == kind && !slices.Contains(list, a.Address) {
				list = append(list, a.Address)
			}
		}
	}
	return list
}

// found carries out a step of telling the first Machine to make etcd.
func (r *Reconciler) found(ctx context.Context, s *snapshot, step plan.Step) error {
	switch step.(type) {
	case plan.ClaimFounding:
		return r.claimFounding(ctx, s)
	case plan.FoundEtcd:
		return r.foundEtcd(ctx, s)
	case plan.RestoreEtcd:
		return r.recoverEtcd(ctx, s)
	default:
		return r.recordFounding(ctx, s)
	}
}

// claimFounding insists on the object that the plan saw: of two that claim at the same time, one does.
func (r *Reconciler) claimFounding(ctx context.Context, s *snapshot) error {
	m := s.firstMachine()
	if m == nil {
		return errNoFirst
	}
	record := foundingRecord{Machine: m.Name, UID: m.UID, Claimed: metav1.NewTime(r.Clock.Now())}
	if s.restores() {
		record.Snapshot = s.cp.Spec.RestoreFrom.Snapshot
	}
	return r.writeFounding(ctx, s, record, client.MergeFromWithOptimisticLock{})
}

// recordFounding writes down that the Machine has taken it on.
func (r *Reconciler) recordFounding(ctx context.Context, s *snapshot) error {
	record := lastFounding(s.cp)
	record.Accepted = metav1.NewTime(r.Clock.Now())
	return r.writeFounding(ctx, s, record)
}

func (r *Reconciler) writeFounding(ctx context.Context, s *snapshot, record foundingRecord, options ...client.MergeFromOption) error {
	content, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("writing down which Machine makes etcd: %w", err)
	}
	before := s.cp.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.cp.ObjectMeta, controlplanev1.EtcdFoundingAnnotation, string(content))
	return r.Client.Patch(ctx, s.cp, client.MergeFromWithOptions(before, options...))
}

var errNoFirst = errors.New("there is no first Machine any more")

// claimed is nil where the first Machine is the one that was written down, and is to begin as that says.
func (s *snapshot) claimed() error {
	m, record, snapshot := s.firstMachine(), lastFounding(s.cp), ""
	if s.restores() {
		snapshot = s.cp.Spec.RestoreFrom.Snapshot
	}
	if m == nil || s.founder == nil || record.UID != m.UID || record.Snapshot != snapshot {
		return errNoFirst
	}
	return nil
}

// foundEtcd tells the Machine, if it is the one that was written down.
func (r *Reconciler) foundEtcd(ctx context.Context, s *snapshot) error {
	if err := s.claimed(); err != nil {
		return err
	}
	return s.founder.Found(ctx)
}

// recoverEtcd tells the Machine to make etcd from what was restored.
func (r *Reconciler) recoverEtcd(ctx context.Context, s *snapshot) error {
	if err := s.claimed(); err != nil {
		return err
	}
	if s.restored == nil {
		return errNotRestored
	}
	content, err := s.restored()
	if err != nil {
		return fmt.Errorf("opening what was restored: %w", err)
	}
	defer func() { _ = content.Close() }()
	return s.founder.Recover(ctx, content)
}

// errNotRestored means that what was restored is gone since it was seen.
var errNotRestored = errors.New("what was restored is not there any more")
