// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	ours "github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
)

// runManager runs the reconciler in a manager with a real cache, which lags behind its writes, until the test ends.
func (s *story) runManager(config *rest.Config) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:     s.client.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{s.namespace: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		s.Fatal(err)
	}
	reconciler := &ours.Reconciler{Client: manager.GetClient(), APIReader: manager.GetAPIReader(), ClusterCache: s.workload, Drivers: s.reconciler.Drivers, Backups: s.backups, Restores: s.restores, Clock: clock.RealClock{}}
	if err := reconciler.SetupWithManager(ctx, manager, controller.Options{}); err != nil {
		s.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended: %v", err)
		}
	})
}

// tellManagerStory checks that what matters wakes the reconciler, and that a cache that lags behind leads to nothing
// being made twice.
func tellManagerStory(s *story, config *rest.Config) {
	s.runManager(config)
	s.begin()
	s.eventually("the finalizer is there", func() bool { return len(s.controlPlane().Finalizers) == 1 })
	s.workload.answer()
	s.provisionInfrastructure()
	s.eventually("the provisioned infrastructure leads to a Machine", func() bool { return len(s.machines()) == 1 })
	s.eventually("the answer of the API server is noticed", func() bool {
		return ptr.Deref(s.controlPlane().Status.Initialization.ControlPlaneInitialized, false)
	})
	s.expectOneOfEach()
	s.machineStatus(s.onlyMachine(), func(m *clusterv1.Machine) {
		m.Status.NodeInfo = &corev1.NodeSystemInfo{KubeletVersion: "v1.36.2"}
	})
	s.eventually("a change of the Machine is noticed", func() bool { return s.controlPlane().Status.Version == "v1.36.2" })
	s.delete(s.controlPlane())
	s.eventually("deleting it ends", func() bool {
		_, exists := get(s, "demo-cp", &controlplanev1.IngotControlPlane{})
		return !exists
	})
}

func (s *story) eventually(what string, holds func() bool) {
	s.Helper()
	err := wait.PollUntilContextTimeout(s.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		s.Fatalf("waited in vain until %s", what)
	}
}
