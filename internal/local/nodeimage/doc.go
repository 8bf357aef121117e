// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package nodeimage builds Ingot OS, the project's own node image, and checks whether any image could run under Ingot.
//
// A build goes through stages whose results are kept in a cache by a hash of their inputs, so that version 2 of an
// image only pays for what carries its version. The content of the OS (packages, units, scripts) is data in the
// folder nodeimage of the checkout; this package only assembles it.
//
// What lives here: the stages, the image's papers (checksum, SBOM, NodeImage manifest) and the check. What never will:
// booting an image, putting one on a platform, and configuration of a single machine.
package nodeimage
