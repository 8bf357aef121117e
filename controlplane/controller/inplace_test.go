// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
)

func inPlaceStories() map[string]func(*story) {
	return map[string]func(*story){
		"what changes in place is copied, and taken away again":  copiesInPlace,
		"a rollout begins with one backup, whoever restarts":     backsUpOnce,
		"a rollout waits for the credentials of its backup":      needsCredentials,
		"a rollout begins without a backup where none is wanted": doesWithout,
		"what needs another Machine is said and not done":        holdsRollout,
		"a Node with another kubelet is not as declared":         noticesOtherKubelet,
		"a Machine that vanished meanwhile is not conjured back": doesNotResurrect,
	}
}

func copiesInPlace(s *story) {
	m := s.beginInitialized()
	patch(s, m, func(m *clusterv1.Machine) { m.Labels["user"] = "own"; m.Labels["team"] = "drifted" })
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.ObjectMeta = clusterv1.ObjectMeta{
			Labels:      map[string]string{"team": "a", clusterv1.ClusterNameLabel: "not-yours"},
			Annotations: map[string]string{"note": "b"},
		}
		cp.Spec.MachineTemplate.Spec.ReadinessGates = []clusterv1.MachineReadinessGate{{ConditionType: "Audited"}}
		cp.Spec.MachineTemplate.Spec.Taints = []clusterv1.MachineTaint{{Key: "example.com/t", Value: "v", Effect: corev1.TaintEffectNoSchedule, Propagation: clusterv1.MachineTaintPropagationAlways}}
		cp.Spec.MachineTemplate.Spec.Deletion.NodeDrainTimeoutSeconds = new(int32(0))
	})
	s.settle()
	now := s.onlyMachine()
	if now.UID != m.UID {
		s.Fatal("the Machine was replaced")
	}
	if now.Labels["team"] != "a" || now.Labels["user"] != "own" || now.Labels[clusterv1.ClusterNameLabel] != clusterName || now.Annotations["note"] != "b" {
		s.Errorf("labels %v annotations %v", now.Labels, now.Annotations)
	}
	if !gated(now, 1) || len(now.Spec.Taints) != 1 || now.Spec.Deletion.NodeDrainTimeoutSeconds == nil {
		s.Errorf("spec %+v", now.Spec)
	}
	for _, object := range []client.Object{&infrav1.IngotMachine{}, &bootstrapv1.IngotConfig{}} {
		if found, _ := get(s, m.Name, object); found.GetLabels()["team"] != "a" || found.GetAnnotations()["note"] != "b" {
			s.Errorf("%T: labels %v annotations %v", object, found.GetLabels(), found.GetAnnotations())
		}
	}
	s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionFalse, controlplanev1.NotRollingOutReason)
	s.expectQuiet()

	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.ObjectMeta = clusterv1.ObjectMeta{}
		ref := cp.Spec.MachineTemplate.Spec.InfrastructureRef
		cp.Spec.MachineTemplate.Spec = controlplanev1.IngotControlPlaneMachineTemplateSpec{InfrastructureRef: ref}
	})
	s.settle()
	now = s.onlyMachine()
	if now.Labels["team"] != "" || now.Labels["user"] != "own" || now.Annotations["note"] != "" {
		s.Errorf("after removal: labels %v annotations %v", now.Labels, now.Annotations)
	}
	if !gated(now, 0) || len(now.Spec.Taints) != 0 || now.Spec.Deletion.NodeDrainTimeoutSeconds != nil {
		s.Errorf("after removal: spec %+v", now.Spec)
	}
}

func holdsRollout(s *story) {
	m := s.beginInitialized()
	s.backups.Be(backup.Failed{Phase: backup.Storing, Err: errors.New("the bucket does not exist")})
	s.create(template("demo-cp-2"))
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.Version = "v1.36.4"
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("demo-cp-2")
		cp.Spec.Config.ControlPlane.ImageRepository = "registry.example"
	})
	s.settle()
	if s.onlyMachine().UID != m.UID {
		s.Fatal("the Machine was replaced")
	}
	for _, condition := range s.onlyMachine().Status.Conditions {
		if condition.Type != clusterv1.MachineUpToDateCondition {
			continue
		}
		for _, difference := range []string{"* version is v1.36.3, wanted v1.36.4", "IngotMachineTemplate/demo-cp-2", "spec.config.controlPlane.imageRepository"} {
			if condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, difference) {
				s.Errorf("UpToDate is %s and does not name %q: %s", condition.Status, difference, condition.Message)
			}
		}
	}
	s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionTrue, controlplanev1.BackupFailedReason)
	if message := s.expectCondition(controlplanev1.BackupAvailableCondition, metav1.ConditionFalse, controlplanev1.BackupFailedReason); !strings.Contains(message, "bucket does not exist") {
		s.Errorf("the message does not say what is wrong: %s", message)
	}
	s.expectCondition(controlplanev1.MachinesUpToDateCondition, metav1.ConditionFalse, clusterv1.NotUpToDateReason)
	s.expectCondition(controlplanev1.AvailableCondition, metav1.ConditionTrue, controlplanev1.AvailableReason)
	if cp := s.controlPlane(); ptr.Deref(cp.Status.UpToDateReplicas, 9) != 0 || cp.Status.Version != "v1.36.3" {
		s.Errorf("status %+v", cp.Status)
	}
	s.expectQuiet()
}

// backsUpOnce: a rollout begins with one backup of what its declaration leads to, which survives a restart of the manager.
func backsUpOnce(s *story) {
	m := s.beginInitialized()
	s.create(template("demo-cp-2"))
	s.backups.Be(backup.Running{Phase: backup.Snapshotting, Bytes: 12 << 20})
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("demo-cp-2")
		cp.Spec.Backup.Keep = new(int32(3))
	})
	s.settle()
	if message := s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionTrue, controlplanev1.BackingUpReason); !strings.Contains(message, "12 MiB") || s.onlyMachine().UID != m.UID {
		s.Errorf("the message does not say how far the backup is: %s", message)
	}
	s.backups.Be(nil)
	s.settle()
	s.restart()
	s.settle()
	if n := len(s.machines()); n != 2 {
		s.Fatalf("there are %d Machines: the rollout has not begun", n)
	}
	s.expectCondition(controlplanev1.BackupAvailableCondition, metav1.ConditionTrue, controlplanev1.BackupAvailableReason)
	asked := s.backups.Asked()
	if first := asked[0]; len(asked) != 2 || first.For != asked[1].For || first.Keep != 3 || first.Cluster.Name != clusterName || first.Source == nil || first.Canary == "" {
		s.Errorf("asked for %d backups: %+v", len(asked), asked)
	}
	if last := s.controlPlane().Status.LastBackup; last.Name == "" || last.Revision == 0 {
		s.Errorf("status.lastBackup is %+v", last)
	}
}

// needsCredentials: a Secret that is named and not there holds the rollout, and says so.
func needsCredentials(s *story) {
	m := s.beginInitialized()
	s.create(template("demo-cp-2"))
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("demo-cp-2")
		cp.Spec.Backup.Storage = controlplanev1.BackupStorage{URL: "s3://bucket/path", CredentialsRef: controlplanev1.SecretReference{Name: "bucket"}}
	})
	s.settle()
	if message := s.expectCondition(controlplanev1.BackupAvailableCondition, metav1.ConditionFalse, controlplanev1.BackupFailedReason); !strings.Contains(message, "Secret bucket") {
		s.Errorf("the message does not name the Secret: %s", message)
	}
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bucket"}, Data: map[string][]byte{"accessKeyID": []byte("id")}})
	s.settle()
	if asked := s.backups.Asked(); len(asked) == 0 || string(asked[0].Location.Credentials["accessKeyID"]) != "id" || s.onlyIn(m) {
		s.Errorf("asked for %d backups", len(asked))
	}
}

// onlyIn is whether a Machine is the only one.
func (s *story) onlyIn(m *clusterv1.Machine) bool {
	s.Helper()
	machines := s.machines()
	return len(machines) == 1 && machines[0].UID == m.UID
}

// doesWithout: who backs etcd up by other means says so.
func doesWithout(s *story) {
	s.beginInitialized()
	s.create(template("demo-cp-2"))
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.Spec.InfrastructureRef = templateRef("demo-cp-2")
		cp.Spec.Backup.Policy = controlplanev1.BackupNever
	})
	s.settle()
	if n := len(s.machines()); n != 2 || len(s.backups.Asked()) > 0 {
		s.Errorf("there are %d Machines, and %d backups were asked for", n, len(s.backups.Asked()))
	}
	s.expectCondition(controlplanev1.BackupAvailableCondition, metav1.ConditionFalse, controlplanev1.BackupNotWantedReason)
}

func noticesOtherKubelet(s *story) {
	m := s.beginInitialized()
	s.machineStatus(m, func(m *clusterv1.Machine) { m.Status.NodeInfo.KubeletVersion = "v1.36.1" })
	s.settle()
	message := s.expectCondition(controlplanev1.RollingOutCondition, metav1.ConditionTrue, controlplanev1.KubeletMismatchReason)
	if !strings.Contains(message, "v1.36.1") || s.controlPlane().Status.Version != "v1.36.1" {
		s.Errorf("what the Node runs is not reported: %s, %s", message, s.controlPlane().Status.Version)
	}
}

// doesNotResurrect lets the cache still show a Machine that is gone, when its labels have to change.
func doesNotResurrect(s *story) {
	m := s.beginInitialized()
	patch(s, s.controlPlane(), func(cp *controlplanev1.IngotControlPlane) {
		cp.Spec.MachineTemplate.ObjectMeta.Labels = map[string]string{"late": "change"}
	})
	s.writes.Before = func() { s.loseMachine(m) }
	for range 4 {
		if _, err := s.pass(); err != nil {
			s.Logf("a pass failed, as it may: %v", err)
		}
	}
	if n := len(s.machines()); n != 0 {
		s.Errorf("%d Machines came back from the dead", n)
	}
	if _, exists := get(s, m.Name, &infrav1.IngotMachine{}); exists {
		s.Error("an IngotMachine came back from the dead")
	}
}

// gated is whether a Machine is as ready as what runs on it, and has a number of gates besides.
func gated(m *clusterv1.Machine, others int) bool {
	const own = 4
	return len(m.Spec.ReadinessGates) == own+others && m.Spec.ReadinessGates[0].ConditionType == controlplanev1.MachineAPIServerPodHealthyCondition
}
