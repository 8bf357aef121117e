// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package platformendpoint_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/util/conditions"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// These stories have a manager that runs: what they are about is who wakes it, which a test that calls Reconcile itself
// would do in its place.
func TestWhoWakesAnEndpoint(t *testing.T) {
	t.Parallel()
	tell(t, map[string]func(*story){
		"a changed Secret renews the session within seconds":                  renews,
		"a deleted endpoint goes as soon as its last machine has gone":        goesPromptly,
		"machines that leave one that stays cost nothing":                     leavesQuietly,
		"machines that moved away are no orphans, and somebody is told of it": movesAway,
	})
}

// running starts a manager that reconciles the story's endpoint, and no other one: the stories share an API server.
func (s *story) running(with ...func(*platformendpoint.Reconciler)) {
	s.Helper()
	s.change(func(e *ingotv1.PlatformEndpoint) {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[clusterv1.WatchLabel] = s.name
	})
	mgr, err := ctrl.NewManager(apiConfig, ctrl.Options{
		Scheme:     apiServer.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Logger:     logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		s.Fatal(err)
	}
	reconciler := s.manager(func(r *platformendpoint.Reconciler) {
		r.Client, r.SecretReader, r.MachineReader = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetAPIReader()
		r.WatchFilterValue = s.name
		r.Report = nil
		for _, change := range with {
			change(r)
		}
	})
	if err := reconciler.SetupWithManager(s.Context(), mgr); err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the manager ended: %v", err)
		}
	})
}

// eventually waits until something is so.
func (s *story) eventually(what string, is func() bool) {
	s.Helper()
	const patience = 2 * time.Minute
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(50 * time.Millisecond) {
		if is() {
			s.Logf("%s after %s", what, time.Since(begin).Round(time.Millisecond))
			return
		}
	}
	s.Fatalf("waited %s in vain until %s; conditions: %v", patience, what, s.endpoint.Status.Conditions)
}

// ready reads the endpoint and returns its Ready condition.
func (s *story) ready() *metav1.Condition {
	s.Helper()
	s.exists()
	return conditions.Get(s.endpoint, ingotv1.PlatformEndpointReadyCondition)
}

func (s *story) isReady() bool {
	ready := s.ready()
	return ready != nil && ready.Status == metav1.ConditionTrue
}

// fail lets checks end with an error from now on, and tells that something happened.
func (h *host) fail(err error) {
	h.mu.Lock()
	h.trouble = err
	publish := h.publish
	h.mu.Unlock()
	publish(platform.Event{Session: true})
}

// renews: certificates are renewed by programs, every few weeks and at night.
func renews(s *story) {
	secret := s.secret(tlsKeys("first"))
	s.begin(overTLS, withSecret(secret))
	s.running()
	s.eventually("the endpoint is ready", s.isReady)
	secret.Data["tls.key"] = []byte("second")
	if err := apiServer.Update(s.Context(), secret); err != nil {
		s.Fatal(err)
	}
	s.eventually("the session has the new key", func() bool { return string(s.host.last().Credentials["tls.key"]) == "second" })
	if n := s.host.sessions(); n != 1 {
		s.Errorf("there are %d sessions", n)
	}
}

// leavesQuietly: a hundred machines that go must not have the credentials read a hundred times.
func leavesQuietly(s *story) {
	secret := s.secret(tlsKeys("first"))
	s.begin(overTLS, withSecret(secret))
	var reads atomic.Int32
	s.running(func(r *platformendpoint.Reconciler) { r.SecretReader = builder.CountReads(r.SecretReader, &reads) })
	s.eventually("the endpoint is ready", s.isReady)
	machine := s.machine("0e5e6f3c-0000-4000-8000-00000000000b")
	time.Sleep(2 * time.Second)
	before := reads.Load()
	s.delete(machine)
	time.Sleep(2 * time.Second)
	if n := reads.Load() - before; n > 0 {
		s.Errorf("the credentials were read %d times because a machine went", n)
	}
}

// goesPromptly: whoever takes a host out of service waits for it.
func goesPromptly(s *story) {
	s.begin()
	s.running()
	s.eventually("the endpoint is ready", s.isReady)
	machine := s.machine("0e5e6f3c-0000-4000-8000-00000000000a")
	s.delete(s.endpoint)
	s.eventually("the endpoint says what it waits for", func() bool {
		ready := s.ready()
		return ready != nil && ready.Reason == ingotv1.PlatformEndpointInUseReason
	})
	s.delete(machine)
	s.eventually("the endpoint is gone", func() bool { return !s.exists() })
	s.eventually("its session is closed", func() bool { return s.host.sessions() == 0 })
}

// movesAway: clusterctl leaves the PlatformEndpoint behind when it moves machines. What it does to each machine is done
// here as it does it.
func movesAway(s *story) {
	s.begin(func(e *ingotv1.PlatformEndpoint) {
		e.Spec.Orphans = ingotv1.OrphanPolicy{Mode: ingotv1.OrphanModeCollect, MinAgeMinutes: 10}
	})
	s.running()
	s.eventually("the endpoint is ready", s.isReady)
	if s.endpoint.Annotations[platformendpoint.CollectsOrphansAnnotation] != string(s.endpoint.UID) {
		s.Fatalf("an endpoint that was made here may not collect: %v", s.endpoint.Annotations)
	}
	machine := s.machine("0e5e6f3c-0000-4000-8000-00000000000b", func(m *infrav1.IngotMachine) { m.Finalizers = []string{infrav1.IngotMachineFinalizer} })
	before := machine.DeepCopy()
	machine.Annotations = map[string]string{clusterctlv1.DeleteForMoveAnnotation: ""}
	if err := apiServer.Patch(s.Context(), machine, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
	s.delete(machine)
	before = machine.DeepCopy()
	machine.Finalizers = nil
	if err := apiServer.Patch(s.Context(), machine, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
	s.eventually("nothing is collected any more", func() bool {
		s.exists()
		_, collects := s.endpoint.Annotations[platformendpoint.CollectsOrphansAnnotation]
		return !collects
	})
}
