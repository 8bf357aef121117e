// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"errors"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
)

// etcd is the etcd of a story: a list of members. What speaks to real ones is tested with real ones (controlplane/etcd).
type etcd struct {
	backup.Source // nobody takes a snapshot of it

	members []plan.Member
	silent  bool
	changes []string
	// nodes are those that were named when it was opened last.
	nodes []string
}

func (e *etcd) open(_ context.Context, access controller.Access) (controller.Etcd, error) {
	nodes := make([]string, len(access.Nodes))
	for i, n := range access.Nodes {
		nodes[i] = n.Name
	}
	e.nodes = nodes
	if e.silent {
		return nil, errors.New("no route to host: try number " + strings.Repeat("I", len(e.changes)))
	}
	if access.Authority == nil || len(nodes) == 0 {
		return nil, errors.New("etcd is opened without authority or nodes")
	}
	if e.members == nil {
		for i, node := range nodes {
			e.members = append(e.members, plan.Member{ID: node, Name: node, Healthy: true, Leader: i == 0})
		}
	}
	return e, nil
}

func (e *etcd) Members(context.Context) ([]plan.Member, error) { return slices.Clone(e.members), nil }

func (e *etcd) Promote(_ context.Context, m plan.Member) error {
	e.changes = append(e.changes, "promote "+m.Name)
	e.members[e.index(m)].Learner = false
	return nil
}

func (e *etcd) MoveLeader(_ context.Context, from, to plan.Member) error {
	e.changes = append(e.changes, "move to "+to.Name)
	e.members[e.index(from)].Leader, e.members[e.index(to)].Leader = false, true
	return nil
}

func (e *etcd) Remove(_ context.Context, m plan.Member) error {
	e.changes = append(e.changes, "remove "+m.Name)
	e.members = slices.Delete(e.members, e.index(m), e.index(m)+1)
	return nil
}

func (e *etcd) Place(_ context.Context, m plan.Member, address string) error {
	e.changes = append(e.changes, "place "+m.Name+" at "+address)
	e.members[e.index(m)].Misplaced = false
	return nil
}

func (e *etcd) Settle(context.Context) error {
	e.changes = append(e.changes, "settle")
	return nil
}

func (e *etcd) index(m plan.Member) int {
	return slices.IndexFunc(e.members, func(o plan.Member) bool { return o.ID == m.ID })
}

func etcdStories() map[string]func(*story) {
	return map[string]func(*story){
		"the health of etcd is told":                                   tellsEtcd,
		"the Machine with the only copy of the data is kept":           keepsLastMember,
		"a Machine of which nobody knows what etcd says is kept":       keepsUnseen,
		"a member that belongs to nobody goes, and hands over first":   removesNobodysMember,
		"other hooks come first, and with the cluster nothing is kept": releases,
	}
}

func tellsEtcd(s *story) {
	m := s.beginInitialized()
	s.expectCondition(controlplanev1.EtcdHealthyCondition, metav1.ConditionTrue, controlplanev1.EtcdHealthyReason)
	s.etcd.members[0].Healthy = false
	s.settle()
	if message := s.expectCondition(controlplanev1.EtcdHealthyCondition, metav1.ConditionFalse, controlplanev1.EtcdMemberUnhealthyReason); !strings.Contains(message, m.Name) {
		s.Errorf("the message does not name the member: %s", message)
	}
	s.etcd.silent = true
	s.settle()
	s.expectCondition(controlplanev1.EtcdHealthyCondition, metav1.ConditionUnknown, controlplanev1.EtcdUnseenReason)
	s.expectQuiet()
}

// drained does what Cluster API does with a Machine that is deleted, until it waits for hooks.
func (s *story) drained(m *clusterv1.Machine) {
	s.Helper()
	patch(s, m, func(m *clusterv1.Machine) { m.Finalizers = append(m.Finalizers, clusterv1.MachineFinalizer) })
	s.delete(m)
	s.machineStatus(s.onlyMachine(), func(m *clusterv1.Machine) {
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
			Type: clusterv1.MachineDeletingCondition, Status: metav1.ConditionTrue,
			Reason: clusterv1.MachineDeletingWaitingForPreTerminateHookReason, LastTransitionTime: metav1.Now(),
		})
	})
}

// hooked is whether a Machine is kept by us.
func (s *story) hooked(name string) bool {
	s.Helper()
	m, exists := get(s, name, &clusterv1.Machine{})
	_, has := m.Annotations[controlplanev1.PreTerminateHookAnnotation]
	return exists && has
}

// keepsLastMember: another Machine is made, which joins, and only then the first may go.
func keepsLastMember(s *story) {
	m := s.beginInitialized()
	s.drained(m)
	s.settle()
	if !s.hooked(m.Name) || len(s.etcd.changes) > 0 {
		s.Fatalf("the Machine is let go (%t), and etcd was changed: %v", !s.hooked(m.Name), s.etcd.changes)
	}
	if message := s.expectCondition(controlplanev1.ScalingDownCondition, metav1.ConditionTrue, controlplanev1.ScalingDownReason); !strings.Contains(message, "2 Machines") {
		s.Errorf("the message is: %s", message)
	}
	for _, other := range s.machines() {
		if other.Name == m.Name {
			continue
		}
		if config, _ := get(s, other.Name, &bootstrapv1.IngotConfig{}); config.Spec.Role != bootstrapv1.RoleControlPlane {
			s.Errorf("the second Machine has role %s", config.Spec.Role)
		}
		s.machineStatus(&other, func(o *clusterv1.Machine) { o.Status.NodeRef.Name = o.Name })
		s.etcd.members = append(s.etcd.members, plan.Member{ID: "2", Name: other.Name, Healthy: true})
		s.settle()
		if last := s.etcd.nodes[len(s.etcd.nodes)-1]; len(s.etcd.nodes) != 2 || last != m.Name {
			s.Errorf("etcd is asked on the Nodes %v: the one that leaves should be last", s.etcd.nodes)
		}
		if want := "move to " + other.Name + ", remove " + m.Name + ", settle"; strings.Join(s.etcd.changes, ", ") != want || s.hooked(m.Name) {
			s.Errorf("etcd was changed: %v; the first is kept: %t", s.etcd.changes, s.hooked(m.Name))
		}
	}
}

func keepsUnseen(s *story) {
	m := s.beginInitialized()
	s.etcd.silent = true
	s.drained(m)
	s.settle()
	if !s.hooked(m.Name) {
		s.Error("the Machine is let go")
	}
}

func removesNobodysMember(s *story) {
	m := s.beginInitialized()
	s.etcd.members = []plan.Member{{ID: "1", Name: m.Name, Healthy: true}, {ID: "2", Name: "lost", Healthy: true, Leader: true}}
	s.settle()
	if got := strings.Join(s.etcd.changes, ", "); got != "move to "+m.Name+", remove lost" {
		s.Errorf("etcd was changed: %s", got)
	}
}

func releases(s *story) {
	m := s.beginInitialized()
	const other = clusterv1.PreTerminateDeleteHookAnnotationPrefix + "/other"
	patch(s, m, func(m *clusterv1.Machine) { m.Annotations[other] = "" })
	s.delete(s.controlPlane())
	s.drained(m)
	s.settle()
	if !s.hooked(m.Name) {
		s.Error("our hook goes before another's")
	}
	patch(s, s.onlyMachine(), func(m *clusterv1.Machine) { delete(m.Annotations, other) })
	s.settle()
	if s.hooked(m.Name) {
		s.Error("the Machine of a cluster that is deleted is kept")
	}
	patch(s, s.onlyMachine(), func(m *clusterv1.Machine) { m.Finalizers = nil })
	s.settle()
	s.expectGone()
}
