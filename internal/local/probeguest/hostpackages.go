// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package probeguest

// HostPackages are the Debian and Ubuntu packages that a build of the probe guest needs on the host, beside Go, and
// those with which tests boot it in every way.
func HostPackages() []string {
	return []string{
		"debian-archive-keyring", // verifies the packages of the image, also on Ubuntu
		"dosfstools",
		"gdisk",
		"kmod",
		"libdevmapper1.02.1", // GRUB's program that makes its image for BIOS
		"mmdebstrap",
		"mtools",
		"ovmf",
		"qemu-system-x86",
		"qemu-utils",
		"swtpm",
		"swtpm-tools",
		"util-linux",
		"xorriso", // a test makes an ISO 9660 volume with another program than ours
	}
}
