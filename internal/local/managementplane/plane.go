// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package managementplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// Options say where the plane is and which parts of it run. etcd and kube-apiserver always do.
type Options struct {
	// StateDir belongs to the plane alone.
	StateDir string
	// Builder provides the programs; nil is components.FromEnvironment, which reports to nobody.
	Builder *components.Builder
	// ControllerManager runs the few controllers that matter without Nodes: namespaces and garbage are then really
	// deleted, as they are not in a bare API server.
	ControllerManager bool
	// Core installs Cluster API's CRDs and webhooks and runs its core manager. Leave it out where clusterctl installs
	// them, and call RedirectWebhooks and StartCore afterwards.
	Core bool
	// CoreFeatures are further feature gates of the core manager, such as Name=false.
	CoreFeatures []string
	// Child ties the processes to the calling one and to the context of Start, which is meant for tests. Otherwise they
	// go on after the caller has ended.
	Child bool
}

// Plane is a management cluster that runs.
type Plane struct {
	// Config connects as a cluster administrator. Copy it before changing it.
	Config *rest.Config
	// Kubeconfig is the path of a file that says the same.
	Kubeconfig string
	// ServingDir holds tls.crt and tls.key for 127.0.0.1 and localhost, to be used by every manager that serves
	// webhooks; CABundle is what the API server verifies them with, in PEM.
	ServingDir string
	CABundle   []byte

	layout  layout
	options Options
	builder *components.Builder
	ports   map[string]int
}

// Start brings the plane up, or continues the one in the state directory: with the same data, certificates and ports,
// whether its processes still run, were stopped or were killed.
func Start(ctx context.Context, o Options) (*Plane, error) {
	p, err := newPlane(o)
	if err != nil {
		return nil, fmt.Errorf("management plane: %w", err)
	}
	unlock, err := p.layout.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("management plane: %w", err)
	}
	defer unlock()
	if err := p.up(ctx); err != nil {
		return nil, fmt.Errorf("management plane: %w", err)
	}
	return p, nil
}

// StartForTest is Start with Child set, and with a state directory of its own where none is named. stop ends the
// processes and removes that directory; it is never nil and may be called after an error. It fits into TestMain and
// into a ginkgo BeforeSuite alike.
func StartForTest(ctx context.Context, o Options) (p *Plane, stop func() error, err error) {
	o.Child = true
	own := o.StateDir == ""
	if own {
		if o.StateDir, err = os.MkdirTemp("", "ingot-plane-"); err != nil {
			return nil, func() error { return nil }, fmt.Errorf("management plane: %w", err)
		}
	}
	stop = func() error {
		err := Stop(context.WithoutCancel(ctx), o.StateDir)
		if err != nil || !own {
			return err
		}
		return os.RemoveAll(o.StateDir)
	}
	if p, err = Start(ctx, o); err != nil {
		return nil, stop, errors.Join(err, stop())
	}
	return p, stop, nil
}

// Stop ends the processes of the plane in the state directory and keeps its data. Stopping what does not run is no
// error, so it may be repeated.
func Stop(ctx context.Context, stateDir string) error {
	if _, err := os.Stat(stateDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	l, err := newLayout(stateDir)
	if err != nil {
		return fmt.Errorf("stopping the management plane: %w", err)
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return fmt.Errorf("stopping the management plane: %w", err)
	}
	defer unlock()
	for _, name := range slices.Backward(programs()) {
		if err := process.Stop(ctx, name, l.pidFile(name), 20*time.Second); err != nil {
			return fmt.Errorf("stopping the management plane: %w", err)
		}
	}
	return nil
}

// Remove stops the plane and deletes what it kept in the state directory, and the directory if nothing else is in it.
func Remove(ctx context.Context, stateDir string) error {
	if err := Stop(ctx, stateDir); err != nil {
		return err
	}
	l, err := newLayout(stateDir)
	if err != nil {
		return fmt.Errorf("removing the management plane: %w", err)
	}
	if err := l.forget(); err != nil {
		return fmt.Errorf("removing the management plane: %w", err)
	}
	return nil
}

// StartCore starts the Cluster API core manager, or adopts the one that runs. Its CRDs must exist, and its webhooks
// point to CoreURL: by InstallCore, or by clusterctl and RedirectWebhooks.
func (p *Plane) StartCore(ctx context.Context) error {
	unlock, err := p.layout.lock(ctx)
	if err != nil {
		return fmt.Errorf("management plane: %w", err)
	}
	defer unlock()
	return p.startCore(ctx)
}

// CoreURL is where the core manager serves its webhooks.
func (p *Plane) CoreURL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.ports[corePort]) }

// Port returns a free port of loopback for a program that belongs to the plane, such as another manager's webhooks. It
// is kept under the given name: a later call, also of a later run, returns the same.
func (p *Plane) Port(ctx context.Context, name string) (int, error) {
	unlock, err := p.layout.lock(ctx)
	if err != nil {
		return 0, fmt.Errorf("management plane: %w", err)
	}
	defer unlock()
	if p.ports, err = p.layout.keepPorts(ctx, "other-"+name); err != nil {
		return 0, fmt.Errorf("management plane: %w", err)
	}
	return p.ports["other-"+name], nil
}

func newPlane(o Options) (*Plane, error) {
	l, err := newLayout(o.StateDir)
	if err != nil {
		return nil, err
	}
	builder := o.Builder
	if builder == nil {
		if builder, err = components.FromEnvironment(nil); err != nil {
			return nil, err
		}
	}
	return &Plane{
		Kubeconfig: l.kubeconfigFile(),
		ServingDir: l.pki("serving"),
		layout:     l, options: o, builder: builder,
	}, nil
}

func (p *Plane) up(ctx context.Context) error {
	var err error
	if p.ports, err = p.layout.keepPorts(ctx, etcdPort, apiPort, controllerPort, corePort, coreHealthPort, coreMetricsPort); err != nil {
		return err
	}
	if err := p.layout.ensureCertificates(); err != nil {
		return err
	}
	if err := p.connect(); err != nil {
		return err
	}
	if err := p.run(ctx, p.etcd()); err != nil {
		return err
	}
	if err := p.run(ctx, p.apiServer()); err != nil {
		return err
	}
	if p.options.ControllerManager {
		if err := p.run(ctx, p.controllerManager()); err != nil {
			return err
		}
	}
	if !p.options.Core {
		return nil
	}
	if err := InstallCore(ctx, p.Config, p.builder, p.CoreURL(), p.CABundle); err != nil {
		return err
	}
	return p.startCore(ctx)
}

func (p *Plane) startCore(ctx context.Context) error { return p.run(ctx, p.coreManager()) }

// connect fills in what clients need, and writes the kubeconfig.
func (p *Plane) connect() error {
	content, err := p.layout.kubeconfig(fmt.Sprintf("https://127.0.0.1:%d", p.ports[apiPort]))
	if err != nil {
		return err
	}
	if err := replaceFile(p.Kubeconfig, content); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if p.Config, err = clientcmd.RESTConfigFromKubeConfig(content); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	p.Config.QPS, p.Config.Burst = 200, 400 // the server is our own
	p.CABundle = p.Config.CAData
	return nil
}
