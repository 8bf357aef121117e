// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package setup wires the manager: scheme, cache, sessions, families, and the reconcilers of each role. It is the only
// package that knows concrete platforms and operating system families, and only main imports it. It decides nothing
// about any object.
package setup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util/flags"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	bootstrapcontroller "github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/cluster"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/imagereplica"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/machine"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/machinetemplate"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/nodeimage"
	"github.com/ingot-project/cluster-api-provider-ingot/controllers/platformendpoint"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/store"
	controlplanecontroller "github.com/ingot-project/cluster-api-provider-ingot/controlplane/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/admission"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/metrics"
	osregistry "github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/workload"
)

// Scheme returns a scheme with every kind that the manager reads or writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, clusterv1.AddToScheme, ipamv1.AddToScheme,
		ingotv1.AddToScheme, infrav1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// Run runs the manager against the management cluster that flags and environment name, until the context ends.
func Run(ctx context.Context, options *Options) error {
	ctrl.SetLogger(klog.Background())
	if err := options.Validate(); err != nil {
		return err
	}
	if err := setVerbosity(options.Verbosity); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no management cluster: set --kubeconfig or KUBECONFIG: %w", err)
	}
	return Start(ctx, config, options, registry.Opener(ctx, ctrl.Log))
}

// Start runs the manager against a management cluster until the context ends; open opens the sessions with platform
// endpoints. It returns when everything that it started has ended, and may be called again then.
func Start(ctx context.Context, config *rest.Config, options *Options, open session.Opener) error {
	if err := options.Validate(); err != nil {
		return err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = options.QPS, options.Burst
	mgr, err := newManager(config, options)
	if err != nil {
		return err
	}
	measured := newMetrics(mgr, options)
	withdraw, err := export(measured, options)
	if err != nil {
		return err
	}
	defer withdraw()
	sessions := session.NewRegistry(open).WithMeter(measured)
	defer sessions.Close()
	if err := addControllers(ctx, mgr, options, sessions, measured); err != nil {
		return err
	}
	if err := addWebhooks(mgr, options); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// addWebhooks serves what judges the kinds of each role.
func addWebhooks(mgr ctrl.Manager, o *Options) error {
	if o.WebhookPort == 0 {
		return nil
	}
	if err := mgr.AddReadyzCheck("webhook", mgr.GetWebhookServer().StartedChecker()); err != nil {
		return err
	}
	preview := bootstrapcontroller.Preview{Families: osregistry.Families()}
	if o.runs(RoleBootstrap) {
		if err := admission.AddBootstrap(mgr, preview); err != nil {
			return err
		}
	}
	if o.runs(RoleControlPlane) {
		return admission.AddControlPlane(mgr, preview)
	}
	return nil
}

func newManager(config *rest.Config, options *Options) (ctrl.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	tls, serving, err := flags.GetManagerOptions(options.Manager)
	if err != nil {
		return nil, err
	}
	if set, served := serving.ExtraHandlers[verbosityPath]; served {
		serving.ExtraHandlers[verbosityPath] = capped(set)
	}
	settings := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       *serving,
		WebhookServer:                 webhook.NewServer(webhook.Options{Port: options.WebhookPort, CertDir: options.WebhookCerts, TLSOpts: tls}),
		HealthProbeBindAddress:        options.HealthAddress,
		LeaderElection:                options.LeaderElect,
		LeaderElectionID:              electionID(options.Roles),
		LeaderElectionReleaseOnCancel: true,
		Cache: cache.Options{
			SyncPeriod: &options.SyncPeriod,
			// Who wrote which field is a good part of an object, and nothing here asks for it.
			DefaultTransform: cache.TransformStripManagedFields(),
			// Of Secrets only the metadata is watched; an annotation may hold the content all the same.
			ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Transform: stripAnnotations}},
		},
		// Names are checked once per process; here they are written down once, and a process may start a manager again.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
		// Secrets hold bootstrap data and keys: they are read when needed and never kept. Nor are objects whose kinds belong
		// to other roles (the unstructured ones): who reads one now and then needs no right to watch them all.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	}
	if options.Namespace != "" {
		settings.Cache.DefaultNamespaces = map[string]cache.Config{options.Namespace: {}}
	}
	mgr, err := ctrl.NewManager(config, settings)
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

// stripAnnotations keeps annotations and managed fields out of the cache: kubectl's record of what was last applied holds
// whole objects.
func stripAnnotations(object any) (any, error) {
	if o, is := object.(metav1.Object); is {
		o.SetAnnotations(nil)
		o.SetManagedFields(nil)
	}
	return object, nil
}

// electionID is one lease per set of roles, because clusterctl runs each role as a Deployment of its own.
func electionID(roles []string) string {
	sorted := slices.Sorted(slices.Values(roles))
	return "ingot-" + strings.Join(sorted, "-") + ".ingot.dev"
}

func addControllers(ctx context.Context, mgr ctrl.Manager, o *Options, sessions *session.Registry, measured *metrics.Metrics) error {
	workloads, err := clustercache.SetupWithManager(ctx, mgr, clustercache.Options{
		SecretClient:     mgr.GetClient(),
		WatchFilterValue: o.WatchFilter,
		Cache:            clustercache.CacheOptions{DefaultTransform: cache.TransformStripManagedFields()},
		Client: clustercache.ClientOptions{
			UserAgent: "ingot-manager",
			Cache:     clustercache.ClientCacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.Pod{}}},
		},
	}, controller.Options{MaxConcurrentReconciles: o.Concurrency})
	if err != nil {
		return fmt.Errorf("access to workload clusters: %w", err)
	}
	if o.runs(RoleInfrastructure) {
		if err := addInfrastructure(ctx, mgr, o, sessions, measured, workloads); err != nil {
			return fmt.Errorf("infrastructure role: %w", err)
		}
	}
	if o.runs(RoleBootstrap) {
		if err := addBootstrap(ctx, mgr, o, workloads); err != nil {
			return fmt.Errorf("bootstrap role: %w", err)
		}
	}
	if o.runs(RoleControlPlane) {
		if err := addControlPlane(ctx, mgr, o, workloads); err != nil {
			return fmt.Errorf("control plane role: %w", err)
		}
	}
	return nil
}

func addInfrastructure(
	ctx context.Context, mgr ctrl.Manager, o *Options, sessions *session.Registry, measured *metrics.Metrics, workloads clustercache.ClusterCache,
) error {
	if err := (&cluster.Reconciler{Client: mgr.GetClient(), WatchFilterValue: o.WatchFilter}).SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	if err := (&platformendpoint.Reconciler{
		Client:           mgr.GetClient(),
		Sessions:         sessions,
		SecretReader:     mgr.GetAPIReader(),
		MachineReader:    mgr.GetAPIReader(),
		SeesAllMachines:  o.Namespace == "" && o.WatchFilter == "",
		Recorder:         mgr.GetEventRecorder("platformendpoint-controller"),
		Report:           measured.Orphans,
		Clock:            clock.RealClock{},
		Random:           rand.Float64,
		WatchFilterValue: o.WatchFilter,
	}).SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	if err := (&nodeimage.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}, WatchFilterValue: o.WatchFilter}).SetupWithManager(mgr); err != nil {
		return err
	}
	if err := (&imagereplica.Reconciler{
		Client:           mgr.GetClient(),
		Sessions:         sessions,
		MachineReader:    mgr.GetAPIReader(),
		Recorder:         mgr.GetEventRecorder("imagereplica-controller"),
		Clock:            clock.RealClock{},
		Random:           rand.Float64,
		WatchFilterValue: o.WatchFilter,
	}).SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	if err := (&machinetemplate.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}, WatchFilterValue: o.WatchFilter}).SetupWithManager(mgr); err != nil {
		return err
	}
	machines := &machine.Reconciler{
		Client:           mgr.GetClient(),
		SecretReader:     mgr.GetAPIReader(),
		MachineReader:    mgr.GetAPIReader(),
		Sessions:         sessions,
		Workload:         workloads,
		Families:         osregistry.Families(),
		Recorder:         mgr.GetEventRecorder("ingotmachine-controller"),
		Clock:            clock.RealClock{},
		WatchFilterValue: o.WatchFilter,
		Meter:            measured,
	}
	measured.TurnsFrom(machines.Turns)
	return machines.SetupWithManager(ctx, mgr, controller.Options{MaxConcurrentReconciles: o.Concurrency})
}

func addBootstrap(ctx context.Context, mgr ctrl.Manager, o *Options, workloads clustercache.ClusterCache) error {
	return (&bootstrapcontroller.Reconciler{
		Client:      mgr.GetClient(),
		Workload:    workloads,
		Families:    osregistry.Families(),
		Clock:       clock.RealClock{},
		WatchFilter: o.WatchFilter,
	}).SetupWithManager(ctx, mgr, controller.Options{MaxConcurrentReconciles: o.Concurrency})
}

func addControlPlane(ctx context.Context, mgr ctrl.Manager, o *Options, workloads clustercache.ClusterCache) error {
	r := &controlplanecontroller.Reconciler{
		Client:       mgr.GetClient(),
		APIReader:    mgr.GetAPIReader(),
		ClusterCache: workloads,
		Drivers:      workload.Drivers(workloads, clock.RealClock{}),
		Recorder:     mgr.GetEventRecorder("ingotcontrolplane-controller"),
		Clock:        clock.RealClock{},
		WatchFilter:  o.WatchFilter,
	}
	child, err := rehearsal.Itself()
	if err != nil {
		return err
	}
	storage := store.Options{Dir: o.Snapshots, AllowAmbient: o.AmbientCredentials}
	r.Backups, err = backup.New(ctx, backup.Options{Scratch: o.Scratch, Store: storage, Rehearser: child, Clock: clock.RealClock{}, Ended: r.Wake})
	if err != nil {
		return fmt.Errorf("backups of etcd: %w", err)
	}
	restorer, err := backup.NewRestorer(ctx, backup.RestoreOptions{Dir: o.Restored, URL: o.restoreURL(), Store: storage, Rehearser: child, Clock: clock.RealClock{}, Ended: r.Wake})
	if err != nil {
		return fmt.Errorf("restoring etcd: %w", err)
	}
	r.Restores = restorer
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return restorer.Serve(ctx, o.RestoreAddress) })); err != nil {
		return err
	}
	return r.SetupWithManager(ctx, mgr, controller.Options{MaxConcurrentReconciles: o.Concurrency})
}
