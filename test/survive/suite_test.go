// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package survive_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/setup"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

// everyRead is for those who do not believe that reads which follow each other are the same to the world.
var everyRead = flag.Bool("every-read", false, "kill the manager at every single read too, which takes an hour")

// suite is what all tests of this binary share. Every story has a namespace, an endpoint, an image and a storage pool of
// its own.
type suite struct {
	config   *rest.Config
	client   client.WithWatch
	programs *components.Builder
	host     *host
}

var shared suite

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	if err := flag.Set("test.parallel", "6"); err != nil { // the stories wait for libvirtd and QEMU more than they compute
		return 1, err
	}
	if shared.programs, err = components.FromEnvironment(func(line string) { fmt.Fprintln(os.Stderr, line) }); err != nil {
		return 1, err
	}
	stopHost := func() error { return nil }
	started := make(chan error)
	go func() {
		var err error
		shared.host, stopHost, err = startHost(ctx)
		started <- err
	}()
	// Namespaces really end only where a controller manager runs.
	plane, stopPlane, err := managementplane.StartForTest(ctx, managementplane.Options{Builder: shared.programs, ControllerManager: true})
	err = errors.Join(err, <-started)
	defer func() { err = errors.Join(err, stopHost(), stopPlane()) }()
	if err != nil {
		return 1, err
	}
	if err := shared.connect(ctx, plane.Config); err != nil {
		return 1, err
	}
	supervision, end := context.WithCancel(ctx)
	defer end() // before the host is stopped
	go shared.host.supervise(supervision)
	return m.Run(), nil
}

// connect installs all kinds and makes a client that knows them.
func (s *suite) connect(ctx context.Context, config *rest.Config) error {
	core, err := s.programs.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return err
	}
	if err := builder.InstallCRDs(config, filepath.Join(core, "core", "config", "crd", "bases"), builder.CRDs(s.programs.Repo)); err != nil {
		return err
	}
	scheme, err := setup.Scheme()
	if err != nil {
		return err
	}
	if err := ipamv1.AddToScheme(scheme); err != nil {
		return err
	}
	s.config = config
	s.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return err
}
