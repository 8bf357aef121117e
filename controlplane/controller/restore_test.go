// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/plan"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
)

func restoreStories() map[string]func(*story) {
	return map[string]func(*story){
		"a lost control plane begins with a snapshot":                     restoresLostCluster,
		"a restore is held, and says so, while Machines are left":         holdsRestore,
		"a snapshot that cannot be restored is said":                      saysFailedRestore,
		"what nobody asks for any more is forgotten":                      forgetsRestore,
		"a Secret that is not ours is not written over":                   sparesForeignSecret,
		"a manager that dies at the end of a restore begins the end anew": endsRestoreAgain,
	}
}

const lastSnapshot = "team/demo/20260102T030405Z-1a2b3c4d"

// loseAll has every Machine be gone, and asks for a snapshot.
func (s *story) loseAll() {
	s.Helper()
	s.loseMachine(s.beginInitialized())
	s.workload.fallSilent()
	s.etcd.members = nil
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) { cp.Spec.RestoreFrom.Snapshot = lastSnapshot })
}

func (s *story) restoreSecret() (*corev1.Secret, bool) {
	s.Helper()
	return get(s, clusterName+"-restore", &corev1.Secret{})
}

// holdsRestore: a control plane that is as declared but for its lost machine has no rollout to say it in.
func holdsRestore(s *story) {
	m := s.beginInitialized()
	s.workload.fallSilent()
	s.etcd.members = nil
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) { cp.Spec.RestoreFrom.Snapshot = lastSnapshot })
	s.settle()
	if message := s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionTrue, controlplanev1.RestoreHeldReason); !strings.Contains(message, m.Name) || !strings.Contains(message, "delete these Machines") {
		s.Errorf("it does not say what to do: %s", message)
	}
	if s.onlyMachine().UID != m.UID || len(s.restores.Asked()) > 0 {
		s.Error("something was done before a person said so")
	}
}

func restoresLostCluster(s *story) {
	s.loseAll()
	s.restores.Be(backup.Running{Phase: backup.Fetching})
	s.settle()
	if message := s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.RestoringReason); !strings.Contains(message, "Fetching") {
		s.Errorf("how far it is: %s", message)
	}
	if n := len(s.machines()); n != 0 {
		s.Fatalf("%d Machines were made before the snapshot is there", n)
	}
	s.restores.Be(nil)
	s.settle()
	told, exists := s.restoreSecret()
	restore, err := osfamily.DecodeRestore(told.Data[osfamily.RestoreKey])
	if !exists || err != nil || !strings.HasSuffix(restore.Files[0].URL, lastSnapshot) || told.Labels[clusterv1.ClusterNameLabel] != clusterName || !metav1.IsControlledBy(told, s.controlPlane()) {
		s.Fatalf("the Secret: %t, %v, %+v, %+v", exists, err, restore, told.ObjectMeta)
	}
	m := s.onlyMachine()
	config, _ := get(s, m.Name, &bootstrapv1.IngotConfig{})
	if m.Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot || config.Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot ||
		config.Spec.RestoreFrom.Name != told.Name || config.Spec.Role != bootstrapv1.RoleInit {
		s.Errorf("Machine %v, IngotConfig %v %+v", m.Annotations, config.Annotations, config.Spec.RestoreFrom)
	}
	s.expectQuiet()

	s.adoptByMachine(m)
	patch(s, m, func(m *clusterv1.Machine) { m.Spec.ProviderID = "ingot://lives" })
	s.workload.answer()
	s.nodes(nil, map[string]string{"lost": "ingot://lost", m.Name: "ingot://lives", "another": "kind://another", "none": ""})
	s.settle()
	if left := s.nodeNames(); !slices.Equal(left, []string{"another", m.Name, "none"}) {
		s.Errorf("Nodes are left: %v", left)
	}
	if _, exists := s.restoreSecret(); exists || len(s.restores.Asked()) > 0 || s.controlPlane().Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot {
		s.Errorf("something of the restore is left: %t, %+v, %v", exists, s.restores.Asked(), s.controlPlane().Annotations)
	}

	s.etcd.members = []plan.Member{{ID: "1", Name: m.Name, Healthy: true, Leader: true, Misplaced: true}}
	s.join(m)
	s.machineStatus(m, func(m *clusterv1.Machine) {
		m.Status.Addresses = clusterv1.MachineAddresses{{Type: clusterv1.MachineHostName, Address: "host"}, {Type: clusterv1.MachineInternalIP, Address: "192.0.2.7"}}
	})
	s.settle()
	if !slices.Contains(s.etcd.changes, "place "+m.Name+" at 192.0.2.7") {
		s.Errorf("etcd was told: %v", s.etcd.changes)
	}
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionFalse, controlplanev1.NotScalingUpReason)
	s.expectQuiet()
	if s.onlyMachine().UID != m.UID {
		s.Error("the Machine was replaced")
	}
}

// nodes has the workload cluster have Nodes, by their provider IDs.
func (s *story) nodes(labels, providerIDs map[string]string) {
	s.Helper()
	for name, id := range providerIDs {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: labels}, Spec: corev1.NodeSpec{ProviderID: id}}
		if err := (*s.workload.client.Load()).Create(s.Context(), n); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *story) nodeNames() (names []string) {
	s.Helper()
	list := &corev1.NodeList{}
	if err := (*s.workload.client.Load()).List(s.Context(), list); err != nil {
		s.Fatal(err)
	}
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}

func saysFailedRestore(s *story) {
	s.loseAll()
	s.settle() // it was asked for, and could not be told where it is
	s.loseMachine(s.onlyMachine())
	s.restores.Be(backup.Failed{Phase: backup.Fetching, Err: errors.New("there is no such snapshot")})
	result := s.settle()
	message := s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.RestoreFailedReason)
	if !strings.Contains(message, "no such snapshot") || len(s.machines()) > 0 || result.RequeueAfter == 0 {
		s.Errorf("%s; %d Machines; again after %s", message, len(s.machines()), result.RequeueAfter)
	}
}

func forgetsRestore(s *story) {
	s.loseAll()
	s.restores.Be(backup.Running{Phase: backup.Fetching})
	s.settle()
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.RestoreFrom = controlplanev1.RestoreSource{}
	})
	s.settle()
	if asked := s.restores.Asked(); len(asked) > 0 {
		s.Errorf("%+v", asked)
	}
	s.expectCondition(controlplanev1.ScalingUpCondition, metav1.ConditionTrue, controlplanev1.ControlPlaneLostReason)
}

func sparesForeignSecret(s *story) {
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: clusterName + "-restore"}, Data: map[string][]byte{"own": []byte("data")}})
	s.loseAll()
	var err error
	for range 3 {
		_, err = s.pass()
	}
	if err == nil || !strings.Contains(err.Error(), "that is not ours") || len(s.machines()) > 0 {
		s.Errorf("%v, %d Machines", err, len(s.machines()))
	}
	if kept, _ := s.restoreSecret(); string(kept.Data["own"]) != "data" {
		s.Errorf("%v", kept.Data)
	}
}

// Everything that ends a restore is done again until all of it is done, also by a manager that knows nothing of it.
func endsRestoreAgain(s *story) {
	s.loseAll()
	s.settle()
	m := s.onlyMachine()
	s.adoptByMachine(m)
	s.workload.answer()
	s.writes.KillOn = "patch *v1alpha1.IngotControlPlane"
	if _, err := s.pass(); err == nil {
		s.Fatal("the manager lives")
	}
	s.restart()
	s.settle()
	if s.onlyMachine().UID != m.UID || s.controlPlane().Annotations[controlplanev1.RestoredFromAnnotation] != lastSnapshot {
		s.Errorf("%v", s.controlPlane().Annotations)
	}
}
