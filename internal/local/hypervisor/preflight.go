// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package hypervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Requirement is something that the machine must have before guests can run.
type Requirement struct {
	// What a person would call it.
	What string
	// Packages of Debian and Ubuntu that have it, the first that the distribution knows; empty when no package helps,
	// and Remedy says what does.
	Packages []string
	Remedy   string

	// anyOf are programs (no slash) or patterns of files, one of which must exist.
	anyOf []string
}

// requirements is the list of what is needed, in the order in which a person reads it.
func requirements() []Requirement {
	return []Requirement{
		{What: "the ip command", Packages: []string{"iproute2"}, anyOf: []string{"ip"}},
		{What: "libvirtd", Packages: []string{"libvirt-daemon"}, anyOf: []string{"libvirtd"}},
		{
			What: "libvirt's QEMU driver", Packages: []string{"libvirt-daemon-driver-qemu"},
			anyOf: []string{"/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so"},
		},
		{
			What: "libvirt's network driver", Packages: []string{"libvirt-daemon-driver-network", "libvirt-daemon"},
			anyOf: []string{"/usr/lib/*/libvirt/connection-driver/libvirt_driver_network.so"},
		},
		{
			What: "libvirt's storage driver", Packages: []string{"libvirt-daemon-driver-storage", "libvirt-daemon"},
			anyOf: []string{"/usr/lib/*/libvirt/connection-driver/libvirt_driver_storage.so"},
		},
		{What: "QEMU for x86-64", Packages: []string{"qemu-system-x86"}, anyOf: []string{"qemu-system-x86_64"}},
		{What: "qemu-img", Packages: []string{"qemu-utils"}, anyOf: []string{"qemu-img"}},
		{What: "dnsmasq", Packages: []string{"dnsmasq-base"}, anyOf: []string{"dnsmasq"}},
		{
			What: "UEFI firmware for guests", Packages: []string{"ovmf"},
			anyOf: []string{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"},
		},
		{
			What: "the device /dev/net/tun", anyOf: []string{"/dev/net/tun"},
			Remedy: "load the kernel module tun (modprobe tun); a container needs the device passed in",
		},
	}
}

// Preflight returns what the machine lacks; nothing means that Start can work.
func Preflight() []Requirement {
	var missing []Requirement
	for _, r := range requirements() {
		if !r.met() {
			missing = append(missing, r)
		}
	}
	if os.Geteuid() != 0 {
		missing = append(missing, Requirement{
			What:   "root",
			Remedy: "run it with sudo; a private libvirtd makes a network namespace and a bridge",
		})
	}
	return missing
}

// HostPackages are the Debian or Ubuntu packages to install for what is missing, without duplicates. known says whether
// the distribution has a package of that name; releases cut libvirt into packages differently.
func HostPackages(missing []Requirement, known func(pkg string) bool) []string {
	var packages []string
	for _, r := range missing {
		if i := slices.IndexFunc(r.Packages, known); i >= 0 && !slices.Contains(packages, r.Packages[i]) {
			packages = append(packages, r.Packages[i])
		}
	}
	return packages
}

// String is a sentence that says what is missing and what to do.
func (r Requirement) String() string {
	if r.Remedy != "" {
		return fmt.Sprintf("%s is missing: %s", r.What, r.Remedy)
	}
	return fmt.Sprintf("%s is missing: install the package %s", r.What, r.Packages[0])
}

func (r Requirement) met() bool {
	return slices.ContainsFunc(r.anyOf, func(pattern string) bool {
		if filepath.Base(pattern) == pattern {
			_, err := os.Stat(program(pattern))
			return err == nil
		}
		found, err := filepath.Glob(pattern)
		return err == nil && len(found) > 0
	})
}

// program is the path of a system program. The path of an ordinary user often lacks the sbin folders.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}
