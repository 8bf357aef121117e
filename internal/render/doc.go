// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package render is what ingotctl render does: it shows the machine configuration that a Machine gets, or that machines of
// manifests in a file would get, and what is wrong with them. It renders by the functions of the controller
// (bootstrap/controller) and the OS families, from inputs in which placeholders stand for all that is secret: what was never
// read cannot be shown. The package writes nothing to any cluster, and knows no format.
package render
