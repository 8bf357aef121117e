// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hypervisor runs a private libvirtd: with its own network namespace, its own view of /run, /var and
// /etc/libvirt, its own bridge, DHCP and storage pool. The libvirtd, the firewall and the bridges of the machine are
// never touched, any number of private ones run side by side, and one call removes every trace.
//
//	host ── ingotXXXXXXXX ══ veth ══ uplink ── network namespace ── virbr0 ── guests
//
// Programs on the host reach the guests by a plain route.
//
// What lives here: the daemon with one network and one pool, and the check whether the machine can run guests. What
// never will: guests, volumes and images; those belong to the libvirt platform.
package hypervisor
