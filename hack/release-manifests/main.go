// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command release-manifests writes the assets of a release (components of each provider role, cluster templates,
// clusterctl metadata) to the folder that it is given.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/repository"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: release-manifests FOLDER")
	}
	repo, err := components.FindRepo("")
	if err != nil {
		return err
	}
	return repository.WriteAssets(repo, args[0])
}
