// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

// Package vsphere runs instances as virtual machines of one vCenter.
//
// An instance is a virtual machine whose instance UUID and BIOS UUID are the machine's uuid. It is made by one task: clone of
// the image's copy, final hardware, owner token, bootstrap data and first start. What a clone cannot do is done before the
// first start; see finish.go. Its disks lie in its own folder of the datastore and go with it; disks that somebody else
// attached are detached first and stay.
//
// Ownership: the extra configuration of the virtual machine holds the owner token (see mark.go), from its first moment. Virtual
// machines are only ever looked up by instance UUID, and checked for the token before they are changed. The name serves one
// purpose: a folder cannot hold it twice, so that a clone whose answer was lost is not made a second time.
//
// Tasks: what a task has come to is never guessed. One that is under way is waited for, one that cannot be read is
// platform.ErrUnreachable, and while any clone is under way whose machine is not known, nothing that was looked for and not
// found is said to be absent.
//
// Told and read: one stream of changes tells of all virtual machines and of all recent tasks, and its word is enough for what
// has ended and for what has stayed away; see mirror.go. Before anything is changed or destroyed it is read anew. What the
// session may not see is never absent; see absence.go and look.go.
//
// Started: a virtual machine that is there and not unfinished was started, because it was made and started by one task. One
// that is off is never started again, with one exception: a session that itself saw the task fail at the start.
//
// Images: the template that a NodeImage names is proved to be what the NodeImage says by the digest that is recorded in it,
// and copied once to each datastore that needs it; see image.go. Machines are clones of the copy.
//
// Delivery: bootstrap data are properties in the extra configuration, whose names and encoding the OS family states; see
// guestinfo.go. Whoever may read the configuration of the virtual machine in vCenter can read them until they are scrubbed.
//
// The files client*.go alone know govmomi. Nothing here knows Kubernetes, an operating system or a condition.
package vsphere
