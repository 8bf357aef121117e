// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/nodeimage"
)

func newImageCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "image",
		Short: "Build and check node images",
	}
	command.AddCommand(newImageBuildCommand(), newImageCheckCommand())
	return command
}

func newImageBuildCommand() *cobra.Command {
	var version, kubernetes, output, flavor string
	var mirrors []string
	var updateLock bool
	command := &cobra.Command{
		Use:   "build",
		Short: "Build a version of Ingot OS: disk image, checksum, SBOM and NodeImage manifest",
		Long: `Build a version of Ingot OS, the node image of this project, from Debian packages and Go modules.
What does not depend on the version is kept in the cache, so a second version takes less than a minute.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			builder, err := newImageBuilder(kubernetes, func(line string) { _, _ = fmt.Fprintln(command.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			builder.Mirrors, builder.UpdateLock, builder.Flavor = mirrors, updateLock, nodeimage.Flavor(flavor)
			artefact, err := builder.Build(command.Context(), version, output)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s\n%s\n%s\n%s\n", artefact.Image, artefact.Checksum, artefact.SBOM, artefact.Manifest)
			return err
		},
	}
	command.Flags().StringVar(&version, "version", "v1.0.0", "version of the image, which every Node with it reports")
	command.Flags().StringVar(&kubernetes, "kubernetes-version", components.KubernetesVersion, "version of Kubernetes in the image: "+strings.Join(components.KubernetesVersions(), " or "))
	command.Flags().StringVar(&flavor, "flavor", string(nodeimage.FlavorIgnition), "what configures a machine on its first boot: "+strings.Join(nodeimage.Flavors(), " or "))
	command.Flags().StringVar(&output, "output", "_output/images", "folder for the image and its papers")
	command.Flags().StringArrayVar(&mirrors, "mirror", nil, "line of sources.list to take Debian packages from, for example of a snapshot; may be repeated (default: Debian's mirrors)")
	command.Flags().BoolVar(&updateLock, "update-lock", false, "record the versions of the Debian packages in the lock file of the flavor")
	return command
}

func newImageCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check IMAGE",
		Short: "Say what a disk image lacks to run under Ingot, without booting it",
		Long: `Say what a disk image has, and what it lacks to run under Ingot as an image of the family Generic or CloudInit: any
OS that Ignition or cloud-init configures and that carries containerd, kubelet and kubeadm. The image is not booted and not changed.
The exit code is 1 if it lacks something.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			findings, err := nodeimage.Check(command.Context(), args[0])
			if err != nil {
				return err
			}
			for _, finding := range findings {
				if _, err := fmt.Fprintln(command.OutOrStdout(), finding); err != nil {
					return err
				}
			}
			if nodeimage.Lacking(findings) {
				return fmt.Errorf("%s can not run under Ingot yet; the lines marked %s say what to change", args[0], nodeimage.Lacks)
			}
			return nil
		},
	}
}

// newImageBuilder is a builder for the checkout that the working directory is in.
func newImageBuilder(kubernetes string, report func(line string)) (*nodeimage.Builder, error) {
	repo, err := components.FindRepo("")
	if err != nil {
		return nil, err
	}
	cache, err := components.DefaultCache()
	if err != nil {
		return nil, err
	}
	return &nodeimage.Builder{
		Repo:     repo,
		Cache:    cache,
		Programs: &components.Builder{Repo: repo, Cache: cache, Kubernetes: kubernetes, Report: report},
		Report:   report,
	}, nil
}
