// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command ingotctl is Ingot's command line: the quickstart, tools for node images, a look at a machine's console, the plan for a
// control plane and its snapshots of etcd, and the configuration of machines. It parses flags and prints; what it does lives in the packages that it calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ingot-project/cluster-api-provider-ingot/controlplane/backup/rehearsal"
)

func main() {
	if rehearsal.IsChild(os.Args) {
		os.Exit(rehearsal.Main(os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		if end, is := errors.AsType[*exitError](err); is {
			stop()
			os.Exit(end.code)
		}
		fmt.Fprintln(os.Stderr, "Error:", err)
		stop()
		os.Exit(1)
	}
}

// exitError is how the program ends although nothing failed.
type exitError struct{ code int }

// Error implements error.
func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ingotctl",
		Short:         "Kubernetes nodes that are cast, not patched",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newQuickstartCommand(), newImageCommand(), newConsoleCommand(), newPlanCommand(), newRenderCommand(), newEtcdCommand())
	return root
}
