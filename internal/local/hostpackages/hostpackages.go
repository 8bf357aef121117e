// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostpackages finds out which Debian or Ubuntu packages this machine lacks to build node images and to run
// guests, and installs them. What is needed is said by the packages that need it; nothing else about the machine is
// checked or changed here.
package hostpackages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/hypervisor"
	"github.com/ingot-project/cluster-api-provider-ingot/internal/local/nodeimage"
)

// ErrDeclined is returned when a person did not want packages to be installed.
var ErrDeclined = errors.New("packages are missing")

// Run runs a program and returns what it printed, both streams.
type Run func(ctx context.Context, name string, args ...string) ([]byte, error)

// Installer installs what is missing.
type Installer struct {
	// Confirm is asked before anything is changed. Nil means yes.
	Confirm func(packages []string) bool
	// Report receives one line for each thing a person may have to wait for. It may be nil.
	Report func(line string)
	// Run runs programs; nil runs them on this machine, as root or through sudo where that is needed.
	Run Run
	// Missing are requirements of guests that are not met; nil asks the machine.
	Missing []hypervisor.Requirement
	// More are packages beside those that node images and guests need.
	More []string
}

// Ensure installs the packages that are missing. It does nothing, and needs no rights, when there are none.
func (i Installer) Ensure(ctx context.Context) error {
	if i.Run == nil {
		i.Run = onThisMachine
	}
	if i.Missing == nil {
		i.Missing = hypervisor.Preflight()
	}
	missing := i.missing(ctx)
	if len(missing) == 0 {
		return nil
	}
	if _, err := i.Run(ctx, "apt-get", "--version"); err != nil {
		return fmt.Errorf("this machine has no apt-get and lacks what these Debian packages hold, install it: %s", strings.Join(missing, " "))
	}
	if i.Confirm != nil && !i.Confirm(missing) {
		return fmt.Errorf("%w: apt-get install %s", ErrDeclined, strings.Join(missing, " "))
	}
	i.report("installing packages: " + strings.Join(missing, " "))
	if err := i.apt(ctx, "update", "-qq"); err != nil {
		return err
	}
	missing = i.missing(ctx) // with fresh lists, names of this release are known
	return i.apt(ctx, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)...)
}

// missing returns the names of the packages to install, sorted.
func (i Installer) missing(ctx context.Context) []string {
	wanted := append(nodeimage.HostPackages(), hypervisor.HostPackages(i.Missing, i.known(ctx))...)
	wanted = append(wanted, i.More...)
	slices.Sort(wanted)
	return slices.DeleteFunc(slices.Compact(wanted), func(name string) bool {
		out, err := i.Run(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", name)
		return err == nil && string(out) == "installed"
	})
}

// known says whether the distribution has a package. A machine that never ran apt-get update knows of none, and then
// every name passes until it did.
func (i Installer) known(ctx context.Context) func(name string) bool {
	show := func(name string) bool {
		_, err := i.Run(ctx, "apt-cache", "show", name)
		return err == nil
	}
	if !show("qemu-system-x86") {
		return func(string) bool { return true }
	}
	return show
}

func (i Installer) apt(ctx context.Context, args ...string) error {
	out, err := i.Run(ctx, "apt-get", args...)
	if err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, tail(string(out), 5))
	}
	return nil
}

func (i Installer) report(line string) {
	if i.Report != nil {
		i.Report(line)
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// onThisMachine runs a program; apt-get through sudo where the caller is not root.
func onThisMachine(ctx context.Context, name string, args ...string) ([]byte, error) {
	changes := name == "apt-get" && args[0] != "--version"
	if changes && os.Geteuid() != 0 {
		args = append([]string{"-n", "DEBIAN_FRONTEND=noninteractive", name}, args...)
		name = "sudo"
	}
	command := exec.CommandContext(ctx, name, args...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return command.CombinedOutput()
}
