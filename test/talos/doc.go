// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package talos has older releases of Talos' machinery judge what is written for them. The rest of Ingot uses the newest one, which
// reads more than machines of older releases do. It is a module of its own, with one file of requirements for each release:
// go.mod for 1.13, and 1.12.mod.
package talos
