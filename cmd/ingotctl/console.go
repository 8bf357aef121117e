// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infrav1 "github.com/ingot-project/cluster-api-provider-ingot/api/infrastructure/v1alpha1"
	ingotv1 "github.com/ingot-project/cluster-api-provider-ingot/api/ingot/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/console"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
)

func newConsoleCommand() *cobra.Command {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	var overrides clientcmd.ConfigOverrides
	var tail string
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "console MACHINE",
		Short: "Print what an IngotMachine wrote to its serial console",
		Long: `Print the end of what an IngotMachine wrote to its serial console, read from its PlatformEndpoint itself, also
when the machine does not run any more. It needs the right to read the IngotMachine, the PlatformEndpoint and the Secret
of its credentials, and this program must reach the endpoint. A console can show secrets.`,
		Example: "  ingotctl console -n team demo-workers-x7k2p --tail 16Ki",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			bytes, err := resource.ParseQuantity(tail)
			if err != nil || bytes.Value() < 1 {
				return fmt.Errorf("--tail %q is no size: use for example 64Ki", tail)
			}
			config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides)
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			reader, namespace, err := newConsoleReader(ctx, config)
			if err != nil {
				return err
			}
			text, err := reader.Read(ctx, client.ObjectKey{Namespace: namespace, Name: args[0]}, bytes.Value())
			if err != nil {
				return err
			}
			_, err = command.OutOrStdout().Write(text)
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "kubeconfig file of the management cluster (default $KUBECONFIG or ~/.kube/config)")
	flags.StringVar(&overrides.CurrentContext, "context", "", "context in the kubeconfig file")
	flags.StringVarP(&overrides.Context.Namespace, "namespace", "n", "", "namespace of the machine (default that of the context)")
	flags.StringVar(&tail, "tail", "64Ki", "how much of the end is printed")
	flags.DurationVar(&timeout, "timeout", 20*time.Second, "how long to wait for the endpoint")
	return command
}

func newConsoleReader(ctx context.Context, config clientcmd.ClientConfig) (console.Reader, string, error) {
	namespace, _, err := config.Namespace()
	if err != nil {
		return console.Reader{}, "", err
	}
	rest, err := config.ClientConfig()
	if err != nil {
		return console.Reader{}, "", fmt.Errorf("no management cluster: set --kubeconfig or KUBECONFIG: %w", err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, infrav1.AddToScheme, ingotv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return console.Reader{}, "", err
		}
	}
	c, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		return console.Reader{}, "", err
	}
	return console.Reader{Client: c, Open: registry.Opener(ctx, logr.Discard()), Clock: clock.RealClock{}}, namespace, nil
}
