// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	bootstrapv1 "github.com/ingot-project/cluster-api-provider-ingot/api/bootstrap/v1alpha1"
	"github.com/ingot-project/cluster-api-provider-ingot/bootstrap/controller"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/osfamily/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/render"
)

// renderOptions are the flags of ingotctl render.
type renderOptions struct {
	file, role, output string
}

func newRenderCommand() *cobra.Command {
	o := &renderOptions{}
	command := &cobra.Command{
		Use:   "render -f FILE [KIND/NAME...]",
		Short: "Print the machine configuration that machines get, and what is wrong with it",
		Long: `Print the machine configuration of everything in a file of manifests that machines are made from, for each role that it
has, and what is wrong with it. No cluster is asked. Placeholders stand for what is secret or not in the file, and notes
say for what. Neither the defaults nor the rules of the API server apply: kubectl apply --dry-run=server asks for those.

The exit code is 1 if something cannot be rendered.`,
		Example: `  ingotctl render -f cluster.yaml
  kustomize build . | ingotctl render -f - IngotControlPlane/demo -o json
  ingotctl render -f cluster.yaml MachineDeployment/demo-md-0 -o raw
  ingotctl render machine demo-md-0-x7k2p -n team`,
		RunE: func(command *cobra.Command, args []string) error {
			if o.file == "" {
				return errors.New("say what is rendered: with -f FILE, or as ingotctl render machine NAME")
			}
			objects, err := readChange(o.file, "", command.InOrStdin())
			if err != nil {
				return err
			}
			report, err := render.FromManifests(controller.Preview{Families: registry.Families()}, objects)
			if err != nil {
				return fmt.Errorf("%s: %w", o.file, err)
			}
			if len(args) > 0 {
				if report, err = report.Only(args...); err != nil {
					return err
				}
			}
			return o.print(command.OutOrStdout(), report.WithRole(bootstrapv1.Role(o.role)))
		},
	}
	command.Flags().StringVarP(&o.file, "filename", "f", "", "file with manifests; - reads them from the standard input")
	command.Flags().StringVar(&o.role, "role", "", "only this role: Init, ControlPlane or Worker")
	o.addOutput(command)
	command.AddCommand(newRenderMachineCommand())
	return command
}

func (o *renderOptions) addOutput(command *cobra.Command) {
	command.Flags().StringVarP(&o.output, "output", "o", "text", "text for people, json for programs, raw for the one configuration byte by byte")
}

func newRenderMachineCommand() *cobra.Command {
	o := &renderOptions{}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	var overrides clientcmd.ConfigOverrides
	var timeout time.Duration
	var secrets bool
	command := &cobra.Command{
		Use:   "machine NAME",
		Short: "Print the machine configuration of a Machine",
		Long: `Print the machine configuration of a Machine, rendered anew from its IngotConfig, Machine, IngotMachine and Cluster. No Secret
is read: placeholders stand for all that is secret. With --show-secrets the bootstrap data is printed as it was published,
with every key and token in it; it needs the right to read that Secret.`,
		Example: "  ingotctl render machine demo-md-0-x7k2p -n team",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			log.SetLogger(logr.Discard())
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			preview, namespace, err := newRenderPreview(clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides))
			if err != nil {
				return err
			}
			report, err := render.FromMachine(ctx, preview, client.ObjectKey{Namespace: namespace, Name: args[0]}, render.Secrets(secrets))
			if err != nil {
				return err
			}
			return o.print(command.OutOrStdout(), report)
		},
	}
	flags := command.Flags()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "kubeconfig file of the management cluster (default $KUBECONFIG or ~/.kube/config)")
	flags.StringVar(&overrides.CurrentContext, "context", "", "context in the kubeconfig file")
	flags.StringVarP(&overrides.Context.Namespace, "namespace", "n", "", "namespace of the Machine (default that of the context)")
	flags.BoolVar(&secrets, "show-secrets", false, "print what was published, with every secret in it")
	flags.DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for all answers")
	o.addOutput(command)
	return command
}

// print prints a report, and fails where it has an Error.
func (o *renderOptions) print(out io.Writer, report render.Report) error {
	write, known := map[string]func(io.Writer) error{"text": report.WriteText, "json": report.WriteJSON, "raw": report.WriteRaw}[o.output]
	if !known {
		return fmt.Errorf("--output %q is unknown: use text, json or raw", o.output)
	}
	return errors.Join(write(out), report.Err())
}

func newRenderPreview(config clientcmd.ClientConfig) (controller.Preview, string, error) {
	namespace, _, err := config.Namespace()
	if err != nil {
		return controller.Preview{}, "", err
	}
	connection, err := config.ClientConfig()
	if err != nil {
		return controller.Preview{}, "", fmt.Errorf("no management cluster: set --kubeconfig or KUBECONFIG: %w", err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, clusterv1.AddToScheme, bootstrapv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return controller.Preview{}, "", err
		}
	}
	c, err := client.New(connection, client.Options{Scheme: scheme})
	return controller.Preview{Client: c, Families: registry.Families()}, namespace, err
}
