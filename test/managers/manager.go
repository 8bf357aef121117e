// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package managers runs whole managers inside tests, as a release runs them but for their ports. It knows no platform and makes
// no objects.
package managers

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform/session"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/setup"
)

// endBound is how long a manager may take to end.
const endBound = time.Minute

// Start runs the infrastructure role. It watches all namespaces: there is one at a time for an API server. stop ends it, and
// returns why it ended before.
func Start(ctx context.Context, config *rest.Config, opener func(context.Context) session.Opener) (stop func() error, err error) {
	options := &setup.Options{}
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := flags.Parse([]string{"--role=infrastructure", "--health-addr=0", "--diagnostics-address=0", "--insecure-diagnostics"}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- setup.Start(ctx, config, options, opener(ctx)) }()
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(endBound):
			return errors.New("the manager does not end")
		}
	}, nil
}
