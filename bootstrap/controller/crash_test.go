// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
)

// mostWrites is more than any of the journeys below needs.
const mostWrites = 12

// crashStories kill the manager at every single write, once before and once after it reached the API server. Whatever
// was left behind, the next manager must end with one Secret whose token opens the door, and leave no token behind.
func crashStories() map[string]func(*story) {
	stories := map[string]func(*story){}
	for at := 1; at <= mostWrites; at++ {
		for _, lost := range []bool{false, true} {
			stories[fmt.Sprintf("killed at write %d, answer lost: %t", at, lost)] = func(s *story) { tellCrash(s, at, lost) }
		}
	}
	return stories
}

func tellCrash(s *story, at int, lost bool) {
	s.readyToPublish(bootstrapv1.RoleWorker)
	s.writes.KillAt, s.writes.Lost = at, lost
	s.settleOverCrash()
	token := s.token()
	if lent := s.lentToken(); lent == nil || token != string(lent.Data["token-id"])+"."+string(lent.Data["token-secret"]) {
		s.Error("the token of the data does not open the door")
	}
	if !strings.Contains(s.file("/etc/ingot/kubeadm.yaml"), "token: "+token) {
		s.Error("the data holds another token than the one that is lent")
	}
	if status := s.config().Status; status.DataSecretName != machineName || !ptr.Deref(status.Initialization.DataSecretCreated, false) {
		s.Errorf("Cluster API does not know: %+v", status)
	}
	s.join()
	s.settleOverCrash()
	if s.lentToken() != nil || len(s.config().Finalizers) > 0 {
		s.Error("the token outlived the join")
	}
	if s.token() != token {
		s.Error("the data changed after it was published")
	}
	s.delete(s.config())
	s.settleOverCrash()
	s.expectGone()
}

// settleOverCrash settles, with a new manager where the old one was killed.
func (s *story) settleOverCrash() {
	s.Helper()
	for range mostWrites {
		before := s.writes.Count()
		_, err := s.pass()
		switch {
		case s.writes.Killed():
			s.restart()
		case err != nil:
			s.Fatalf("a pass failed: %v", err)
		case s.writes.Count() == before:
			return
		}
	}
	s.Fatal("the reconciler does not settle")
}

// tellManagerStory checks the wiring: every step of the world, and nothing else, wakes the reconciler.
func tellManagerStory(s *story, restConfig *rest.Config) {
	ctx, stop := context.WithCancel(s.Context())
	manager, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:     testScheme(s.T),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.workload.through = func(c client.WithWatch) client.WithWatch { return c }
	if err := s.newReconciler(manager.GetClient()).SetupWithManager(ctx, manager, controller.Options{}); err != nil {
		s.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended: %v", err)
		}
	}()

	s.begin(bootstrapv1.RoleWorker, settingsWithSecrets)
	s.createCertificates()
	s.chooseProviderID()
	s.awaitReason(bootstrapv1.WaitingForClusterInfrastructureReason)
	s.provisionInfrastructure()
	s.awaitReason(bootstrapv1.WaitingForControlPlaneEndpointReason)
	s.setEndpoint()
	s.awaitReason(bootstrapv1.WaitingForControlPlaneReason)
	s.initializeControlPlane()
	s.awaitReason(bootstrapv1.WaitingForSecretReason)
	s.createSecret("agent", map[string][]byte{"token": []byte(agentToken)})
	s.createSecret("registry", map[string][]byte{"other": nil})
	s.await("only one key is missing", func() bool {
		return strings.Contains(s.message(bootstrapv1.ReadyCondition), "has no such key") && !strings.Contains(s.message(bootstrapv1.ReadyCondition), "agent")
	})
	s.putIntoSecret("registry", "password", registryPassword)
	s.awaitReason(bootstrapv1.WorkloadClusterUnreachableReason)
	s.connect()
	s.workload.events <- event.GenericEvent{Object: s.cluster()}
	s.awaitReason(bootstrapv1.ReadyReason)
	s.join()
	s.await("the token is withdrawn", func() bool { return s.lentToken() == nil && len(s.config().Finalizers) == 0 })
}

func (s *story) awaitReason(reason string) {
	s.Helper()
	s.await("Ready has reason "+reason, func() bool {
		for _, c := range s.config().Status.Conditions {
			if c.Type == bootstrapv1.ReadyCondition {
				return c.Reason == reason
			}
		}
		return false
	})
}

// await gives an event time to arrive; what only a timer would bring takes longer.
func (s *story) await(what string, done func() bool) {
	s.Helper()
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	s.Fatalf("no event led to this: %s; conditions: %v", what, s.config().Status.Conditions)
}

func keyOf(object metav1.Object) client.ObjectKey {
	return client.ObjectKey{Namespace: object.GetNamespace(), Name: object.GetName()}
}
