// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command ingot-manager runs Ingot's Cluster API providers. It parses options and hands them to internal/setup; no
// decision is made here.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/setup"
)

func main() {
	if rehearsal.IsChild(os.Args) { // one of the manager's own, which tries a snapshot
		os.Exit(rehearsal.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	options := &setup.Options{}
	fs := pflag.NewFlagSet("ingot-manager", pflag.ContinueOnError)
	options.AddFlags(fs)
	fs.AddGoFlagSet(flag.CommandLine) // --kubeconfig, which controller-runtime registers
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	if err := fs.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := setup.Run(ctrl.SetupSignalHandler(), options); err != nil {
		fmt.Fprintln(os.Stderr, "ingot-manager:", err)
		os.Exit(1)
	}
}
