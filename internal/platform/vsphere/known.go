// Copyright The Ingot Authors.
// SPDX-License-Identifier: Apache-2.0

package vsphere

import (
	"slices"
	"sync"
	"time"

	"github.com/ingot-project/cluster-api-provider-ingot/internal/platform"
)

// known is what a session remembers of the inventory, to ask once for what stays as it is. Every use of it meets a refusal
// when it is wrong, and then it is forgotten. The zero value is ready to use.
type known struct {
	mu       sync.Mutex
	places   map[string]ref
	backings map[string]backing
	sources  map[string]*source // copies of images that are complete, by instance UUID
	vms      map[string][]ref   // by instance UUID
	policies map[fit]policyFound
	versions map[ref][]int32 // hardware versions that all hosts offer, by resource pool
	devices  map[ref]map[deviceKind]bool
	tags     map[platform.Tag]tagFound
	choices  map[platform.StorageWish]choiceFound
	grouped  map[hostsKey]hostsFound
	networks map[string]networkNode
	trees    map[string]treeFound
}

const (
	// policyAge is how long a datastore is believed to be compatible with a storage policy: nothing tells when it is not any
	// more, and vCenter would not refuse it.
	policyAge = 10 * time.Minute
	// missingAge is how long a tag that was not found is believed not to be there, and how long the networks of a datacenter are
	// believed to be all: looking for one is much to read, and many machines may look for the same.
	missingAge = 10 * time.Second
	// choiceAge is how long a datastore that was chosen by a policy is chosen again without asking, and hosts of a group are
	// believed to work: nothing tells of room that was taken meanwhile, or of a host that was taken out.
	choiceAge = time.Minute
)

// policyFound is the identifier of a storage policy, and when it was found that the datastore is compatible with it.
type policyFound struct {
	id   string
	read time.Time
}

// choiceFound is the storage that was chosen for a wish, or why there is none, and when that was.
type choiceFound struct {
	storage string
	refused error
	read    time.Time
}

// hostsKey is a resource pool, a datastore and the name of a group of hosts, and hostsFound are the hosts of the group on which
// something can be made there, and when that was read.
type (
	hostsKey struct {
		pool, datastore ref
		group           string
	}
	hostsFound struct {
		hosts []ref
		read  time.Time
	}
)

// tagFound are the identifiers of the tags that have a name in a category, how many categories have that name, and when that
// was read.
type tagFound struct {
	ids        []string
	categories int
	read       time.Time
}

// treeFound are the networks of a datacenter, and when they were read.
type treeFound struct {
	tree networkTree
	read time.Time
}

// fit is a storage policy by name, and a datastore that is compatible with it.
type fit struct {
	policy    string
	datastore ref
}

// forget forgets everything but tags, which no clone fails by.
func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places, k.backings, k.sources, k.vms = nil, nil, nil, nil
	k.policies, k.versions, k.devices = nil, nil, nil
	k.choices, k.grouped = nil, nil
	k.networks, k.trees = nil, nil
}

func (k *known) forgetTags() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tags = nil
}

func recall[K comparable, V any](k *known, from *map[K]V, key K) (V, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := (*from)[key]
	return found, ok
}

func remember[K comparable, V any](k *known, in *map[K]V, key K, value V) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if *in == nil {
		*in = map[K]V{}
	}
	(*in)[key] = value
}

func drop[K comparable, V any](k *known, from *map[K]V, key K) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(*from, key)
}

func (k *known) place(path string) (ref, bool) { return recall(k, &k.places, path) }

func (k *known) putPlace(path string, r ref) { remember(k, &k.places, path, r) }

func (k *known) network(path string) (networkNode, bool) { return recall(k, &k.networks, path) }

func (k *known) putNetwork(path string, n networkNode) { remember(k, &k.networks, path, n) }

func (k *known) networkTree(root string, now time.Time) (tree networkTree, ok bool) {
	found, ok := recall(k, &k.trees, root)
	return found.tree, ok && now.Sub(found.read) < missingAge
}

func (k *known) putNetworkTree(root string, tree networkTree, now time.Time) {
	remember(k, &k.trees, root, treeFound{tree, now})
}

func (k *known) backing(path string) (backing, bool) { return recall(k, &k.backings, path) }

func (k *known) putBacking(path string, b backing) { remember(k, &k.backings, path, b) }

func (k *known) policy(of fit, now time.Time) (id string, ok bool) {
	found, ok := recall(k, &k.policies, of)
	return found.id, ok && now.Sub(found.read) < policyAge
}

func (k *known) putPolicy(of fit, id string, now time.Time) {
	remember(k, &k.policies, of, policyFound{id, now})
}

func (k *known) tag(t platform.Tag, now time.Time) (found tagFound, ok bool) {
	found, ok = recall(k, &k.tags, t)
	return found, ok && (len(found.ids) == 1 && found.categories == 1 || now.Sub(found.read) < missingAge)
}

func (k *known) putTag(t platform.Tag, found tagFound) { remember(k, &k.tags, t, found) }

func (k *known) choice(wish platform.StorageWish, now time.Time) (found choiceFound, ok bool) {
	found, ok = recall(k, &k.choices, wish)
	age := choiceAge
	if found.refused != nil {
		age = missingAge
	}
	return found, ok && now.Sub(found.read) < age
}

func (k *known) putChoice(wish platform.StorageWish, found choiceFound) {
	remember(k, &k.choices, wish, found)
}

func (k *known) hostsIn(of hostsKey, now time.Time) (hosts []ref, ok bool) {
	found, ok := recall(k, &k.grouped, of)
	return found.hosts, ok && now.Sub(found.read) < choiceAge
}

func (k *known) putHosts(of hostsKey, hosts []ref, now time.Time) {
	remember(k, &k.grouped, of, hostsFound{hosts, now})
}

// offers tells whether all hosts behind a resource pool are known to offer a hardware version.
func (k *known) offers(pool ref, version int32) bool {
	offered, _ := recall(k, &k.versions, pool)
	return slices.Contains(offered, version)
}

func (k *known) putVersions(pool ref, versions []int32) { remember(k, &k.versions, pool, versions) }

// has tells whether a host behind a resource pool is known to have a kind of device.
func (k *known) has(pool ref, kind deviceKind) bool {
	devices, _ := recall(k, &k.devices, pool)
	return devices[kind]
}

func (k *known) putDevices(pool ref, devices map[deviceKind]bool) {
	remember(k, &k.devices, pool, devices)
}

func (k *known) source(uuid string) *source {
	found, _ := recall(k, &k.sources, uuid)
	return found
}

func (k *known) putSource(uuid string, s *source) {
	if s == nil {
		drop(k, &k.sources, uuid)
		return
	}
	remember(k, &k.sources, uuid, s)
}

func (k *known) refs(uuid string) []ref {
	found, _ := recall(k, &k.vms, uuid)
	return found
}

func (k *known) putRefs(uuid string, refs []ref) {
	if len(refs) == 0 {
		drop(k, &k.vms, uuid)
		return
	}
	remember(k, &k.vms, uuid, refs)
}
