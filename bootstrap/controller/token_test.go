// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

func tokenStories() map[string]func(*story) {
	return map[string]func(*story){
		"a token is short-lived and good for joining only": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			lent := s.lentToken()
			if lent == nil || lent.Type != "bootstrap.kubernetes.io/token" {
				s.Fatalf("no token was lent: %v", lent)
			}
			if left := s.timeLeft(); left != 15*time.Minute {
				s.Errorf("the token is good for %s", left)
			}
			if string(lent.Data["auth-extra-groups"]) != "system:bootstrappers:kubeadm:default-node-token" {
				s.Errorf("the token opens more than joining: %q", lent.Data["auth-extra-groups"])
			}
		},
		"a token is renewed while the machine boots, and never dies between two looks": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			result := s.settle()
			for range 20 {
				if result.RequeueAfter == 0 {
					s.Fatal("nobody will renew the token")
				}
				s.clock.Step(result.RequeueAfter)
				if left := s.timeLeft(); left < time.Minute {
					s.Fatalf("only %s left", left)
				}
				result = s.settle()
			}
		},
		"a token that the cluster cleaned up comes back with the same value": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			before := s.lentToken()
			s.delete(before)
			s.settle()
			if after := s.lentToken(); after == nil || string(after.Data["token-secret"]) != string(before.Data["token-secret"]) {
				s.Error("the machine knows one token only, and it does not open the door any more")
			}
		},
		"a token of somebody else is not overwritten": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			lent := s.lentToken()
			patch(s, lent, func(t *corev1.Secret) {
				t.Data["token-secret"], t.Data["description"] = []byte("0000000000000000"), []byte("theirs")
			})
			s.clock.Step(10 * time.Minute)
			if _, err := s.pass(); err == nil {
				s.Error("the pass did not notice")
			}
			if string(s.lentToken().Data["description"]) != "theirs" {
				s.Error("the token was overwritten")
			}
			s.delete(s.config())
			s.settle()
			if s.lentToken() == nil {
				s.Error("the token was deleted")
			}
		},
		"once the node has joined its token is withdrawn, and then nothing happens": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			s.join()
			result := s.settle()
			if s.lentToken() != nil || len(s.config().Finalizers) > 0 {
				s.Error("the token is still good, or the config still holds on to it")
			}
			s.disconnect() // a stable config must not even ask
			writes := s.writes.Count()
			if again, err := s.pass(); err != nil || result.RequeueAfter != 0 || again.RequeueAfter != 0 || s.writes.Count() != writes {
				s.Errorf("a stable config is not quiet: %v, %v, %v", result, again, err)
			}
		},
		"the first node's own token is withdrawn as well": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit)
			s.settle()
			if s.lentToken() != nil {
				s.Error("a token was lent where there is no cluster yet")
			}
			s.kubeadmInit()
			s.initializeControlPlane()
			s.connect()
			s.join()
			s.settle()
			if s.lentToken() != nil {
				s.Error("the token of kubeadm init is still good")
			}
		},
		"a lost connection does not take back what was published": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			s.disconnect()
			if result := s.settle(); result.RequeueAfter == 0 {
				s.Error("nobody will try again")
			}
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionTrue, bootstrapv1.ReadyReason)
		},
	}
}

func leaveStories() map[string]func(*story) {
	return map[string]func(*story){
		"a deleted config takes its token along": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			token := s.lentToken()
			s.delete(s.config())
			s.settle()
			s.expectGone()
			if err := s.client.Get(s.Context(), keyOf(token), token); err == nil {
				s.Error("the token is still good")
			}
		},
		"an unreachable workload cluster holds a deletion up for a minute only": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			s.disconnect()
			s.delete(s.config())
			s.clock.SetTime(s.config().DeletionTimestamp.Time)
			if result := s.settle(); result.RequeueAfter == 0 {
				s.Error("nobody will try again")
			}
			s.clock.Step(time.Minute)
			s.settle()
			s.expectGone()
		},
		"a first node that never came up holds nothing up": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleInit)
			s.settle()
			s.delete(s.config())
			s.settle()
			s.expectGone()
		},
		"with its whole Cluster a config goes at once": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			s.disconnect()
			patch(s, s.cluster(), func(c *clusterv1.Cluster) { c.Finalizers = []string{"test.example.com/stay"} })
			s.delete(s.cluster())
			s.delete(s.config())
			s.settle()
			s.expectGone()
			patch(s, s.cluster(), func(c *clusterv1.Cluster) { c.Finalizers = nil })
		},
		"a config outlives its Machine and its Cluster, and goes": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			s.settle()
			s.delete(s.machine())
			s.delete(s.cluster())
			s.delete(s.config())
			s.settle()
			s.expectGone()
		},
		"a Machine on its way out gets no data": func(s *story) {
			s.readyToPublish(bootstrapv1.RoleWorker)
			patch(s, s.machine(), func(m *clusterv1.Machine) { m.Finalizers = []string{"test.example.com/stay"} })
			s.delete(s.machine())
			s.settle()
			s.expectCondition(bootstrapv1.ReadyCondition, metav1.ConditionFalse, bootstrapv1.DeletingReason)
			if s.hasDataSecret() {
				s.Error("data was made all the same")
			}
			patch(s, s.machine(), func(m *clusterv1.Machine) { m.Finalizers = nil })
		},
	}
}

// timeLeft is how long the lent token is still good.
func (s *story) timeLeft() time.Duration {
	s.Helper()
	lent := s.lentToken()
	if lent == nil {
		s.Fatal("no token is lent")
	}
	expires, err := time.Parse(time.RFC3339, string(lent.Data["expiration"]))
	if err != nil {
		s.Fatal(err)
	}
	return expires.Sub(s.clock.Now())
}

// kubeadmInit does what kubeadm does with the token of its configuration.
func (s *story) kubeadmInit() {
	s.Helper()
	token := s.token()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "bootstrap-token-" + token[:6]},
		Type:       "bootstrap.kubernetes.io/token",
		Data:       map[string][]byte{"token-id": []byte(token[:6]), "token-secret": []byte(token[7:]), "description": []byte("made by the first control plane node")},
	}
	if err := s.client.Create(s.Context(), secret); err != nil {
		s.Fatal(err)
	}
}

func (s *story) expectGone() {
	s.Helper()
	config := &bootstrapv1.IngotConfig{}
	if s.get(machineName, config) {
		s.Errorf("the config is still there, with finalizers %v", slices.Clone(config.Finalizers))
	}
}
