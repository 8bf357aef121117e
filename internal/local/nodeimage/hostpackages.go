// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeimage

// HostPackages are the Debian and Ubuntu packages that a build needs on the host, beside Go. Whoever prepares a host
// installs them; the builder itself installs nothing.
func HostPackages() []string {
	return []string{
		"ca-certificates",
		"cpio",                   // a test reads an initramfs with it
		"debian-archive-keyring", // verifies the packages of the image, also on Ubuntu
		"dosfstools",
		"e2fsprogs",
		"erofs-utils",
		"fdisk",
		"gcc",
		"gdisk",
		"kmod",
		"libblkid-dev", // Ignition
		"libc6-dev",
		"mmdebstrap",
		"mtools",
		"pkg-config", // Ignition
		"qemu-utils",
		"tar",
		"util-linux",
		"xorriso", // a test reads bootstrap carriers with it
	}
}
