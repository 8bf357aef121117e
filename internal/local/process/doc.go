// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package process starts programs on this machine so that a later run finds them again, and stops exactly those.
//
// A program that was started leaves a pidfile with its process id, its start time and the boot it belongs to; all
// three must match before anything is signalled, so a process id that the kernel gave to someone else is never
// killed. The pidfile is written by the new process itself before it becomes the program: there is no moment at which
// the program runs and nobody knows.
//
// What lives here: start, adopt, stop, and the tail of a log. What never will: what the programs are, and when they
// are ready.
package process
