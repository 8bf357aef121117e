// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package quickstart

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/managementplane"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
)

// managerName is the name of the manager's process and program.
const managerName = "ingot-manager"

// webhookPort is the name under which the port of the manager's webhooks is kept.
const webhookPort = managerName + "-webhook"

const (
	// stopGrace is how long the manager may take to end.
	stopGrace = 20 * time.Second
	// managerLimit is how long the manager may take to be ready.
	managerLimit = 2 * time.Minute
)

// hostPrograms are the programs that run on this machine; those of the node image are built with it.
func hostPrograms() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "cluster-api-core", "kubectl"}
}

// buildPrograms builds what runs on this machine, the manager from the checkout as it is.
func (q *quickstart) buildPrograms(ctx context.Context) error {
	programs, err := q.programs.Build(ctx, hostPrograms()...)
	if err != nil {
		return err
	}
	if err := q.linkKubectl(programs["kubectl"]); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", q.path("bin", managerName), ".")
	build.Dir = q.Repo
	q.indented("building " + managerName)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", managerName, err, lastLines(string(out)))
	}
	return nil
}

// linkKubectl puts kubectl where the lines that the story prints at its end call it.
func (q *quickstart) linkKubectl(program string) error {
	if err := os.MkdirAll(q.path("bin"), 0o755); err != nil {
		return err
	}
	link := q.path("bin", "kubectl")
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(program, link)
}

// startHypervisor starts the libvirtd that belongs to the quickstart alone, and finds out how guests run.
func (q *quickstart) startHypervisor(ctx context.Context) (err error) {
	var why string
	q.acceleration, why = hypervisor.DetectAcceleration(ctx)
	q.indented(why)
	q.host, err = hypervisor.Start(ctx, q.hypervisorOptions())
	if err != nil {
		return err
	}
	q.say("      network %s, control plane endpoint %s", q.host.Subnet, q.host.VIP)
	return os.MkdirAll(q.consoleDir(), 0o755)
}

func (q *quickstart) hypervisorOptions() hypervisor.Options {
	return hypervisor.Options{Name: clusterName, StateDir: q.path("libvirt")}
}

// accelerationName is the acceleration as PlatformEndpoint names it.
func (q *quickstart) accelerationName() string {
	if q.acceleration == hypervisor.KVM {
		return "KVM"
	}
	return "Emulated"
}

// startManagement starts the API server of the management cluster.
func (q *quickstart) startManagement(ctx context.Context) error {
	plane, err := managementplane.Start(ctx, managementplane.Options{StateDir: q.planeDir(), Builder: q.programs, ControllerManager: true})
	if err != nil {
		return err
	}
	q.plane = plane
	if q.management, err = newClient(plane.Kubeconfig); err != nil {
		return err
	}
	return managementplane.InstallCertManagerKinds(ctx, plane.Config)
}

func (q *quickstart) planeDir() string { return q.path("plane") }

// initProviders installs Cluster API and Ingot with clusterctl, and runs their managers as processes of this machine:
// the management cluster has no nodes for their Deployments.
func (q *quickstart) initProviders(ctx context.Context) error {
	core, err := q.coreRelease(ctx)
	if err != nil {
		return err
	}
	if q.clusterctl, err = repository.Build(repository.Options{Repo: q.Repo, Dir: q.path("repository"), Core: core}); err != nil {
		return err
	}
	if err := repository.Init(ctx, q.clusterctl, q.plane.Kubeconfig); err != nil {
		return err
	}
	port, err := q.plane.Port(ctx, webhookPort)
	if err != nil {
		return err
	}
	urls := map[types.NamespacedName]string{managementplane.CoreService(): q.plane.CoreURL()}
	for _, service := range repository.WebhookServices() {
		urls[service] = fmt.Sprintf("https://127.0.0.1:%d", port)
	}
	if err := managementplane.RedirectWebhooks(ctx, q.management, urls, q.plane.CABundle); err != nil {
		return err
	}
	if err := q.plane.StartCore(ctx); err != nil {
		return err
	}
	return q.startManager(ctx)
}

func (q *quickstart) coreRelease(ctx context.Context) (repository.Core, error) {
	manifests, err := managementplane.CoreComponents(ctx, q.programs)
	if err != nil {
		return repository.Core{}, err
	}
	dir, err := q.programs.ModuleDir(ctx, "sigs.k8s.io/cluster-api")
	if err != nil {
		return repository.Core{}, err
	}
	metadata, err := os.ReadFile(filepath.Join(dir, "metadata.yaml"))
	return repository.Core{Version: components.ClusterAPIVersion, Components: manifests, Metadata: metadata}, err
}

// startManager starts Ingot's manager from the checkout as it is now; one of an earlier run gives way. A manager may be
// ended at any moment, that is one of the things that it is built for.
func (q *quickstart) startManager(ctx context.Context) error {
	if err := q.stopManager(ctx); err != nil {
		return err
	}
	health, err := q.plane.Port(ctx, managerName+"-health")
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", health)
	restore, err := q.plane.Port(ctx, managerName+"-restore")
	if err != nil {
		return err
	}
	webhooks, err := q.plane.Port(ctx, webhookPort)
	if err != nil {
		return err
	}
	restores := fmt.Sprintf("%s:%d", q.host.Host, restore)
	manager, err := process.Start(process.Spec{
		Name: managerName,
		Path: q.path("bin", managerName),
		Args: []string{
			"--kubeconfig", q.plane.Kubeconfig,
			"--health-addr", address,
			"--snapshot-directory", q.path("snapshots"),
			"--scratch-directory", q.path("scratch"),
			"--restore-directory", q.path("restored"),
			"--restore-bind-address", restores,
			"--restore-url", "https://" + restores,
			"--webhook-port", strconv.Itoa(webhooks),
			"--webhook-cert-dir", q.plane.ServingDir,
			"--diagnostics-address", "0", // no metrics: nobody scrapes them here
			"--insecure-diagnostics",
		},
		Env:     os.Environ(),
		Log:     q.path(managerName + ".log"),
		PIDFile: q.managerPIDFile(),
	})
	if err != nil {
		return err
	}
	return q.awaitManager(ctx, manager, "http://"+address+"/readyz")
}

// awaitManager waits until the manager says that it is ready, or ends.
func (q *quickstart) awaitManager(ctx context.Context, manager *process.Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, managerLimit)
	defer cancel()
	for {
		if !manager.Running() {
			return errors.New(manager.Ending())
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s; its log is %s", managerName, short(managerLimit), manager.Log())
		case <-q.Clock.After(pollEvery):
		}
	}
}

func (q *quickstart) stopManager(ctx context.Context) error {
	return process.Stop(ctx, managerName, q.managerPIDFile(), stopGrace)
}

func (q *quickstart) managerPIDFile() string { return q.path(managerName + ".pid") }

// consoleDir is where the console logs of the machines are.
func (q *quickstart) consoleDir() string { return q.path("libvirt") }

// kubectl is the command line for the management cluster, or for the kubeconfig file with the given name.
func (q *quickstart) kubectl(name string) string {
	file := filepath.Join(q.planeDir(), "kubeconfig")
	if name != "" {
		file = q.path(name)
	}
	return fmt.Sprintf("%s --kubeconfig %s", q.path("bin", "kubectl"), file)
}

// Down removes everything that Up made: VMs, volumes, networks, processes, files. Programs and images stay in the
// cache. It may be repeated, and works on what an interrupted Up left.
func Down(ctx context.Context, o Options) error {
	q := &quickstart{Options: o, teller: newTeller(o.Out, o.Clock)}
	q.programs = &components.Builder{Repo: o.Repo, Cache: o.Cache, Report: q.indented}
	q.say("removing the quickstart in %s", q.State)
	err := errors.Join(
		q.stopManager(ctx),
		managementplane.Remove(ctx, q.planeDir()),
		hypervisor.Stop(ctx, q.hypervisorOptions()),
	)
	if err != nil {
		return fmt.Errorf("not everything could be removed, run it again: %w", err)
	}
	if err := os.RemoveAll(q.State); err != nil {
		return err
	}
	q.say("nothing of it is left; programs and images for the next time stay in %s", q.Cache)
	return nil
}

func newClient(kubeconfigPath string) (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfigPath)
	if err != nil {
		return nil, err
	}
	scheme, err := scheme()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}
