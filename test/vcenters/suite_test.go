// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vcenters_test

import (
	"os"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ingot-project/cluster-api-provider-ingot/test/builder"
)

var (
	apiServer client.WithWatch
	apiConfig *rest.Config
)

func TestMain(m *testing.M) {
	os.Exit(builder.RunWithConfig(m.Run, func(config *rest.Config, c client.WithWatch) { apiConfig, apiServer = config, c }))
}
