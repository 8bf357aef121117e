// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package firstboot has the real cloud-init of Debian do the first boot of a machine that is no more than a folder: it
// judges user data, writes files and runs commands there, as it would on a node. cloud-init is never installed on this
// machine, where it would set up the next boot; Debian's package and what it calls are unpacked into a folder of the cache,
// and run in namespaces of their own. No systemd runs there: what it is told is written down.
package firstboot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/utils/clock"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/assembly"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/components"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/process"
)

// HostPackages are the Debian and Ubuntu packages that are needed on the host.
func HostPackages() []string {
	return []string{
		"debian-archive-keyring", // verifies the packages, also on Ubuntu
		"mmdebstrap",
		"util-linux",
	}
}

const (
	// debianSuite is the release whose cloud-init runs.
	debianSuite = "bookworm"
	// debianPackages are cloud-init and what it calls without saying so, because every Debian has it.
	debianPackages = "cloud-init,coreutils,dash,hostname"
)

// Root returns a folder of the cache that holds cloud-init and everything that it needs. It must not be written to.
// Report receives one line for each thing that a person may have to wait for, and may be nil.
func Root(ctx context.Context, report func(line string)) (string, error) {
	if err := checkHost(); err != nil {
		return "", err
	}
	cache, err := components.DefaultCache()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "firstboot")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("cache for cloud-init: %w; set INGOT_CACHE to a folder that can be written", err)
	}
	say := func(format string, args ...any) {
		if report != nil {
			report(fmt.Sprintf(format, args...))
		}
	}
	unlock, err := process.Lock(ctx, filepath.Join(root, ".lock"), func() { say("waiting for another process that unpacks cloud-init") })
	if err != nil {
		return "", err
	}
	defer unlock()
	stages := &assembly.Stages{Root: root, Report: say, Clock: clock.RealClock{}}
	if err := stages.Sweep(); err != nil {
		return "", err
	}
	in := &assembly.Inputs{}
	in.Value("suite", debianSuite)
	in.Value("packages", debianPackages)
	key, err := in.Key()
	if err != nil {
		return "", err
	}
	return stages.Run("root", "downloading Debian's cloud-init", key, func(dir string) error { return unpack(ctx, dir) })
}

// unpack fills dir. The variant extract runs no script of any package.
func unpack(ctx context.Context, dir string) error {
	// Namespaces of its own, so that a killed build leaves neither processes nor mounts in a folder that is then removed.
	mmdebstrap := assembly.Tool{Name: "unshare", Args: []string{
		"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "mmdebstrap", "--mode=root", "--format=directory",
		"--variant=extract", "--include=" + debianPackages, debianSuite, dir,
	}}
	if err := mmdebstrap.Run(ctx); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "usr/share")) // papers, a third of it
}

func checkHost() error {
	if os.Geteuid() != 0 {
		return errors.New("cloud-init is run as root, as on a node; run with sudo")
	}
	for _, name := range []string{"chroot", "cp", "mmdebstrap", "mount", "sh", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("program %s is missing; install the packages %v", name, HostPackages())
		}
	}
	return nil
}
