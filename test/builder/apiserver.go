// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	controlplanev1 "github.com/ingot-project/cluster-api-provider-ingot/api/controlplane/v1alpha1"
	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
)

// RunWithAPIServer is the body of a TestMain: it starts one API server for the test binary, hands a client out, runs the
// tests, and returns the code to exit with.
func RunWithAPIServer(run func() int, ready func(client.WithWatch)) int {
	return RunWithConfig(run, func(_ *rest.Config, c client.WithWatch) { ready(c) })
}

// RunWithConfig is RunWithAPIServer for tests that start managers of their own, which need the configuration.
func RunWithConfig(run func() int, ready func(*rest.Config, client.WithWatch)) int {
	log.SetLogger(logr.Discard())
	code, err := runWithAPIServer(context.Background(), run, ready)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runWithAPIServer(ctx context.Context, run func() int, ready func(*rest.Config, client.WithWatch)) (code int, err error) {
	plane, stop, err := StartAPIServer(ctx)
	defer func() {
		if stopErr := stop(); err == nil {
			err = stopErr
		}
	}()
	if err != nil {
		return 1, err
	}
	c, err := NewClient(plane.Config)
	if err != nil {
		return 1, err
	}
	ready(plane.Config, c)
	return run(), nil
}

// StartAPIServer starts an API server that knows every kind of Cluster API and Ingot. stop ends it; it is never nil, and may be
// called after an error.
func StartAPIServer(ctx context.Context) (plane *managementplane.Plane, stop func() error, err error) {
	programs, err := components.FromEnvironment(func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return nil, func() error { return nil }, err
	}
	plane, stop, err = managementplane.StartForTest(ctx, managementplane.Options{Builder: programs})
	if err != nil {
		return nil, stop, err
	}
	core, err := programs.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return nil, stop, err
	}
	return plane, stop, InstallCRDs(plane.Config, filepath.Join(core, "core", "config", "crd", "bases"), CRDs(programs.Repo))
}

// CRDs is the folder of Ingot's own kinds in a checkout.
func CRDs(repo string) string { return filepath.Join(repo, "config", "crd", "bases") }

// InstallCRDs installs the CRDs in folders and waits until they are served.
func InstallCRDs(config *rest.Config, folders ...string) error {
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: folders, ErrorIfPathMissing: true}); err != nil {
		return fmt.Errorf("installing CRDs: %w", err)
	}
	return nil
}

// NewClient returns a client that reads from the API server and knows every kind of Kubernetes, Cluster API and Ingot.
func NewClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, clusterv1.AddToScheme, ipamv1.AddToScheme,
		ingotv1.AddToScheme, infrav1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}
