// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var (
	long   = flag.Bool("long", false, "every crash point and every fault, in every shape of a control plane; takes most of an hour")
	seed   = flag.Uint64("seed", 1, "what the order of faults, and which of them the short form has, comes from")
	shapes = flag.String("shape", "", "only the control planes with this name, such as 3-surge")
	suffer = flag.Int("faults", 0, "how many faults each control plane suffers; 0 is 6, in the long form 50")
	faults = flag.String("fault", "", "all faults whose name holds this, and nothing else")
)

// suite is what all worlds share: the management cluster.
type suite struct {
	config   *rest.Config
	client   client.WithWatch
	cache    cache.Cache
	programs map[string]string
	dir      string
	table    table
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
	if err := flag.Set("test.parallel", "8"); err != nil { // worlds wait more than they compute
		return 1, err
	}
	programs, err := components.FromEnvironment(func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return 1, err
	}
	if shared.programs, err = programs.Build(ctx, "etcd", "kube-apiserver"); err != nil {
		return 1, err
	}
	if shared.dir, err = os.MkdirTemp("", "ingot-controlplane-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(shared.dir)) }()
	plane, stop, err := managementplane.StartForTest(ctx, managementplane.Options{
		Builder: programs, Core: true, ControllerManager: true,
		// It looks at each Machine once a second at most. Nothing here depends on that, and half of the time goes by in it.
		CoreFeatures: []string{"ReconcilerRateLimiting=false"},
	})
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 1, err
	}
	if err := builder.InstallCRDs(plane.Config, builder.CRDs(programs.Repo)); err != nil {
		return 1, err
	}
	watching, end := context.WithCancel(ctx)
	defer end()
	if err := shared.connect(watching, plane.Config); err != nil {
		return 1, err
	}
	shared.table.begin = time.Now()
	code = m.Run()
	fmt.Fprint(os.Stderr, shared.table.String())
	return code, nil
}

// connect makes the client and the cache with which worlds play their parts.
func (s *suite) connect(ctx context.Context, config *rest.Config) (err error) {
	s.config = config
	if s.client, err = builder.NewClient(config); err != nil {
		return err
	}
	if s.cache, err = cache.New(config, cache.Options{Scheme: s.client.Scheme()}); err != nil {
		return err
	}
	go func() { _ = s.cache.Start(ctx) }()
	if !s.cache.WaitForCacheSync(ctx) {
		return errors.New("the cache of the test never knows the management cluster")
	}
	return nil
}

// loopback is an address of loopback that no other world, and no other test on this machine, is likely to use.
func loopback(world, host int) string {
	return "127." + strconv.Itoa(64+os.Getpid()%128) + "." + strconv.Itoa(world) + "." + strconv.Itoa(host)
}

func (s *suite) folder(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}
