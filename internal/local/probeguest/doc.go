// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package probeguest builds the probe guest and reads what it says. The probe guest is a disk image of a few megabytes
// that boots through BIOS, through UEFI, and through UEFI with secure boot and Microsoft's keys. Its only program,
// nodeimage/probeguest in the checkout, prints on the serial console what the machine looks like from inside: firmware,
// TPM, disks, networks, and digests of the data that was delivered to it. Tests compare that with what was declared.
//
// What lives here: the image, and the reading of a console. What never will: starting a machine.
package probeguest
