// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/ignition"
)

const (
	restoreName = "demo-restore"
	// signedAddress is secret: its query opens what it points to.
	signedAddress = "https://backup.example.com/demo/db?signature=c2VjcmV0"
	etcdDatabase  = "/var/lib/etcd/member/snap/db"
)

func restoreFrom(c *bootstrapv1.IngotConfig) {
	c.Spec.RestoreFrom = bootstrapv1.RestoreReference{Name: restoreName}
}

// createRestore does what the control plane provider does before it makes the first machine of a restored cluster.
func (s *story) createRestore() {
	s.Helper()
	data, err := osfamily.Restore{Files: []osfamily.RestoreFile{
		{Path: etcdDatabase, URL: signedAddress, SHA512: strings.Repeat("0a", 64), SizeBytes: 1 << 20},
	}}.Encode()
	if err != nil {
		s.Fatal(err)
	}
	s.createRestoreWith(map[string][]byte{osfamily.RestoreKey: data})
}

func (s *story) createRestoreWith(data map[string][]byte) {
	s.Helper()
	s.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: restoreName, Labels: map[string]string{clusterv1.ClusterNameLabel: clusterName}},
		Type:       clusterv1.ClusterSecretType,
		Data:       data,
	})
}

func (s *story) deleteRestore() {
	s.Helper()
	s.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: restoreName}})
}

// fetched is where the machine gets etcd's database from.
func (s *story) fetched() string {
	s.Helper()
	config, err := ignition.Decode(s.dataSecret().Data["value"])
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range config.Files {
		if file.Path == etcdDatabase {
			return file.Remote.URL
		}
	}
	return ""
}

func restoreStories() map[string]func(*story) {
	stories := map[string]func(*story){
		"a restore waits for its Secret and says what is wrong with it": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit, restoreFrom)
			expectWait := func(words ...string) {
				s.Helper()
				if result := s.settle(); result.RequeueAfter == 0 {
					s.Error("nothing watches the Secret, so the reconciler must look again")
				}
				message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.WaitingForRestoreReason)
				s.expectCondition(bootstrapv1.DataSecretAvailableCondition, metav1.ConditionFalse, bootstrapv1.WaitingForRestoreReason)
				for _, word := range append(words, restoreName) {
					if !strings.Contains(message, word) {
						s.Errorf("the message lacks %q: %s", word, message)
					}
				}
				if strings.Contains(message, "c2VjcmV0") {
					s.Errorf("the message quotes a secret: %s", message)
				}
				if s.hasDataSecret() {
					s.Error("a machine that makes an empty cluster was published")
				}
			}
			expectWait("does not exist yet")
			s.createRestoreWith(map[string][]byte{"other": []byte("{}")})
			expectWait("has no key restore.json", "replace the Secret")
			s.deleteRestore()
			s.createRestoreWith(map[string][]byte{osfamily.RestoreKey: []byte(`{"files":[{"path":"/etc/shadow","url":"http://a/?c2VjcmV0"}]}`)})
			expectWait("restore.json", `path "/etc/shadow"`, `scheme "http"`, "replace the Secret")
			s.deleteRestore()
			s.createRestore()
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if s.fetched() != signedAddress {
				s.Errorf("the machine fetches %q", s.fetched())
			}
			if kubeadm := s.file("/etc/ingot/kubeadm.yaml"); !strings.Contains(kubeadm, "DirAvailable--var-lib-etcd") {
				s.Error("kubeadm would refuse the restored data")
			}
		},
		"data that was published stays as it is, whatever becomes of the Secret": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit, restoreFrom)
			s.createRestore()
			s.settle()
			before := s.dataSecret()
			s.deleteRestore()
			s.settle()
			s.join()
			s.settle()
			patchStatus(s, s.config(), func(c *bootstrapv1.IngotConfig) { c.Status = bootstrapv1.IngotConfigStatus{} })
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
			if s.dataSecret().ResourceVersion != before.ResourceVersion {
				s.Error("the data was rendered anew")
			}
			s.delete(s.dataSecret())
			s.settle()
			if s.hasDataSecret() {
				s.Error("data was made for a node that has joined")
			}
		},
		"only the first control plane node can be restored, and others do not wait for a Secret": func(s *story) {
			s.readyToPublish("", restoreFrom)
			s.settle()
			message := s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.RenderFailedReason)
			if !strings.HasPrefix(message, "spec.restoreFrom: ") || s.hasDataSecret() {
				s.Errorf("message %q, data made: %t", message, s.hasDataSecret())
			}
		},
	}
	for at := 1; at <= mostWrites/2; at++ {
		for _, lost := range []bool{false, true} {
			stories[fmt.Sprintf("restoring, killed at write %d, answer lost: %t", at, lost)] = func(s *story) { tellRestoreCrash(s, at, lost) }
		}
	}
	return stories
}

// tellRestoreCrash begins without the Secret, so that the manager may be killed while it waits as well.
func tellRestoreCrash(s *story, at int, lost bool) {
	s.readyToPublish(bootstrapv1.RoleInit, restoreFrom)
	s.writes.KillAt, s.writes.Lost = at, lost
	s.settleOverCrash()
	if s.hasDataSecret() {
		s.Fatal("a machine that makes an empty cluster was published")
	}
	s.createRestore()
	s.settleOverCrash()
	s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
	if s.fetched() != signedAddress || !strings.Contains(s.file("/etc/ingot/kubeadm.yaml"), "token: "+s.token()) {
		s.Error("the data is not that of a restore, or holds another token than its own")
	}
	before := s.dataSecret()
	s.deleteRestore()
	s.join()
	s.settleOverCrash()
	if s.dataSecret().ResourceVersion != before.ResourceVersion {
		s.Error("the data changed after it was published")
	}
}
