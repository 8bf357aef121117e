// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command manager is our manager as a release has it, with the infrastructure role and nothing of the bench but what measures
// it, so that its memory is that of a release. It says what it has used for every line that it is given, and ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/registry"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/test/bench/scale/usage"
	"github.com/ingot-project/cluster-api-provider-ingot/test/managers"
)

func main() {
	flag.Parse() // --kubeconfig, which controller-runtime registers
	ctrl.SetLogger(logr.Discard())
	if err := run(context.Background(), flag.Lookup("kubeconfig").Value.String()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	meter := usage.Start(ctx)
	stop, err := managers.Start(ctx, meter.Counted(config), func(ctx context.Context) session.Opener { return registry.Opener(ctx, logr.Discard()) })
	if err != nil {
		return err
	}
	answers := json.NewEncoder(os.Stdout)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		if err := answers.Encode(meter.Used()); err != nil {
			return errors.Join(err, stop())
		}
	}
	return stop()
}
