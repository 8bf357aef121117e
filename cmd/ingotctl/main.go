// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command ingotctl is Ingot's command line: the quickstart, tools for node images, and a look at a machine's console. It
// parses flags and prints; what it does lives in the packages that it calls.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		stop()
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ingotctl",
		Short:         "Kubernetes nodes that are cast, not patched",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newQuickstartCommand(), newImageCommand(), newConsoleCommand())
	return root
}
