// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Command host-packages installs the Debian or Ubuntu packages that the tests, the node image and the quickstart need
// on this machine, without asking. It prints what it installs, and nothing when nothing is missing.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/firstboot"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hostpackages"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/probeguest"
)

func main() {
	installer := hostpackages.Installer{
		Report: func(line string) { _, _ = fmt.Fprintln(os.Stderr, line) },
		More:   slices.Concat(probeguest.HostPackages(), firstboot.HostPackages(), []string{"libvirt-clients"}), // virsh, which a benchmark compares with
	}
	if err := installer.Ensure(context.Background()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
