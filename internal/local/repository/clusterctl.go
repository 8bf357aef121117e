// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client/cluster"
	"sigs.k8s.io/cluster-api/cmd/clusterctl/client/config"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// providerName is Ingot's name in clusterctl, in all three roles.
const providerName = "ingot"

// Init installs Cluster API and Ingot's three providers into the management cluster of the kubeconfig file, as
// "clusterctl init" does. Providers that are installed already are left alone, so that an Init that was interrupted is
// completed by the next one. The kinds of cert-manager must exist. Whether managers run is not its business.
func Init(ctx context.Context, configPath, kubeconfigPath string) error {
	settings, err := readConfig(ctx, configPath, nil)
	if err != nil {
		return err
	}
	kubeconfig := client.Kubeconfig{Path: kubeconfigPath}
	management := cluster.New(cluster.Kubeconfig(kubeconfig), settings)
	options, err := missing(ctx, management)
	if err != nil {
		return fmt.Errorf("reading which providers are installed: %w", err)
	}
	if options == nil {
		return nil
	}
	if err := awaitProbeGone(ctx, management); err != nil {
		return err
	}
	options.Kubeconfig = kubeconfig
	clusterctl, err := client.New(ctx, configPath, client.InjectConfig(settings))
	if err != nil {
		return fmt.Errorf("preparing clusterctl: %w", err)
	}
	if _, err := clusterctl.Init(ctx, *options); err != nil {
		return fmt.Errorf("clusterctl init: %w", err)
	}
	return nil
}

// missing returns what Init has to install, or nil if nothing is missing. clusterctl adds Cluster API itself.
func missing(ctx context.Context, management cluster.Client) (*client.InitOptions, error) {
	inventory := management.ProviderInventory()
	if err := inventory.EnsureCustomResourceDefinitions(ctx); err != nil {
		return nil, err
	}
	list, err := inventory.List(ctx)
	if err != nil {
		return nil, err
	}
	installed := map[clusterctlv1.ProviderType]bool{}
	for _, provider := range list.Items {
		installed[provider.GetProviderType()] = true
	}
	options := &client.InitOptions{}
	wanted := map[clusterctlv1.ProviderType]*[]string{
		clusterctlv1.InfrastructureProviderType: &options.InfrastructureProviders,
		clusterctlv1.BootstrapProviderType:      &options.BootstrapProviders,
		clusterctlv1.ControlPlaneProviderType:   &options.ControlPlaneProviders,
	}
	complete := installed[clusterctlv1.CoreProviderType]
	for kind, providers := range wanted {
		if !installed[kind] {
			*providers = []string{providerName + ":" + Version}
			complete = false
		}
	}
	if complete {
		return nil, nil //nolint:nilnil // documented: nothing is missing
	}
	return options, nil
}

// awaitProbeGone waits until the namespace in which an earlier init probed for cert-manager is gone. clusterctl would
// take the vanishing namespace for its own and then retry for minutes to create objects in it.
func awaitProbeGone(ctx context.Context, management cluster.Client) error {
	c, err := management.Proxy().NewClient(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the management cluster: %w", err)
	}
	namespace := &corev1.Namespace{}
	err = wait.PollUntilContextTimeout(ctx, time.Second, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, ctrlclient.ObjectKey{Name: "cert-manager-test"}, namespace)
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return err == nil && namespace.DeletionTimestamp.IsZero(), err
	})
	if err != nil {
		return fmt.Errorf("waiting for namespace cert-manager-test of an earlier init to go: %w", err)
	}
	return nil
}

// Cluster is the input of Generate.
type Cluster struct {
	Name, Namespace string
	// KubernetesVersion has a leading v.
	KubernetesVersion string
	// ControlPlanes and Workers are numbers of Machines.
	ControlPlanes, Workers int64
	// Flavor names a template: empty for cluster-template.yaml, else cluster-template-<flavor>.yaml.
	Flavor string
	// Variables are the template's further variables.
	Variables map[string]string
}

// Generate renders a cluster template of the repository, as "clusterctl generate cluster" does, and returns the YAML
// documents to apply. It talks to no cluster.
func Generate(ctx context.Context, configPath string, wanted Cluster) ([]byte, error) {
	settings, err := readConfig(ctx, configPath, wanted.Variables)
	if err != nil {
		return nil, err
	}
	clusterctl, err := client.New(ctx, configPath, client.InjectConfig(settings))
	if err != nil {
		return nil, fmt.Errorf("preparing clusterctl: %w", err)
	}
	template, err := clusterctl.GetClusterTemplate(ctx, client.GetClusterTemplateOptions{
		ProviderRepositorySource: &client.ProviderRepositorySourceOptions{
			InfrastructureProvider: providerName + ":" + Version,
			Flavor:                 wanted.Flavor,
		},
		TargetNamespace:          wanted.Namespace,
		ClusterName:              wanted.Name,
		KubernetesVersion:        wanted.KubernetesVersion,
		ControlPlaneMachineCount: &wanted.ControlPlanes,
		WorkerMachineCount:       &wanted.Workers,
	})
	if err != nil {
		return nil, fmt.Errorf("clusterctl generate cluster %s: %w", wanted.Name, err)
	}
	return template.Yaml()
}

// readConfig makes clusterctl see the configuration file and the variables, and nothing of the environment or of the
// configuration that a user may have for clusters elsewhere.
func readConfig(ctx context.Context, path string, variables map[string]string) (config.Client, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading clusterctl's configuration: %w", err)
	}
	var entries map[string]any
	if err := yaml.Unmarshal(content, &entries); err != nil {
		return nil, fmt.Errorf("decoding clusterctl's configuration %s: %w", path, err)
	}
	reader := config.NewMemoryReader()
	for key, value := range entries {
		text, ok := value.(string)
		if !ok {
			encoded, err := yaml.Marshal(value)
			if err != nil {
				return nil, fmt.Errorf("encoding %s of clusterctl's configuration: %w", key, err)
			}
			text = string(encoded)
		}
		reader.Set(key, text)
	}
	for name, value := range variables {
		reader.Set(name, value)
	}
	return config.New(ctx, path, config.InjectReader(reader))
}
