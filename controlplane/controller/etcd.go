// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/secret"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// etcdBound is how long a look at etcd may take, whatever hangs.
const etcdBound = time.Minute

// nobodyToAsk is whether there is no etcd, and nothing beside it: what was lost answers nobody, and each question takes a minute.
func (s *snapshot) nobodyToAsk() bool {
	return !s.world.Initialized || s.world.Deleting || len(s.machines) == 0 || s.restores()
}

// gatherEtcd asks etcd for its members. Whatever goes wrong is a fact for the planner, in words that stay the same, so that a
// condition does not change with every try; the cause is in the log.
func (r *Reconciler) gatherEtcd(ctx context.Context, s *snapshot) plan.Etcd {
	if s.nobodyToAsk() {
		return plan.Etcd{}
	}
	nodes := s.etcdNodes()
	authority := s.certificates[s.driver.Authority]
	switch {
	case authority == nil:
		return plan.Etcd{Unseen: fmt.Sprintf("Secret %s does not exist, and nobody is let in without", secret.Name(s.cluster.Name, s.driver.Authority))}
	case len(nodes) == 0:
		return plan.Etcd{Unseen: "it is not known on which Nodes it runs; Cluster API tells them on the Machines"}
	}
	ctx, cancel := context.WithTimeout(ctx, etcdBound)
	defer cancel()
	access, err := s.driver.OpenEtcd(ctx, Access{Cluster: client.ObjectKeyFromObject(s.cluster), Authority: authority, Nodes: nodes})
	var members []plan.Member
	if err == nil {
		members, err = access.Members(ctx)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).V(2).Info("No member of etcd answers", "nodes", namesOf(nodes), "cause", err.Error())
		return plan.Etcd{Unseen: "no member answers " + s.driver.Way + " " + enumerate(namesOf(nodes))}
	}
	s.etcd = access
	return plan.Etcd{Members: members, SelfJoining: s.driver.SelfJoining}
}

// etcdNodes are the Nodes of the Machines, those that are being deleted last: a member that was removed answers nobody, and
// each time that it is asked first costs seconds.
func (s *snapshot) etcdNodes() []Node {
	var staying, leaving []Node
	for _, m := range s.machines {
		node := Node{Name: m.Status.NodeRef.Name, Addresses: addresses(m)}
		switch {
		case !m.Status.NodeRef.IsDefined():
		case m.DeletionTimestamp.IsZero():
			staying = append(staying, node)
		default:
			leaving = append(leaving, node)
		}
	}
	return append(staying, leaving...)
}

func namesOf(nodes []Node) []string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names
}

// workloadAgain is how soon etcd and the components are looked at again, of which no watch tells; 0 where there are none.
func (s *snapshot) workloadAgain(pace Pace) time.Duration {
	broken := slices.ContainsFunc(s.world.Etcd.Members, func(m plan.Member) bool { return !m.Healthy }) ||
		slices.ContainsFunc(s.machines, func(m *clusterv1.Machine) bool { return s.componentTrouble(m) != "" })
	switch {
	case s.world.Etcd.Unseen == "" && len(s.world.Etcd.Members) == 0:
		return 0
	case s.world.Etcd.Unseen != "", broken:
		return pace.Soon
	default:
		return pace.Later
	}
}

func enumerate(names []string) string { return strings.Join(names, ", ") }

// etcdHealthy says how etcd is.
func (s *snapshot) etcdHealthy() metav1.Condition {
	const condition = controlplanev1.EtcdHealthyCondition
	e := s.world.Etcd
	var broken []string
	for _, m := range e.Members {
		if !m.Healthy {
			broken = append(broken, m.Called())
		}
	}
	switch {
	case s.nobodyToAsk():
		return isUnknown(condition, controlplanev1.EtcdNotAskedReason, "there is no etcd to ask")
	case e.Unseen != "":
		return isUnknown(condition, controlplanev1.EtcdUnseenReason, e.Unseen)
	case len(broken) > 0:
		return isFalse(condition, controlplanev1.EtcdMemberUnhealthyReason, fmt.Sprintf("%d of %d members are not healthy: %s", len(broken), len(e.Members), enumerate(broken)))
	default:
		return isTrue(condition, controlplanev1.EtcdHealthyReason, "")
	}
}

// waitsForUs is whether a Machine that is being deleted is drained, and goes as soon as we take our hook away. Other hooks
// come first: with its member a node loses its API server.
func waitsForUs(m *clusterv1.Machine) bool {
	if m.DeletionTimestamp.IsZero() || !hasAnnotation(m, controlplanev1.PreTerminateHookAnnotation) ||
		conditions.GetReason(m, clusterv1.MachineDeletingCondition) != clusterv1.MachineDeletingWaitingForPreTerminateHookReason {
		return false
	}
	for name := range m.Annotations {
		if strings.HasPrefix(name, clusterv1.PreTerminateDeleteHookAnnotationPrefix) && name != controlplanev1.PreTerminateHookAnnotation {
			return false
		}
	}
	return true
}

// releaseMachine takes our hook away. What runs the Machine ends with it, so etcd must not forget that its member is gone; where
// a restore gives everything up, there is nothing to settle.
func (r *Reconciler) releaseMachine(ctx context.Context, s *snapshot, step plan.ReleaseMachine) error {
	for _, m := range s.machines {
		if m.Name != step.Name {
			continue
		}
		if s.etcd != nil && !s.restores() {
			if err := s.etcd.Settle(ctx); err != nil {
				return err
			}
		}
		before := m.DeepCopy()
		delete(m.Annotations, controlplanev1.PreTerminateHookAnnotation)
		return client.IgnoreNotFound(r.Client.Patch(ctx, m, client.MergeFrom(before)))
	}
	return nil
}
