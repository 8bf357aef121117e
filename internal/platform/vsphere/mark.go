// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// Keys of the extra configuration of a virtual machine. A guest cannot change them. They are written by the call that makes
// the virtual machine, so that there never is one of ours without them.
const (
	machineKey    = "ingot.machine"           // the machine's uuid: half of the owner token
	clusterKey    = "ingot.managementCluster" // the management cluster's id: the other half
	storageKey    = "ingot.storage"           // where the disks are, the rest of the identity
	imageKey      = "ingot.image"             // digest of the image, if the root disk is a layer over it
	addressesKey  = "ingot.addresses"         // the static addresses, in order
	disksKey      = "ingot.disks"             // the names of the further disks, in order
	bootstrapKey  = "ingot.bootstrap"         // the properties that hold bootstrap data; gone after the scrub
	unfinishedKey = "ingot.unfinished"        // on a machine that was not started yet: more than its clone is to be done before
	copyKey       = "ingot.copyOf"            // on a copy of an image: the digest and the storage
	groupKey      = "ingot.group"             // the group of virtual machines that are kept on different hosts; see apart.go
	hostGroupKey  = "ingot.hostGroup"         // the group of virtual machines that are bound to hosts; see bind.go
	importKey     = "ingot.importOf"          // on an import that is not a copy yet: its own uuid, the digest and the storage

	// digestKey is on templates that people name in NodeImages: the digest of the artefact that they were made from.
	digestKey = "ingot.image.sha256"
)

// mark is the owner token of a virtual machine with what must be remembered beside it.
type mark struct {
	machine, cluster string
	storage          string
	image            string
	addresses        []string
	disks            []string
	bootstrap        []string
	unfinished       bool
	copyOf, importOf string
	group            string
	hostGroup        string
}

// markKeys are all keys of a mark.
func markKeys() []string {
	return []string{machineKey, clusterKey, storageKey, imageKey, addressesKey, disksKey, bootstrapKey, unfinishedKey, copyKey, importKey, groupKey, hostGroupKey}
}

// owns returns whether the mark is the owner token of id.
func (m mark) owns(id platform.Identity) bool {
	return m.machine == id.UUID && m.cluster == id.ManagementClusterID
}

// extra is the mark as extra configuration.
func (m mark) extra() map[string]string {
	unfinished := ""
	if m.unfinished {
		unfinished = "not started yet"
	}
	return map[string]string{
		unfinishedKey: unfinished,
		machineKey:    m.machine, clusterKey: m.cluster, storageKey: m.storage, imageKey: m.image, copyKey: m.copyOf, groupKey: m.group, hostGroupKey: m.hostGroup,
		addressesKey: strings.Join(m.addresses, ","), disksKey: strings.Join(m.disks, ","), bootstrapKey: strings.Join(m.bootstrap, ","),
	}
}

func readMark(extra map[string]string) mark {
	list := func(key string) []string {
		return slices.DeleteFunc(strings.Split(extra[key], ","), func(s string) bool { return s == "" })
	}
	return mark{
		machine: extra[machineKey], cluster: extra[clusterKey], storage: extra[storageKey], image: extra[imageKey], copyOf: extra[copyKey], importOf: extra[importKey],
		group:     extra[groupKey],
		hostGroup: extra[hostGroupKey],
		addresses: list(addressesKey), disks: list(disksKey), bootstrap: list(bootstrapKey),
		unfinished: extra[unfinishedKey] != "",
	}
}

func compare(a, b string) int { return cmp.Compare(a, b) }

// isClone tells whether a task makes a virtual machine from another one, by vCenter's name for what it does.
func isClone(descriptionID string) bool {
	return strings.HasPrefix(descriptionID, "VirtualMachine.clone")
}
