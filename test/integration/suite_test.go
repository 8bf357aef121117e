// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2/textlogger"
	utilyaml "sigs.k8s.io/cluster-api/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// suite is what all tests of this package share.
type suite struct {
	dir string
	// management runs Cluster API's core manager; workload is the API server that the nodes of the one workload cluster
	// at a time join.
	management, workload *managementplane.Plane
	// clusterctl is the configuration file of a clusterctl repository of this checkout.
	clusterctl string
	// accounts are the users that the managers of the three roles are.
	accounts map[string]string
}

var shared suite

func TestMain(m *testing.M) {
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if shared.dir, err = os.MkdirTemp("", "ingot-integration-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(shared.dir)) }()
	log, err := os.Create(shared.managerLog())
	if err != nil {
		return 1, err
	}
	ctrl.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log))))

	programs, err := components.FromEnvironment(func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return 1, err
	}
	stop, err := shared.start(ctx, programs)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// start starts both planes at the same time and installs what clusterctl would.
func (s *suite) start(ctx context.Context, programs *components.Builder) (stop func() error, err error) {
	var stopWorkload func() error
	started := make(chan error)
	go func() {
		var err error
		s.workload, stopWorkload, err = managementplane.StartForTest(ctx, managementplane.Options{Builder: programs})
		started <- err
	}()
	management, stopManagement, err := managementplane.StartForTest(ctx, managementplane.Options{Builder: programs, Core: true, ControllerManager: true})
	s.management = management
	stop = func() error { return errors.Join(stopManagement(), stopWorkload()) }
	if err := errors.Join(err, <-started); err != nil {
		return stop, err
	}
	if err := builder.InstallCRDs(management.Config, builder.CRDs(programs.Repo)); err != nil {
		return stop, err
	}
	if err := s.buildRepository(ctx, programs); err != nil {
		return stop, err
	}
	if err := managementplane.InstallCertManagerKinds(ctx, management.Config); err != nil {
		return stop, err
	}
	if err := s.installProviders(ctx); err != nil {
		return stop, err
	}
	return stop, s.redirectWebhooks(ctx)
}

// redirectWebhooks has the API server call the managers that the tests run.
func (s *suite) redirectWebhooks(ctx context.Context) error {
	c, err := builder.NewClient(s.management.Config)
	if err != nil {
		return err
	}
	urls := map[types.NamespacedName]string{}
	for _, service := range repository.WebhookServices() {
		port, err := s.management.Port(ctx, service.Namespace)
		if err != nil {
			return err
		}
		urls[service] = fmt.Sprintf("https://127.0.0.1:%d", port)
	}
	return managementplane.RedirectWebhooks(ctx, c, urls, s.management.CABundle)
}

// installProviders installs what clusterctl installs of Ingot's release, except that the managers are run by the tests: as
// the service accounts of their Deployments, with no more rights than these have.
func (s *suite) installProviders(ctx context.Context) error {
	c, err := builder.NewClient(s.management.Config)
	if err != nil {
		return err
	}
	s.accounts = map[string]string{}
	for _, role := range []string{"infrastructure", "bootstrap", "control-plane"} {
		manifests, err := os.ReadFile(filepath.Join(s.dir, "repository", role+"-ingot", repository.Version, role+"-components.yaml"))
		if err != nil {
			return err
		}
		objects, err := utilyaml.ToUnstructured(manifests)
		if err != nil {
			return fmt.Errorf("reading the components of the %s provider: %w", role, err)
		}
		i := slices.IndexFunc(objects, func(o unstructured.Unstructured) bool { return o.GetKind() == "Deployment" })
		if i < 0 {
			return fmt.Errorf("the components of the %s provider hold no Deployment", role)
		}
		account, _, _ := unstructured.NestedString(objects[i].Object, "spec", "template", "spec", "serviceAccountName")
		s.accounts[role] = "system:serviceaccount:" + objects[i].GetNamespace() + ":" + account
		if err := apply(ctx, c, slices.Delete(objects, i, i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) buildRepository(ctx context.Context, programs *components.Builder) error {
	manifests, err := managementplane.CoreComponents(ctx, programs)
	if err != nil {
		return err
	}
	core, err := programs.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return err
	}
	metadata, err := os.ReadFile(filepath.Join(core, "metadata.yaml"))
	if err != nil {
		return err
	}
	s.clusterctl, err = repository.Build(repository.Options{
		Repo: programs.Repo,
		Dir:  filepath.Join(s.dir, "repository"),
		Core: repository.Core{Version: components.ClusterAPIVersion, Components: manifests, Metadata: metadata},
	})
	return err
}

func (s *suite) managerLog() string { return filepath.Join(s.dir, "manager.log") }

// logTail is what a person needs when a story fails.
func (s *suite) logTail() string { return process.Tail(s.managerLog(), 60) }

// apply applies objects by server-side apply.
func apply(ctx context.Context, c client.Client, objects []unstructured.Unstructured) error {
	for i := range objects {
		object := &objects[i]
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("integration"), client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}
