// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/quickstart"
)

func newQuickstartCommand() *cobra.Command {
	options := quickstart.Options{Clock: clock.RealClock{}}
	command := &cobra.Command{
		Use:   "quickstart",
		Short: "Make a cluster on VMs of this machine, and upgrade the OS of its workers by replacing them",
		Long: `Make a Kubernetes cluster on real VMs of this machine, without an external cluster, container engine or image
registry, and upgrade the OS of its workers by replacing their Machines. The cluster keeps running.
A run that was interrupted is continued by the next one.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := complete(&options); err != nil {
				return err
			}
			options.In, options.Out = command.InOrStdin(), command.OutOrStdout()
			return quickstart.Up(command.Context(), options)
		},
	}
	flags := command.Flags()
	flags.IntVar(&options.ControlPlanes, "control-planes", 1, "number of control planes: 1 or 3")
	flags.IntVar(&options.Workers, "workers", 1, "number of workers; without any, nothing is replaced")
	flags.StringVar(&options.KubernetesVersion, "kubernetes-version", components.KubernetesVersion, "Kubernetes version of the cluster")
	flags.StringVar(&options.FromImage, "from-image", "v1.0.0", "version of the node image to begin with")
	flags.StringVar(&options.ToImage, "to-image", "v1.1.0", "version of the node image that the workers are replaced by")
	flags.BoolVar(&options.Yes, "yes", false, "install missing packages without asking")
	command.PersistentFlags().StringVar(&options.State, "state", "", "folder for the state (default $XDG_STATE_HOME/ingot)")
	command.AddCommand(newQuickstartDownCommand(&options))
	return command
}

func newQuickstartDownCommand(options *quickstart.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove everything that the quickstart made; built programs and images stay in the cache",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := complete(options); err != nil {
				return err
			}
			options.Out = command.OutOrStdout()
			return quickstart.Down(command.Context(), *options)
		},
	}
}

// complete fills in what the flags leave open.
func complete(options *quickstart.Options) (err error) {
	if options.Repo, err = components.FindRepo(""); err != nil {
		return err
	}
	if options.Cache, err = components.DefaultCache(); err != nil {
		return err
	}
	if options.State == "" {
		options.State, err = quickstart.DefaultState()
	}
	return err
}
