// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"path/filepath"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
)

// nodePrograms maps each Go program that runs on the node itself to its place in the root.
func nodePrograms(flavor Flavor) map[string]string {
	programs := map[string]string{
		"kubelet":                 "usr/bin/kubelet",
		"kubeadm":                 "usr/bin/kubeadm",
		"kubectl":                 "usr/bin/kubectl",
		"containerd":              "usr/bin/containerd",
		"containerd-shim-runc-v2": "usr/bin/containerd-shim-runc-v2",
		"ctr":                     "usr/bin/ctr",
		"bridge":                  "usr/lib/cni/bridge",
		"host-local":              "usr/lib/cni/host-local",
		"portmap":                 "usr/lib/cni/portmap",
	}
	if flavor == FlavorIgnition {
		programs["ignition"] = "usr/lib/ingot/ignition"
	}
	return programs
}

// programNames are all Go programs of an image, on the node or in a container image.
func programNames(flavor Flavor) []string {
	names := []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns", "flanneld",
	}
	for name := range nodePrograms(flavor) {
		names = append(names, name)
	}
	return names
}

// moduleVersion is the version of the Go module that a program was built from.
func moduleVersion(program string) (string, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", filepath.Base(program), err)
	}
	return info.Main.Version, nil
}

// Our own programs, which the helpers stage holds.
const (
	helperPause = "pause" // the first process of every pod
	helperProbe = "probe" // shows from inside a pod what the network can do
)

// probeVersion is the tag of the probe's container image.
const probeVersion = "v1"

// buildHelpers compiles the programs whose source is in the checkout.
func (r *build) buildHelpers(ctx context.Context) error {
	in := &assembly.Inputs{}
	in.Files(r.source(helperPause), r.source(helperProbe))
	versions, err := r.compilers(ctx)
	if err != nil {
		return err
	}
	in.Value("compilers", versions)
	key, err := in.Key()
	if err != nil {
		return err
	}
	r.helpers, err = r.stages.Run("helpers", "compiling helpers", key, func(dir string) error {
		pause := assembly.Tool{Name: "gcc", Args: []string{
			"-static", "-Os", "-s", "-Wall", "-Werror", "-o", filepath.Join(dir, helperPause), r.source(helperPause, "pause.c"),
		}}
		if err := pause.Run(ctx); err != nil {
			return err
		}
		return assembly.Tool{Name: "go", Dir: r.repo, Env: []string{"CGO_ENABLED=0"}, Args: []string{
			"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, helperProbe),
			"./nodeimage/" + helperProbe,
		}}.Run(ctx)
	})
	return err
}

func (r *build) compilers(ctx context.Context) (string, error) {
	gcc, err := assembly.Tool{Name: "gcc", Args: []string{"-dumpfullversion"}}.Output(ctx)
	if err != nil {
		return "", err
	}
	golang, err := assembly.Tool{Name: "go", Args: []string{"env", "GOVERSION"}, Dir: r.repo}.Output(ctx)
	if err != nil {
		return "", err
	}
	return gcc + golang, nil
}

// program is the path on this host of a program by its name.
func (r *build) program(name string) string {
	switch name {
	case helperPause, helperProbe:
		return filepath.Join(r.helpers, name)
	default:
		return r.programs[name]
	}
}
