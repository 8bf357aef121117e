// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package libvirt runs instances as QEMU domains of one libvirt host.
//
// An instance is a domain whose UUID is the machine's uuid, and volumes in one storage pool: the root disk (a copy-on-write
// layer over the image), the further disks, the carrier of the bootstrap data, the firmware's variables and the console log.
// All of them are volumes so that everything of an instance can be found and removed through the API, on whichever host
// libvirtd runs. Only the state of a TPM is where libvirt puts it, and goes with the definition.
//
// Ownership: the domain carries the owner token in an element of its own in <metadata>, written with the definition.
// Volumes hold no metadata in libvirt; their names carry the token (see names.go). Domains are only ever looked up by
// UUID and checked for the token before they are changed.
//
// What a machine takes of its host for itself (CPUs, NUMA node, devices) is chosen by pure functions from what the host
// tells, and kept in the definition alone: see the types placement and claims. What the host cannot do is refused; nothing
// is replaced by something similar.
//
// Starting: see the type stage in mark.go. Images: a copy is written under a name of its own and becomes usable when
// its seal, an empty volume, is made beside it; see image.go.
//
// Delivery: bootstrap data goes through the first channel of the OS family that libvirt has, see carrier.go; static addresses
// are reserved by the network or written on the carrier, see reservation.go and reservation_plan.go.
//
// The way to libvirtd is a dialer, one per transport (transport*.go). The session keeps one connection for calls; every
// stream (images, carriers, console logs) has one of its own. Nothing waits for a host that does not answer: see the bounds
// in session.go.
//
// What stays behind: libvirt keeps QEMU's own log of a domain, which holds its command line, on the host for ever, and has no
// call to remove it. There are no secrets in it, except where the OS family asks for the SMBIOS channel: then the bootstrap
// data is in it. It keeps the log of the making of a TPM too, which has public keys. dnsmasq keeps the lease of an address
// until it has run out, and has no call to end it.
//
// A failure that fits none of the port's errors is libvirt's own refusal in its own words; trying again can help.
//
// The files client*.go alone know go-libvirt. Nothing here knows Kubernetes, an operating system or a condition.
package libvirt
